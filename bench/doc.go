// Package bench holds the workloads that Pagemesh is measured and checked with.
//
// A Workload is one problem: it is solved by all ranks of a space together, once more by one rank
// alone without shared memory, and the two results, or an official value, are compared. Nothing counts
// that was not verified.
//
// Every rank runs a Job with the same specs. For each of them it does, on every rank, in this order:
//
//  1. The workload's Run sets up its arrays and, usually on rank 0, its sequential reference.
//  2. Rank.Timed runs the shared solution between two barriers. Counting starts afresh with it, and
//     what was counted is collected before anybody goes on.
//  3. Rank 0 checks the outcome and calls Rank.Verify.
//
// Most solutions are written once, for a team: all ranks together, or rank 0 alone in memory of its own,
// which is the sequential reference. None keeps a window of an array while it waits to write the same
// array, nor one for writing while it waits to read it: two ranks whose parts meet in a page would wait
// for each other.
//
// A workload's file is about its problem. Where its data lives is a matter of Array, which is a shared
// array that hands out plain slices: Read and Write bring a range here and keep it here until Done.
package bench
