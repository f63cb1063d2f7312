package ipc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// queue is a Link of two System V message queues. An item that is larger than a message goes in several.
type queue struct {
	in, out uintptr // identifiers
	owner   bool
}

const queueChunk = 4096 // bytes of a message

// message is struct msgbuf of msgop(2).
type message struct {
	kind int64
	text [queueChunk]byte
}

func listenQueue(dir string) (Link, error) {
	q := &queue{owner: true}
	for _, id := range []*uintptr{&q.in, &q.out} {
		const private, mode = 0, 0o600
		n, _, errno := syscall.Syscall(syscall.SYS_MSGGET, private, mode, 0)
		if errno != 0 {
			return nil, fmt.Errorf("msgget: %w", errno)
		}
		*id = n
	}
	return q, os.WriteFile(filepath.Join(dir, "queue"), fmt.Appendf(nil, "%d %d", q.in, q.out), 0o600)
}

func dialQueue(dir string) (Link, error) {
	ids, err := os.ReadFile(filepath.Join(dir, "queue"))
	if err != nil {
		return nil, err
	}
	q := &queue{}
	_, err = fmt.Sscan(string(ids), &q.out, &q.in)
	return q, err
}

func (q *queue) Send(item []byte) error {
	if err := q.write(item); err != nil {
		return err
	}
	return q.read(make([]byte, 1))
}

func (q *queue) Serve(n int, item []byte, f func(item []byte)) error {
	for range n {
		if err := q.read(item); err != nil {
			return err
		}
		f(item)
		if err := q.write([]byte{1}); err != nil {
			return err
		}
	}
	return nil
}

func (q *queue) write(b []byte) error {
	for len(b) > 0 {
		m := message{kind: 1}
		n := copy(m.text[:], b)
		_, _, errno := syscall.Syscall6(syscall.SYS_MSGSND, q.out, uintptr(unsafe.Pointer(&m)), uintptr(n), 0, 0, 0)
		switch {
		case errno == 0:
			b = b[n:]
		case errno != syscall.EINTR:
			return fmt.Errorf("msgsnd: %w", errno)
		}
	}
	return nil
}

func (q *queue) read(b []byte) error {
	for len(b) > 0 {
		var m message
		n, _, errno := syscall.Syscall6(syscall.SYS_MSGRCV, q.in, uintptr(unsafe.Pointer(&m)), queueChunk, 0, 0, 0)
		switch {
		case errno == 0:
			copy(b, m.text[:n])
			b = b[min(int(n), len(b)):]
		case errno != syscall.EINTR:
			return fmt.Errorf("msgrcv: %w", errno)
		}
	}
	return nil
}

func (q *queue) Close() error {
	if !q.owner {
		return nil
	}
	var errs []error
	for _, id := range []uintptr{q.in, q.out} {
		const remove = 0 // IPC_RMID
		if _, _, errno := syscall.Syscall(syscall.SYS_MSGCTL, id, remove, 0); errno != 0 {
			errs = append(errs, fmt.Errorf("msgctl: %w", errno))
		}
	}
	return errors.Join(errs...)
}
