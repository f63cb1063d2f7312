//go:build race || !(linux || darwin || dragonfly || netbsd || openbsd)

package vm

import (
	"fmt"
	"unsafe"
)

// heapLimit is the largest size that Reserve accepts here: larger requests may end the process in the
// Go runtime, which reports no error when it runs out of memory.
const heapLimit = 1 << 30

// Reserve returns size bytes of zeros from the Go heap, at most 1 GiB. An error says what to do.
func Reserve(size uint64) (*Memory, error) {
	if size == 0 || size > heapLimit {
		return nil, fmt.Errorf("reserve memory: size of %d bytes: choose one from 1 to %d, or build without "+
			"-race for Linux or macOS, where memory is mapped", size, heapLimit)
	}
	words := make([]uint64, (size+7)/8) // not bytes: these would not be aligned for atomics
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size)
	return &Memory{b: b}, nil
}

// Release makes n bytes from off read as zero. Its error is always nil.
// Preconditions: as for Bytes, and nobody else touches these bytes meanwhile.
func (m *Memory) Release(off uint64, n int) error {
	clear(m.Bytes(off, n))
	return nil
}

// Close drops the memory. A second Close does nothing.
func (m *Memory) Close() error {
	m.b = nil
	return nil
}
