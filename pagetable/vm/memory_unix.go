//go:build (linux || darwin || dragonfly || netbsd || openbsd) && !race

package vm

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Reserve returns size bytes of zeros. Nothing is taken from the machine but addresses, so that a
// terabyte is a fine size. An error says why the system refuses, and what to do.
func Reserve(size uint64) (*Memory, error) {
	if size == 0 || size > math.MaxInt {
		return nil, fmt.Errorf("reserve memory: size of %d bytes: choose one from 1 to %d", size, math.MaxInt)
	}
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if errors.Is(err, unix.ENOMEM) {
		return nil, fmt.Errorf("reserve memory: %d bytes: %w: choose a smaller size, raise the limit of "+
			"address space (ulimit -v), or allow overcommit (sysctl vm.overcommit_memory=1)", size, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reserve memory: %d bytes: %w: choose a smaller size", size, err)
	}
	return &Memory{b: b}, nil
}

// Release gives n bytes from off back to the system as far as they fill its pages; all of them read as
// zero afterwards. Its error is always nil: what can't be given back is cleared.
// Preconditions: as for Bytes, and nobody else touches these bytes meanwhile.
func (m *Memory) Release(off uint64, n int) error {
	released := m.Bytes(off, n)
	page := uint64(os.Getpagesize())
	first := (off + page - 1) &^ (page - 1)
	last := (off + uint64(n)) &^ (page - 1)
	if first >= last {
		clear(released)
		return nil
	}
	clear(m.b[off:first])
	clear(m.b[last : off+uint64(n)])
	whole := m.b[first:last]
	if runtime.GOOS != "linux" {
		clear(whole) // elsewhere the advice allows to drop the bytes but doesn't promise zeros
	}
	if err := unix.Madvise(whole, unix.MADV_DONTNEED); err != nil {
		clear(whole) // locked memory, for example, can't be given back
	}
	return nil
}

// Close gives the memory back. A second Close does nothing.
// Preconditions: nobody touches a slice that Bytes returned, now or later.
func (m *Memory) Close() error {
	if m.b == nil {
		return nil
	}
	b := m.b
	m.b = nil
	if err := unix.Munmap(b); err != nil {
		return fmt.Errorf("close memory: %w", err)
	}
	return nil
}
