package vm

import (
	"sync/atomic"
	"unsafe"
)

// LoadUint64 returns the word at b[off].
// Preconditions, here and below: the word lies within b and at an address that is a multiple of 8.
func LoadUint64(b []byte, off int) uint64 { return atomic.LoadUint64(word(b, off)) }

// StoreUint64 sets the word at b[off] to v.
func StoreUint64(b []byte, off int, v uint64) { atomic.StoreUint64(word(b, off), v) }

// AddUint64 adds delta to the word at b[off] and returns the sum.
func AddUint64(b []byte, off int, delta uint64) uint64 { return atomic.AddUint64(word(b, off), delta) }

// SwapUint64 sets the word at b[off] to v and returns what it was.
func SwapUint64(b []byte, off int, v uint64) uint64 { return atomic.SwapUint64(word(b, off), v) }

// CompareAndSwapUint64 sets the word at b[off] to v if it is old, and reports whether it was.
func CompareAndSwapUint64(b []byte, off int, old, v uint64) bool {
	return atomic.CompareAndSwapUint64(word(b, off), old, v)
}

// word returns the 8 bytes at b[off] as one word. The conversion to an array checks that they are
// there without reading them, which would race with atomic accesses.
func word(b []byte, off int) *uint64 {
	p := unsafe.Pointer((*[8]byte)(b[off:]))
	if uintptr(p)%8 != 0 {
		panic("vm: word at an address that is not a multiple of 8")
	}
	return (*uint64)(p)
}
