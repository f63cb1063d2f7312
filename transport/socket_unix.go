//go:build unix

package transport

import (
	"io"
	"net"
	"syscall"
)

// socketCall is a system call on a socket that takes a buffer and never waits in the kernel.
type socketCall struct {
	raw  syscall.RawConn
	call func(fd uintptr, p []byte) (int, error)
	once func(fd uintptr) bool // made once, since a closure made for each call would be garbage

	// Of the call in progress.
	buf  []byte
	wait bool // until the socket is ready, if it isn't
	n    int
	err  error
}

func (s *socketCall) init(conn *net.TCPConn, wait bool, call func(uintptr, []byte) (int, error)) error {
	raw, err := conn.SyscallConn()
	s.raw, s.wait, s.call = raw, wait, call
	s.once = func(fd uintptr) (done bool) {
		s.n, s.err = s.call(fd, s.buf)
		return !s.wait || s.err != syscall.EAGAIN
	}
	return err
}

// make makes the call by way of a method of raw. It returns 0 if the socket isn't ready.
func (s *socketCall) make(by func(func(uintptr) bool) error, buf []byte) (int, error) {
	s.buf = buf
	err := by(s.once)
	s.buf = nil
	switch {
	case err != nil:
		return 0, err
	case s.err == syscall.EAGAIN, s.err == syscall.EINTR:
		return 0, nil
	}
	return s.n, s.err
}

// reader reads a connection like the connection itself, at less cost: see readNow.
type reader struct{ call socketCall }

func (r *reader) init(conn *net.TCPConn) error { return r.call.init(conn, true, readNow) }

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.call.make(r.call.raw.Read, p)
		if n > 0 || err != nil {
			return n, err
		}
		if r.call.err == nil {
			return 0, io.EOF
		}
	}
}

// attempter makes one write attempt on a connection without ever waiting for it.
//
// A goroutine that reads may not wait in a write: two nodes whose readers both waited for the other to
// read would wait forever.
type attempter struct{ call socketCall } // guarded by the right to write

func (a *attempter) init(conn *net.TCPConn) error { return a.call.init(conn, false, writeNow) }

// write writes as much of buf as the socket takes at once and returns how much that was.
func (a *attempter) write(buf []byte) (int, error) { return a.call.make(a.call.raw.Write, buf) }
