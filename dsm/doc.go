// Package dsm is memory that the Go programs of several machines share: regions of one address space,
// kept consistent page by page, with locks, barriers, and an account of every page that moves.
//
// A region behaves as if it were one []byte in one machine, used by goroutines that happen to run in
// different processes. The members of a space are its nodes. A page comes to a node when the node first
// needs it, stays until another node needs it for itself, and is always the one that was last written.
//
// A program is a node itself, which works wherever Go does, or is attached to one in another process of
// its machine, which needs Linux: then regions are ordinary memory of the program, at one address
// everywhere. Config says which; all else in this package is for both.
//
// # Memory model
//
// Aligned words of up to 8 bytes are atomic: nobody reads half of one. Accesses to pages are
// sequentially consistent between nodes: there is one order of all of them in which each node's
// accesses stand as its program made them, and a read returns what the last write before it left.
// Nodes need no lock to see each other's writes, only to make several accesses one.
//
// This holds for words as the machine reads and writes them. The Go compiler keeps to the memory model of
// Go: where two goroutines of one node, or two programs attached to one node, may meet at a word and one
// of them writes, or where one node waits for a word that another writes, use sync/atomic, the word
// operations of Region, or a lock. The locks of the space order accesses like those of package sync.
//
// A view gives no mutual exclusion. It keeps other nodes out for a moment, one writer or any readers a
// page, but the goroutines of its own node share it like any Go memory.
//
// Shared memory holds no Go pointers. Another node could not follow them and the garbage collector
// does not see them, so typed access refuses types that hold any (ErrPointers).
//
// # Release regions
//
// In a region that is created with pagetable.Release, several nodes may write one page at once. Each writes to a
// copy of its own. When it unlocks a Mutex or comes to a Barrier (or gives back any other lock), what differs, byte
// by byte, goes to the page's home, and from there to the nodes that have been using the page. Whoever then locks that
// mutex or comes through that barrier has what was written, or fetches the page anew (home-based lazy release
// consistency: Zhou, Iftode and Li, OSDI 96). So nodes that write different parts of a page don't send it back and
// forth, and a program whose conflicting accesses are all ordered by mutexes and barriers sees what it would see in
// a sequential region. One with data races may read what was there long before, and of two bytes that are written
// without an order either may remain.
//
// Unlock, and whatever else gives a lock back, returns when the homes have what this node wrote before: from then on it
// survives the node, as long as the homes do. What was written before a Barrier survives when any other node has come
// through it. A Mutex that an attached program locks again and again releases only when somebody else wants it.
//
// Views of a release region delay nobody and may be held across locks and barriers; what others wrote shows in
// such a view at the latest once this node has used the page in another way. The home of a page writes it without a
// copy unless others use the page too, and a page that nobody else reads costs nothing. Load and Store are plain
// accesses; Add, Swap and CompareAndSwap are refused (ErrConsistency), as two nodes may have the word at once: keep
// words that nodes count on without a mutex in a sequential region.
//
// With Config.DetectRaces the homes of pages find out who wrote the same bytes without an order, and Space.Races
// says where: region, field, nodes and lines. What it reports is a race. It sees no races with reads, which leave
// nothing to compare, none within a node, for which there is Go's own race detector, none in sequential regions,
// none of writes that leave a byte as it was, and it takes a member's leave or loss for a barrier of all.
//
// # Ways to a page
//
// All offsets and sizes are in bytes from the start of the region, except in ViewOf, which counts
// elements. A word is 8 bytes in the byte order of the machine, which all nodes must have in common.
//
//	Load, Store, Add,     one word         one access; off is a multiple of 8
//	Swap, CompareAndSwap
//	ReadAt, WriteAt       copy bytes       in a node: what one call copies of one page is one access
//	View, ViewOf          the page itself  kept here until Release; each load and store is an access
//	Region.Bytes, Slice,  plain memory of  each load and store is an access, and may wait for its page
//	At, Ptr, Array        attached programs
//
// In a node, calls of the first two ways are atomic with respect to each other and to everything that
// other nodes do. In an attached program ReadAt and WriteAt are copies by loads and stores, as atomic as
// these. A call that spans pages is several accesses, in no particular order.
//
// A view holds its pages here. While it is held for writing, no other node gets them; while it is held
// for reading, none gets them for writing. Using it costs nothing here, and time elsewhere.
//
//	           fault                     View, granted
//	elsewhere ───────▶ here, read or write ───────────▶ pinned
//	    ▲                    │      ▲                     │
//	    └─ wanted elsewhere ─┘      └──────── Release ────┘
//
// Views that span several pages take them in ascending order, so two wide views never wait for each
// other in a circle. A program that takes one view while it holds another keeps that promise by taking
// the one with the lower address first, and never one page first for reading and then for writing.
// Prefetch brings pages without holding them.
//
// Structures that refer to each other are built on a Heap, whose Ptr and Array mean the same in every
// program. Package pagemesh/dsm/shared has a map, a queue and counters that are built already.
//
// # Waiting
//
// Everything that may wait for another node takes a context and ends with its cause. ReadAt and
// WriteAt take none, as io.ReaderAt and io.WriterAt want it: they, and page accesses with
// context.Background(), wait at most Config.FaultTimeout and end with ErrTimeout. An access that is
// served by a page that is here does not look at its context. A call that spans pages and fails may
// have written some of them.
//
// Waits for locks have no limit of their own, but one for a Mutex or an RWMutex that would never end, because
// whoever has the lock waits for what the caller has, is found after Config.DeadlockAfter and ends with
// ErrDeadlock: it names the goroutines that wait for each other and the lines at which they locked what. One of
// them gets it; when that one unlocks what it has, the others go on. A goroutine that has locked something
// for another one to unlock is taken for its holder: it should not wait for locks meanwhile.
//
// The loads and stores of an attached program, also those of its word operations and copies, have no limit either:
// they wait as a load waits for memory. A page that can't be had ends the program, or the function under
// Space.Guard.
//
// A wait is a region of the execution trace (package runtime/trace), except that of a plain load or store, and an event
// that nodes remember (Space.Trace). Package profile makes profiles of these events, package report a report.
//
// # Errors
//
//	ErrClosed      after Close or Leave, and for whoever was waiting then
//	ErrDeadlock    a Lock that would never have returned
//	ErrNodeLost    what was needed went down with a node, or this node was declared lost
//	ErrOwnerDied   with the mutex: whoever had it before died
//	ErrTimeout     no answer within Config.FaultTimeout
//	ErrRange       bytes, words or elements beyond the region
//	ErrMisaligned  a word at an offset that is not a multiple of 8
//	ErrPointers    a type that can't live in shared memory
//	ErrMismatch    a region, barrier or semaphore that exists with other options
//	ErrNotExist    a region that was to be opened and was never created
//	ErrNotHeld     an Unlock without a Lock, a Release without an Acquire
//	ErrMemory      a page that does not fit Config.MemoryLimit
//	ErrHeapFull    an allocation that does not fit its Heap
//	ErrConsistency an operation on a word of a release region that needs a sequential one
//	ErrNotMapped   plain memory in a program that is not attached
//	ErrJoin        a node that could not become a member
//
// They arrive wrapped with operation, region and offset; test with errors.Is. A misuse that no correct
// program makes, such as touching a view after Release, is not detected.
//
// # When nodes go
//
// Leave loses nothing: whatever the node owns and homes moves to the others before it goes, and their
// work goes on meanwhile. This holds for every node, the first one included, one after the other.
//
// A node that crashes, or that closes while others still need it, takes with it the pages of which it
// had the only copy and the pages whose home it was. The others learn of it at once if its connections
// break, as they do when a process ends, and within seconds if it falls silent. From then on an access
// that needs such a page fails with ErrNodeLost and never returns zeros; everything else goes on. A
// mutex that the node held goes to the next in line, which gets ErrOwnerDied with it, and a greater token,
// so that what the token guards can refuse a holder that is only cut off. So do permits that it had, and the right to read. A barrier that the node took
// part in is broken for good.
//
// One member, at first the founder, orders all changes of membership. If it is lost, the next one goes
// on if more than half of the members agree. Where fewer are left, pages that are here stay usable and
// everything that needs another node fails with ErrNodeLost. A network that splits with live nodes on
// both sides is not survived yet: the side with that member declares the other one lost, and if the
// other one is the larger it does the same.
//
// An attached program whose node dies ends with a message, since its memory is gone. For the moment until then it
// may believe that it has a mutex, as a node that is cut off may: its tokens are older than those of whoever has
// the mutex by then. A program that dies leaves its node and its pages as they are, and gives its locks back;
// whoever gets a mutex next that it had locked hears of it, in the same way.
//
// # Traps
//
// A program that computes on every processor starves the node in it: the Go runtime then looks at the
// network every 10 ms or so, and other nodes wait that long for a page that is homed or owned there.
// Leave a processor free (GOMAXPROCS, or fewer workers than processors) where others depend on it, or
// attach the program, whose node then is a process of its own.
//
// In an attached program a load that waits for its page holds a processor of the Go runtime, and a copy
// can't even be preempted. Where many goroutines would wait at once, Prefetch or take views first: these
// waits park the goroutine.
//
// A view that is held across something slow delays every node that wants its pages. After
// Config.ViewWarning the log names the line that took it.
//
// Two variables in one page move together even if no two nodes ever touch the same one. Space.Pages
// shows such pages with the words that each node writes; smaller pages or padding cure it.
//
// Under the race detector memory comes from the Go heap, because the detector does not see mapped
// memory: sizes are limited there, and races between nodes of one process are reported.
//
// # The way of a fault
//
// An access that finds its page here, with the right it needs, ends where it began: in access.go,
// atomic.go or pin.go, under the page's lock. Any other is a fault:
//
//	access.go    the access becomes a waiter (page.go) of a batch
//	trap.go      so does a load or store of an attached program, when the kernel tells of it
//	engine.go    fault puts it to its page and steps the page's coherence.Page; perform does what the
//	             step says, and sends a Request to the page's home
//	peers.go     there, Packet decodes it and engine.go's message steps the home's coherence.Page, which
//	             grants the page, or forwards the request to the node that has it
//	peers.go     here again, Packet brings the Grant; engine.go installs the bytes, raises the right, and
//	page.go      wake serves the waiter before anybody can take the page away again
//
// What was counted on the way is in traffic.go, what was recorded in record.go (and kept in eventring.go, for
// tracer.go to collect), what views do to it in watch.go. Who is a member, and which regions exist, is a
// view of the cluster: order.go makes one, install.go takes it up, join.go, leave.go and takeover.go are
// the reasons to make one. syncengine.go is to package locks what engine.go
// is to package coherence; who holds a lock is in holders.go, and deadlock.go looks for deadlocks. Space and Region stand on two interfaces, backend and memory: a node fulfils
// them in local.go and access.go, an attached program in attach.go and mapped.go.
//
// # What it does not do
//
// It does not encrypt, so addresses other than loopback need Config.Insecure. It keeps no second copy
// of a page for the case of a crash, and none on disk.
//
// # Literature
//
// Sequential consistency is that of L. Lamport, "How to Make a Multiprocessor Computer That Correctly
// Executes Multiprocess Programs", IEEE TC 28(9), 1979. The protocol's sources are named in package
// coherence, those of the locks in package locks.
package dsm
