// Package trace holds what nodes record of page traffic: events, a compact file of them, one order of the
// events of several nodes, and their picture for Perfetto.
//
// An event is one thing that happened to one page, or to one lock, at one node. Nodes record events all the
// time and keep the latest; package dsm collects them (dsm.Tracer) in Chunks.
//
//	Space.Trace, Inspector.Trace ──▶ Chunk ──▶ Writer ═file═▶ Reader ──▶ Chunk ──▶ Merger ──▶ []Event, in order
//	                                                                                          └▶ WriteChrome
//
// # A page that moves
//
// What node R records when it wants a page that is homed at H and owned by O, and what the others do:
//
//	R  fault       an access waits: where in the program, for which bytes, and who took the page away before
//	H  forward     the owner is to send the page to R
//	O  invalidate  the right ends (downgrade if R only reads): which words O had written, and who wants them
//	O  grant       the bytes go to R
//	R  receive     and are there
//	R  served      the access went on: how long it waited
//
// If H has the page itself, it records the grant. Page, Other and Txn are the same in what belongs together.
//
// # Causes
//
// Fault, Served and Failed name the access that made them happen: Cause is who took the right that this node
// had before, and with which access, at which line. A fault without a cause is the node's first on the page, or
// follows an eviction.
//
// In a release region nobody takes a right away: a notice ends it. The notice knows the number of the change
// (Txn of Invalidate), and whoever made that change has recorded it (Txn of Flushed) with the line that wrote
// the page. Merger joins the two.
//
// # Clocks
//
// Event.Time is read from the clock of its node, in nanoseconds since 1970. How far the clocks of other nodes are
// off is estimated from the round trip in which their events are fetched: the answer's time lies between
// question and answer, so half the shortest round trip bounds the error (Cristian, Distributed Computing 3,
// 1989). An estimate that is smaller than its error counts as none: nodes on one machine share a clock. What is
// left can't turn cause and effect around: Merger puts a receive behind its grant, whatever the clocks say.
package trace
