package vm

import "pagemesh/pagetable"

// unknownMemory is more than any machine has.
const unknownMemory = 1 << 62

// Memory is a contiguous range of zero-filled memory that costs nothing until it is touched. Get one
// from Reserve. It is the Frames to which no program can be attached: offsets and lengths are any.
type Memory struct {
	b []byte // the whole range, its first byte aligned to at least 8; nil after Close
}

// Bytes returns the n bytes from off as a slice that can't grow over its neighbours. It is aligned as
// off is, up to 8 bytes.
// Preconditions: the bytes lie within the memory, and it has not been closed.
func (m *Memory) Bytes(off uint64, n int) []byte {
	end := off + uint64(n)
	return m.b[off:end:end]
}

// Size returns the number of bytes that were reserved, or 0 after Close.
func (m *Memory) Size() uint64 { return uint64(len(m.b)) }

// Protect implements Frames. There is nobody to be kept out.
func (m *Memory) Protect(_ uint64, _ int, _, _ pagetable.Access) error { return nil }

// Poison implements Frames. There is nobody to be woken.
func (m *Memory) Poison(uint64, int) error { return nil }
