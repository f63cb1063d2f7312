//go:build unix && (!linux || race)

package transport

import "syscall"

// The race detector takes a write and the read of its bytes for an order of events, if it sees them.

func readNow(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

func writeNow(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
