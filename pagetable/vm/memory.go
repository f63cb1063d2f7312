package vm

// Memory is a contiguous range of zero-filled memory that costs nothing until it is touched. Get one
// from Reserve.
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
