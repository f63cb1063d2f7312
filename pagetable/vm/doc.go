// Package vm is memory itself: contiguous ranges that cost nothing until touched, atomic words in
// them, and typed slices over their bytes. It is the only package of this module that uses unsafe or
// system calls on memory.
//
// A Memory behaves as if it were a []byte of zeros of any size. Its frames become real when they are
// first touched and can be given back one by one.
//
//	reserved (reads as zero, costs nothing) ──first touch──> resident ──Release──> reserved
//	                  └───────────────────────── Close ──────────┴──> gone
//
// # Contract
//
// Bytes hands out the memory itself: a slice stays valid until Close, and after Close it must not be
// touched. Memory knows nothing of rights: who may read or write which bytes, and when, is decided by
// its users, and its methods other than Close may be called by any number of goroutines at once.
//
// Words are 8 bytes in the machine's byte order, at an offset that is a multiple of 8 from an aligned
// base, as each slice is that Bytes returns for such an offset. The five functions on words are
// sequentially consistent among themselves, as sync/atomic is.
//
// Memory of this kind is not seen by the garbage collector: a type that is laid over it by Cast must
// hold no Go pointers, which CheckType finds out once per type.
//
// # Two implementations
//
// On Unix systems a Memory is an anonymous private mapping. Elsewhere, and under the race detector,
// which sees no accesses to mapped memory, it is a piece of the Go heap, where sizes are limited and
// Release writes zeros but gives nothing back.
package vm
