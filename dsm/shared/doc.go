// Package shared holds the structures that programs reach for first, in memory that all nodes of a space
// share: a hash map, a queue, and an array of counters.
//
// Each behaves as if it were one structure in one machine, guarded by a mutex and used by goroutines that
// happen to run in different processes: every call on a key or an element is one access, and all of them stand
// in one order. A structure is known by its name; whoever opens it first creates it. It lasts as long as
// the space. Programs use it in the same way whether they are nodes or attached to one.
//
//	           locks                  in a release region   where its memory lies
//	Map        one a stripe,          yes; Get locks too    buckets of 8 to 31 entries, each within one page;
//	           to change it                                 no page holds buckets of two stripes
//	Queue      one for all who put,   no                    a page for either count, and items one after the other,
//	           one for all who take                         each within one page
//	Counters   none                   no                    a shard of whole pages for each node, at home there
//
// Types are plain data, as everywhere in shared memory. What has no fixed size goes on a dsm.Heap, and the
// dsm.Ptr or dsm.Array that leads to it into the structure.
//
// # When programs die
//
// Every change takes effect with the store of one word: a bucket's, a queue's count, a counter. Whoever dies
// before it has changed nothing, whoever dies behind it has done all of it. So no structure is lost with a program
// that is killed, and dsm.ErrOwnerDied, which says that one has died with a lock, is no error here. A node that dies
// takes pages with it (see package dsm, "When nodes go"): calls that need these return dsm.ErrNodeLost from then on, the
// others go on. What it has done last in a map in a release region may be there in part: one key or another, but none
// by halves.
package shared
