//go:build unix

package transport

import (
	"net"
	"syscall"
)

// attempter makes one write attempt on a socket without ever waiting for it.
//
// A goroutine that reads may not wait in a write: two nodes whose readers both waited for the other to
// read would wait forever.
type attempter struct {
	raw  syscall.RawConn
	once func(fd uintptr) bool // made once, since a closure made for each write would be garbage

	// Of the write in progress, guarded by the right to write.
	buf []byte
	n   int
	err error
}

func (a *attempter) init(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	a.raw = raw
	a.once = func(fd uintptr) bool {
		a.n, a.err = syscall.Write(int(fd), a.buf)
		return true // whatever came of it: never wait until the socket is writable
	}
	return err
}

// write writes as much of buf as the socket takes at once and returns how much that was.
func (a *attempter) write(buf []byte) (int, error) {
	a.buf = buf
	err := a.raw.Write(a.once)
	a.buf = nil
	if err != nil {
		return 0, err
	}
	switch a.err {
	case nil:
		return a.n, nil
	case syscall.EAGAIN, syscall.EINTR:
		return 0, nil
	}
	return 0, a.err
}
