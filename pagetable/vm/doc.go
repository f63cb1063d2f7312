// Package vm is memory itself: contiguous ranges that cost nothing until touched, the same ranges
// mapped into programs that are trapped where they have no right, atomic words, and typed slices over
// bytes. It is the only package of this module that uses unsafe or system calls on memory.
//
// Memory behaves as if it were a []byte of zeros of any size, whose frames become real when they are
// first touched and can be given back one by one. Shared memory behaves so for the node that made it;
// an attached program sees the same bytes at the region's own address, and waits wherever the node has
// not given it the right.
//
//	reserved (reads as zero, costs nothing) ──first touch──> resident ──Release──> reserved
//	                  └───────────────────────── Close ──────────┴──> gone
//
// # Frames
//
// Frames is what a node keeps a region's pages in, and has two implementations. A Memory serves a
// program that holds its node within itself and asks before each access. A Shared serves any number of
// programs in processes of their own, through their userfaultfds.
//
//	node process                                   program's process
//	Shared  memfd, alias ───── memfd ────────────▶ Window.Map, at the region's address
//	Trap    Next ◀──────────── userfaultfd ─────── Window: load, store, copy, sync/atomic
//	        Protect, Release ──ioctl, hole───────▶ page tables
//
// # The contract: order of effects
//
// The numbers are those of coherence/doc.go. All of it happens under the guard of one page.
//
//  1. Write received bytes to Bytes. No program can see them: the page's right is none.
//  2. Protect(before, after). When it returns, no program has more than the right after, except that
//     none still lets the frozen bytes be read.
//  3. If the right is now none: copy the bytes out of Bytes if they are to be sent, then Release, and
//     only then hand the copy to the network. Bytes must be read after Protect, or a write is lost, and
//     before Release, which leaves zeros.
//  4. Protect and Poison have woken the threads that wait. A woken thread makes its access by itself,
//     some microseconds later, and faults anew if the page is gone by then: who takes pages away must
//     leave them in place for a moment.
//
// A fault says what a thread wanted when it fell asleep. Serve it with the page's guard held, by the
// right that the page has now: if that covers the fault, Protect(NoAccess, right) maps the page, which
// is right also when nothing was missing. So it is with faults that come twice because of a signal,
// with a program that was attached after the right was given, and with frames that the kernel has
// unmapped to write them to swap.
//
// Bytes hands out the memory itself: a slice stays valid until Close, and after Close it must not be
// touched. Its slices know nothing of rights: a node may always read and write there, and the layers
// above decide when it should.
//
// # Traps of the mapped memory
//
//   - Never serve a program's faults in its own process: a thread that waits within copy can't be
//     stopped for the garbage collector, and a server that the collector has stopped can't wake it.
//   - Silent zeros: with the last descriptor of a userfaultfd its trap ends, and pages that were taken
//     away read as zeros. A Window keeps the program's own for life, so that after the end of the node
//     threads wait, and Map shows no memory before it is trapped.
//   - Children of a program don't inherit the mapping: they would not be trapped.
//   - In user mode a system call on a missing page returns EFAULT.
//   - A plain load that waits can be preempted, a copy can't: it holds its P.
//   - The race detector does not see mapped memory, since it isn't the Go runtime's.
//   - A file of 1 TiB counts against no overcommit limit, only against ulimit -v and -f.
//
// # Words and types
//
// Words are 8 bytes in the machine's byte order, at an offset that is a multiple of 8 from an aligned
// base, as each slice is that Bytes returns for such an offset. The five functions on words are
// sequentially consistent among themselves, as sync/atomic is.
//
// Memory of this kind is not seen by the garbage collector: a type that is laid over it by Cast must
// hold no Go pointers, which CheckType finds out once per type.
//
// # Systems
//
// On Unix systems a Memory is an anonymous private mapping. Elsewhere, and under the race detector, it
// is a piece of the Go heap, where sizes are limited and Release writes zeros but gives nothing back.
//
// Mapped memory needs Linux 6.6 or later on amd64 or arm64. Elsewhere its constructors return
// ErrNotSupported; Probe says why.
package vm
