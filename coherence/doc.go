// Package coherence is the protocol that keeps the copies of a page consistent: a directory at the
// page's home, write invalidation, and three hops at most for a page that is owned elsewhere.
//
// It behaves as if each page were held by one hand at a time: either one node has the right to write
// it, or any number have the right to read it, and a node that gets a right gets the bytes that the
// last writer left. Accesses to different pages are ordered by their nodes alone, which together makes
// the memory sequentially consistent.
//
// The package is a function of events. It has no goroutine, clock, socket, randomness, and never sees
// a page's bytes. A Page is stepped with one event at a time and answers with a Ready.
//
// # The contract: order of effects
//
// The caller performs a Ready, with whatever guards the page still held, in this order:
//
//  1. Install the received bytes. Keep a twin, and tell the node's Intervals that the page is written.
//  2. Lower or raise the protection of the frame.
//  3. Read the bytes to send, take the diffs, and send. Revoke before you send: a node must not be able
//     to write a page after its bytes were read for another node. Drop the twin, and tell the Intervals
//     what is flushed.
//  4. Let the woken faults make their one access each. A page that is taken away as soon as it came
//     has still served the fault that asked for it, so that every node makes progress.
//  5. Step the messages that the node sends to itself, each with its own Ready, before any other event
//     of the page. They queue: what one of them makes the node send to itself comes after the others.
//
// Messages between two nodes arrive in the order in which they were sent, or not at all once the
// connection is broken. The home relies on it: its next message to a node can't overtake its grant.
//
// # States
//
// At a node (copyState) a right is none, read or write:
//
//	none ──Grant read──▶ read ──Grant write──▶ write
//	  ▲ ▲──Invalidate─────┘ ▲──Forward read──────┘ │
//	  └─────────────────────────Forward write──────┘
//
// At the home (directory) a page is unowned, shared or exclusive, with one transaction in progress
// and a first-come queue:
//
//	unowned ──read──▶ shared ◀──read── exclusive
//	   └─────write──────▶└────write───────▶┘
//
//	idle ──▶ invalidating ──▶ forwarding ──▶ idle
//	              └─(requester holds a copy)──▶ idle
//
// # Paths
//
//	read, home has a copy     R ─Request▶ H ─Grant▶ R                        one round trip
//	read or write, owner O    R ─Request▶ H ─Forward▶ O ─Grant▶ R ─Done▶ H   three hops, then Done
//	upgrade, no other copy    R ─Request▶ H ─Grant▶ R                        no data
//	write, copies at S        … H ─Invalidate▶ S ─InvalidateAck▶ H …         before any grant
//	never written             R ─Request▶ H ─Grant zeros▶ R                  no data
//	evicted, other copies     S ─Evict▶ H ─Invalidate▶ S ─InvalidateAck▶ H   on nobody's behalf
//	evicted, the only copy    O ─Evict▶ H ─Forward▶ O ─Grant▶ H              the home keeps the page
//
// # Release regions
//
// A page made by MakeReleasePage follows another protocol: several nodes write it at once, and what they
// wrote is put together at its home. A program without data races, which synchronizes by locks and barriers
// between nodes, can't tell the difference: it behaves as if all accesses were made one after the other. A
// program with a race may see old words; a word is never torn.
//
//	read miss        N ─Request▶ H ─Grant▶ N                 one round trip, whoever wrote the page
//	first write      at N: keep a twin                       no message
//	release          N ─Flush diff▶ H ─FlushAck▶ N           all pages at once; then let others acquire
//	acquire          at N: invalidate what the notices name  no message
//	followed page    N ─Follow▶ H ─Grant▶ N … H ─Update diff▶ N    with every change that H numbers
//
// A node's writes between two releases are an interval (Intervals). A release ends it, flushes its pages and
// waits for the acknowledgements; only then may the message leave that lets another node acquire. So a home
// has every change that a write notice can name, a Grant answers every Request at once, and nothing is kept of
// old diffs.
//
// That message may leave at once if it is for the home of all that lacks an acknowledgement: the home takes up the
// changes first, and tells of them (Intervals.Early, Clear; Notices.Took). The release is complete when all is
// acknowledged. From then on what was written survives the node that wrote it; so it does if any other node has come
// to see it, since nobody does before a home has it. Two things would break that, and are prevented:
//
//  1. An epoch begins, and makes void the message that let X acquire. The home of the lock, told by all nodes what
//     they have, grants it to Y, to which the changes are not ordered. So a node reports in a new epoch when what it
//     released early is acknowledged (Accountable).
//  2. X leaves and has handed the page over when the changes arrive. So X asks every member before, and nobody who has
//     answered releases early to X any more; and it asks again before it goes, so that no acknowledgement of its is
//     late and has a change sent to the next home that is in the page, under newer ones.
//
// The home numbers the changes of a page. A notice is a page and such a number (Notices), and a copy that is new
// enough stays: in particular one that its own node has changed, if nobody else did (flushAck). A page that is
// written while it is noticed keeps its twin: what was written goes on top of what is fetched (Merge). The same
// makes views harmless. They delay nobody, and what they write is flushed at every release.
//
// Nodes that use a page follow it (following): its home sends them what it takes up and what it writes itself, so
// that the notice, when it comes, finds a copy that has it. Synchronization and data travel together then, and an
// acquire is followed by no fetch. It is the home that tells, and not whoever passes the lock on, because at the home
// changes have numbers and an order, and because a release waits for it anyway: the Update leaves with the
// acknowledgement, and there is no way by which a notice comes sooner than in two more messages.
//
// The home writes the page itself, without a twin as long as nobody follows, and even without being asked as long as
// nobody has a copy that its next notice would concern (release.shared). So pages that stay at home cost nothing.
//
//	home, nobody has a new copy   writes unnoticed ──Request▶ reads
//	home, somebody may have       reads ──fault▶ writes, in the interval ──release: a change▶ writes unnoticed
//	home, somebody follows        reads ──fault: twin▶ writes ──release: a change, Updates▶ reads
//	elsewhere                     none ──Grant▶ reads ──fault: twin▶ writes ──release: flush▶ reads ──notice▶ none
//	elsewhere, following          reads ──Update, notice▶ reads
//	with a twin, again and again  writes ──release: flush, or a change▶ kept ──release: the same, or nothing▶ kept
//	kept, and not written         kept ──release: nothing▶ kept ──some releases: nothing▶ reads
//
// A page that is written again and again is kept (streak): the right to write and the twin outlast the release, and
// nobody faults in the next interval. What the twin shows at its end decides whether there is something to tell: of an
// interval in which nobody has written the page neither its home nor a follower hears, so nothing has a number that is no
// change. In all else a page that is kept is one that is written. A notice takes the right to read it, and the twin is
// at hand if it is fetched in the same interval; at the end of that interval, without the right, it is kept no more.
//
// When an epoch begins, notices may have gone down with a member: every copy is taken for old. Diffs that are not
// acknowledged are sent again to a new home. A page whose home is lost is lost.
//
// # Races
//
// Two writes of the same bytes of a release region, by two nodes and without an order, are a race. Its home finds
// it: each diff comes with a Stamp, its writer's interval and what happened before by the writer's Order, and
// the page's Shadow knows the stamp that wrote each word last. Vector times travel with locks, see Order; an
// interval also ends when an acquire brings news of the order, so that all of a diff happened after the same
// intervals of others. The home's own writes have a twin then, too (Watch). A report is always of a race, if
// the program synchronizes by locks and barriers between nodes. Not found are races with reads, which no
// diff shows; those within a node; and those that an epoch's end or other goroutines of the two nodes order
// by chance.
//
// # Epochs
//
// When a node is lost or leaves, every member learns a view of a later epoch, and each of its pages
// is told by NewEpoch. Requests of earlier epochs are refused and repeated by their senders. A home
// asks the surviving party of a half-finished forwarding what became of the page (Cancel). A page
// whose only copy was at a lost node is lost: who asks for it is refused and never gets zeros.
//
// # Leaving
//
// A node leaves without a loss when it has vacated every page, and only then may a view without it
// begin. It faults no more. A page of another home it surrenders; the home takes it like any writer
// and answers. A page of its own it fetches for writing and hands off to its successor, which answers;
// from before its first handoff it drops the Requests of others.
//
//	another's page     L ─Surrender▶ H … H ─Invalidate or Forward▶ L … H ─Taken▶ L
//	its own page       L ─Handoff bytes▶ N ─Taken▶ L
//
// # How it is checked
//
// The tests drive the pages of a whole cluster as the contract says, and know what each access must
// see. At every step one node may write or any number read, a right and bytes under way included; what
// can be read is the last write; the home knows every holder; a page is lost only if a crash hit a node
// that had it. At the end nothing is under way, unanswered or waiting, and every leaver is gone.
//
//	testdata/scenarios   each path of the protocol, event by event: a figure with its effects
//	TestExplore          every order of events of two to four nodes; no run comes back to a state
//	TestSimulate         seeded runs of up to 11 nodes and 40 pages; TestSimulateWide: of 1,024 nodes
//	TestExploreRelease   every order of events of programs in release regions, against happens-before, while
//	                     homes leave and crash
//	TestSimulateRelease  the same for programs that a seed writes, without a race; TestSimulateRaces: with one
//	TestShadow...        races of diffs against a naive order of happens-before; the two above do the same
//	TestMutations        planted faults, each of which these must find
//	FuzzDiff             diffs from outside
//	FuzzDecode...        every decoder, within bounds of memory
//	TestViewChanges      views against a naive twin
//
// What the explorer or the simulator finds it prints as a scenario or with its seed. PAGEMESH_LONG=1
// makes both go much further; PAGEMESH_SEED=n repeats a simulation.
//
// # What it does not do
//
// It does not detect failures, order views, limit holding times, or combine pages.
//
// The protocol follows K. Li and P. Hudak, "Memory Coherence in Shared Virtual Memory Systems", ACM
// TOCS 7(4), 1989, section 3 (fixed distributed manager), with the copyset and the owner kept at the
// manager and one transaction a page, which Fisler and Girault (CONCUR 98) found to be what the
// published protocols silently assume. Release regions follow Y. Zhou, L. Iftode and K. Li, "Performance
// Evaluation of Two Home-Based Lazy Release Consistency Protocols for Shared Virtual Memory Systems", OSDI 96,
// section 2.3, with numbered changes in place of vector times.
package coherence
