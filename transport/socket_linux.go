//go:build linux && !race

package transport

import (
	"syscall"
	"unsafe"
)

// The runtime isn't told of these calls, which never wait. Otherwise its monitor takes the processor away
// from the goroutine whenever the kernel runs another thread in between for more than 20 µs, so that a
// second thread has to be woken, and keeps looking every 20 µs for a millisecond. With a node on each of
// two cores that made a page fault 1.5 times as long.

// readNow reads what is there.
func readNow(fd uintptr, p []byte) (int, error) { return now(syscall.SYS_READ, fd, p) }

// writeNow writes what there is room for.
func writeNow(fd uintptr, p []byte) (int, error) { return now(syscall.SYS_WRITE, fd, p) }

func now(call, fd uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
