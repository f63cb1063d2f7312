//go:build amd64 || arm64

package vm

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxDescriptors is how many descriptors come with one message at most.
const maxDescriptors = 4

// SendDescriptors sends a message with copies of descriptors to the process at the other end.
// Preconditions: msg has at least one byte, and there are at most 4 descriptors.
func SendDescriptors(c *net.UnixConn, msg []byte, fds ...int) error {
	n, _, err := c.WriteMsgUnix(msg, unix.UnixRights(fds...), nil)
	if err != nil {
		return fmt.Errorf("send descriptors: %w", err)
	}
	if n < len(msg) {
		return fmt.Errorf("send descriptors: %d of %d bytes were sent", n, len(msg))
	}
	return nil
}

// TrySend sends a message if there is room for all of it, without waiting, and returns its length, or else 0.
// Preconditions: msg has 1 to 4096 bytes.
func TrySend(c *net.UnixConn, msg []byte) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno unix.Errno
	// Not raw.Write: it fails when the deadline of a write before has passed.
	err = raw.Control(func(fd uintptr) {
		const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
		p := unsafe.Pointer(unsafe.SliceData(msg))
		var sent uintptr
		sent, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(p), uintptr(len(msg)), flags, 0, 0) // as in ioctl
		n = int(sent)
	})
	switch {
	case err != nil:
		return 0, err
	case errno == unix.EAGAIN:
		return 0, nil
	case errno != 0:
		return 0, errno
	}
	return n, nil
}

// ReceiveDescriptors reads into buf what is there of a message, and the descriptors that came with
// it, which are now the caller's to close.
func ReceiveDescriptors(c *net.UnixConn, buf []byte) (n int, fds []int, err error) {
	control := make([]byte, unix.CmsgSpace(maxDescriptors*4))
	n, nc, flags, _, err := c.ReadMsgUnix(buf, control)
	if err != nil {
		return 0, nil, fmt.Errorf("receive descriptors: %w", err)
	}
	fds, err = parseRights(control[:nc])
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = fmt.Errorf("more than %d came, or none was free: raise the limit of open files (ulimit -n)", maxDescriptors)
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return 0, nil, fmt.Errorf("receive descriptors: %w", err)
	}
	return n, fds, nil
}

func parseRights(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	var fds []int
	for i := range messages {
		more, parseErr := unix.ParseUnixRights(&messages[i])
		fds, err = append(fds, more...), errors.Join(err, parseErr)
	}
	return fds, err
}

// Peer is the process at the other end of a Unix socket, when it connected.
type Peer struct{ PID, UID int }

// PeerOf returns who is at the other end of c.
func PeerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid)}, nil
}
