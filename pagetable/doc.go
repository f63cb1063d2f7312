// Package pagetable names the things of a shared address space and keeps them in order: addresses,
// ranges, pages, nodes, rights, regions, copysets, per-page state and write footprints.
//
// A space behaves as if it were one array of bytes from WindowStart to WindowEnd, the same on every
// node. A Region is a named piece of it, cut into pages of one size; a page has a home, the node that
// keeps its directory entry, which the region's Placement fixes.
//
// # Contract
//
// The package is pure: no goroutine, clock, socket or page bytes of its own, and no unsafe.
// Everything is a value or is guarded by its owner, with one exception: a Table may be read and
// extended by any number of goroutines at once. Copies of a CopySet, a Region or a Placement are
// independent values as long as nobody writes to a Placement's Nodes. Errors report what a user or a
// peer got wrong; a violated precondition panics and says which.
//
//	address ──RegionMap.At──> Region ──(address-Base)/PageSize──> page index
//	                            │                                     │
//	                            ├──Placement.Home(index)──> home      ├──MakePageID──> name on the wire
//	                            └──RegionID                           └──Table.Get──> per-page state
//
// # Not here
//
// The memory that holds the bytes is in pagetable/vm; who may read or write a page at a given moment
// is decided by coherence.
//
// # Literature
//
// Homes, owners and copysets are those of Li and Hudak, "Memory Coherence in Shared Virtual Memory
// Systems", ACM TOCS 7(4), 1989, section 3 (fixed distributed manager). Word grain of a footprint:
// Keleher et al., "TreadMarks", USENIX Winter 1994, section 3 (diffs).
package pagetable
