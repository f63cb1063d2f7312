package coherence

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// pageWords is how many words a page has here: enough for two nodes to write different ones.
const pageWords = 2

// rcluster is a space of release regions in one value: pages, intervals and notices at every node, the
// packets between them, the threads that run programs, and the locks and the barrier by which these
// synchronize. It does with the real core what package dsm does. What each access must see it knows from the
// order of happens-before alone, see history.
type rcluster struct {
	nodes   []rnode
	places  []rplace // page p of node n is at (n-1)*pages+p
	pages   int
	threads []thread
	locks   []rlock
	arrived []int     // threads at the barrier, as its home counts them
	refused []rpacket // words of synchronization of earlier epochs, never written to in place
	links   []rlink   // those with packets under way
	history history
	views   []rview // all, first to last
	exposed []bool  // pages whose home crashed, so that they may be lost
	watched *rwatch // nil if nobody looks for races
	// crashes and leaves are how many more there may be.
	crashes, leaves int
	*rscratch
}

// rscratch is what clones share.
type rscratch struct {
	rd     Ready
	log    func(format string, args ...any)
	census rcensus
}

// rcensus counts what clusters have been through.
type rcensus struct {
	kinds     [kindEnd]int // messages handled
	races     int          // runs with a race
	refetched int          // grants that were too old when they came
	merged    int          // grants that went under changes
	repinned  int          // flushes of pages that a view went on writing
	lost      int          // pages that a node learned to be lost
	kept      int          // copies that a flush left as new as the home's
	reported  int          // races between diffs
	early     int          // releases that went on without their acknowledgements
	held      int          // words of synchronization that waited for some
	again     int          // words that an epoch made void, and that were said again
	updated   int          // Updates that were put into a copy
	spared    int          // notices of what had come as an Update
	stayed    int          // flushes after which a page was kept at a node that is not its home
	homeKept  int          // and such at a home
	unwritten int          // flushes of kept pages that nobody has written
	unkept    int          // and such after which they are not kept any more
	late      int          // Updates of a copy that was given up, or that is not the next one
}

func (n *rcensus) add(o rcensus) {
	for i := range n.kinds {
		n.kinds[i] += o.kinds[i]
	}
	n.races += o.races
	n.refetched += o.refetched
	n.merged += o.merged
	n.repinned += o.repinned
	n.lost += o.lost
	n.kept += o.kept
	n.reported += o.reported
	n.early += o.early
	n.held += o.held
	n.again += o.again
	n.updated += o.updated
	n.spared += o.spared
	n.stayed += o.stayed
	n.homeKept += o.homeKept
	n.unwritten += o.unwritten
	n.unkept += o.unkept
	n.late += o.late
}

// rnode is what a node knows of its intervals and notices.
type rnode struct {
	intervals Intervals
	notices   Notices
	status    status
	leaving   bool
	view      int // index of the one that it has learned
	// held are words of synchronization that wait for acknowledgements.
	held []rpacket
	// shuns is a node that is known to leave. stage is how far this node has come with leaving, and heard who has
	// answered that it knows.
	shuns pagetable.NodeID
	stage leaveStage
	heard pagetable.CopySet
}

// words are a page's bytes. A word holds the number of the write that wrote it.
type words [pageWords]uint16

// rplace is what a node has of one page.
type rplace struct {
	page        Page
	frame, twin words
	twinned     bool       // there is a twin
	began       uint32     // interval in which the twin was made
	wrote       uint32     // the last one in which something was written, as far as its end has shown
	yields      bool       // it has been asked to give up the page
	kept        []keptDiff // diffs that are not acknowledged
}

type keptDiff struct {
	interval uint32
	diff     rdiff
}

// rdiff is a diff: which bits differ, and how. As in a real one, which has only the bytes that differ, it makes
// of a word what its writer had only if it is applied to what the twin had.
type rdiff struct{ differs, words words }

func (d rdiff) apply(w *words) {
	for i := range w {
		w[i] = d.words[i]&d.differs[i] | w[i]&^d.differs[i]
	}
}

// rlink holds the packets from one node to another, in order.
type rlink struct {
	from, to pagetable.NodeID
	packets  []rpacket // never written to in place
}

// rpacket is a message with what comes with it, or a word of synchronization with its notices.
type rpacket struct {
	Message
	words words
	diff  rdiff
	// sync is what it lets happen, if it is no Message: a thread has its lock, a thread has arrived at the
	// barrier, or a thread may leave it.
	sync    syncKind
	thread  int
	notices []Notice
	// interval is the last one that its sender had ended.
	interval uint32
	// For races: stamp is that of a diff, time that of the lock that sync is about.
	stamp Stamp
	lock  uint64
	time  VectorTime
}

type syncKind uint8

const (
	noSync syncKind = iota
	grantLock
	arriveBarrier
	openBarrier
	// A leaving node asks all others whether they know, and they answer.
	askLeaver
	answerLeaver
)

func (p rpacket) String() string {
	if p.sync != noSync {
		return fmt.Sprintf("e%d %v for thread %d, notices %v", p.Epoch, [...]string{"", "lock", "arrival", "barrier opens", "a leaver asks", "answer"}[p.sync], p.thread, p.notices)
	}
	return fmt.Sprintf("%v %v %v", p.Message, p.words, p.diff)
}

// rlock is a lock. Whoever asks while it is held waits in a queue.
type rlock struct {
	held  bool
	last  pagetable.NodeID // where it was held last; 0: it never was
	queue []int
}

// ownLock is a mutex of the program at one node, by which its threads synchronize without anybody knowing.
const ownLock = 2

// thread runs a program at a node.
type thread struct {
	node    pagetable.NodeID
	program []rop
	next    int
	state   threadState
	// interval is the one whose end it waits for, if it releases.
	interval uint32
}

type threadState uint8

const (
	ready threadState = iota
	faulting
	releasing
	settling // the homes may lack something of what was released early
	blocked  // waits for a lock or at the barrier
)

// rop is one step of a program.
type rop struct {
	kind rkind
	page int
	word int // of the page; or which lock
}

type rkind uint8

const (
	rread rkind = iota
	rwrite
	rlockOp
	runlock
	rbarrier
	rpin   // takes a view to write
	rpoke  // writes through the view
	runpin // gives it back
	revict
)

var rkindNames = [...]string{"read", "write", "lock", "unlock", "barrier", "pin", "poke", "unpin", "evict"}

func (o rop) String() string { return fmt.Sprintf("%s %d.%d", rkindNames[o.kind], o.page, o.word) }

// parseProgram reads a program: r01 reads word 1 of page 0, w01 writes it; p0 takes a view of page 0, k01 writes
// through it, q0 gives it back; L0 and U0 lock and unlock; B is the barrier; e0 evicts.
func parseProgram(text string) (ops []rop) {
	for i := 0; i < len(text); i++ {
		digit := func() int { i++; return int(text[i] - '0') }
		switch c := text[i]; c {
		case 'r':
			ops = append(ops, rop{rread, digit(), digit()})
		case 'w':
			ops = append(ops, rop{rwrite, digit(), digit()})
		case 'k':
			ops = append(ops, rop{rpoke, digit(), digit()})
		case 'p':
			ops = append(ops, rop{kind: rpin, page: digit()})
		case 'q':
			ops = append(ops, rop{kind: runpin, page: digit()})
		case 'e':
			ops = append(ops, rop{kind: revict, page: digit()})
		case 'L':
			ops = append(ops, rop{kind: rlockOp, word: digit()})
		case 'U':
			ops = append(ops, rop{kind: runlock, word: digit()})
		case 'B':
			ops = append(ops, rop{kind: rbarrier})
		case ' ':
		default:
			panic("no such step: " + string(c))
		}
	}
	return ops
}

// newReleaseCluster returns a space of that many nodes with one page for each of homes.
func newReleaseCluster(nodes int, homes ...pagetable.NodeID) *rcluster {
	c := &rcluster{
		nodes: make([]rnode, nodes), pages: len(homes), locks: make([]rlock, ownLock+1), rscratch: &rscratch{},
		history: history{words: make([]accesses, len(homes)*pageWords)},
		views:   []rview{{epoch: 1, homes: homes}}, exposed: make([]bool, len(homes)),
	}
	for n := range nodes {
		for p, home := range homes {
			id := pagetable.MakePageID(1, uint64(p))
			c.places = append(c.places, rplace{page: MakeReleasePage(id, pagetable.NodeID(n+1), home, 1)})
		}
	}
	return c
}

// run adds a thread that runs a program at a node.
func (c *rcluster) run(n pagetable.NodeID, program []rop) {
	c.threads = append(c.threads, thread{node: n, program: program})
	c.history.grow(len(c.threads), len(c.locks))
}

func (c *rcluster) place(n pagetable.NodeID, page int) *rplace {
	return &c.places[(int(n)-1)*c.pages+page]
}

func (c *rcluster) node(n pagetable.NodeID) *rnode { return &c.nodes[n-1] }

func (c *rcluster) note(format string, args ...any) {
	if c.log != nil {
		c.log(format, args...)
	}
}

func (c *rcluster) clone() *rcluster {
	d := *c
	d.places = slices.Clone(c.places)
	for i := range d.places {
		pl := &d.places[i]
		r := *pl.page.release
		r.flights = slices.Clone(r.flights)
		pl.page.release = &r
		pl.kept = slices.Clone(pl.kept)
	}
	d.nodes = slices.Clone(c.nodes)
	for i := range d.nodes {
		d.nodes[i] = d.nodes[i].clone()
	}
	d.threads = slices.Clone(c.threads)
	d.locks = slices.Clone(c.locks)
	for i := range d.locks {
		d.locks[i].queue = slices.Clone(d.locks[i].queue)
	}
	d.arrived = slices.Clone(c.arrived)
	d.links = slices.Clone(c.links)
	d.history = c.history.clone()
	d.exposed = slices.Clone(c.exposed)
	if c.watched != nil {
		d.watched = c.watched.clone()
	}
	return &d
}

func (n rnode) clone() rnode {
	n.intervals.written = slices.Clone(n.intervals.written)
	n.intervals.closing = slices.Clone(n.intervals.closing)
	for i := range n.intervals.closing {
		n.intervals.closing[i].sent = slices.Clone(n.intervals.closing[i].sent)
	}
	o := n.notices
	n.notices = Notices{log: slices.Clone(o.log), void: o.void, due: slices.Clone(o.due)}
	if o.known != nil {
		n.notices.known, n.notices.told = map[pagetable.PageID]knowledge{}, map[pagetable.NodeID]int{}
	}
	for k, v := range o.known {
		n.notices.known[k] = v
	}
	for k, v := range o.told {
		n.notices.told[k] = v
	}
	return n
}

func (c *rcluster) post(p rpacket) {
	if c.node(p.To).status != running {
		return
	}
	for i := range c.links {
		if l := &c.links[i]; l.from == p.From && l.to == p.To {
			l.packets = append(slices.Clip(l.packets), p)
			return
		}
	}
	c.links = append(c.links, rlink{p.From, p.To, []rpacket{p}})
}

func (c *rcluster) take(from, to pagetable.NodeID) rpacket {
	i := slices.IndexFunc(c.links, func(l rlink) bool { return l.from == from && l.to == to })
	l := &c.links[i]
	p := l.packets[0]
	if l.packets = l.packets[1:]; len(l.packets) == 0 {
		c.links = slices.Delete(c.links, i, i+1)
	}
	return p
}

// fingerprint implements model.
func (c *rcluster) fingerprint(b []byte) []byte {
	num := func(vs ...int) {
		for _, v := range vs {
			b = binary.AppendVarint(b, int64(v))
		}
	}
	for i := range c.places {
		b = c.places[i].fingerprint(b)
	}
	for i := range c.nodes {
		b = c.nodes[i].fingerprint(b)
	}
	for _, t := range c.threads {
		num(t.next, int(t.state), int(t.interval))
	}
	for _, l := range c.locks {
		num(int(bit(l.held)), int(l.last), len(l.queue))
		num(l.queue...)
	}
	b = fmt.Append(b, c.refused)
	num(len(c.arrived))
	num(c.arrived...)
	links := slices.Clone(c.links)
	slices.SortFunc(links, func(x, y rlink) int { return int(x.from)*100 + int(x.to) - int(y.from)*100 - int(y.to) })
	for _, l := range links {
		num(int(l.from), int(l.to), len(l.packets))
		for _, p := range l.packets {
			b = fmt.Append(b, p, p.stamp, p.time)
		}
	}
	b = fmt.Append(b, c.exposed, c.crashes, c.leaves, c.latest())
	if c.watched != nil {
		b = c.watched.fingerprint(b)
	}
	return c.history.fingerprint(b)
}

func (pl *rplace) fingerprint(b []byte) []byte {
	r, cp := pl.page.release, pl.page.copy
	b = append(b, byte(pl.page.home), byte(pl.page.epoch), byte(pl.page.departure), byte(cp.access), byte(cp.pending), byte(cp.readers), byte(cp.writers), bit(cp.zero),
		byte(r.version), byte(r.needed), byte(r.since), bit(r.lost), bit(r.homed), bit(r.twin), bit(r.kept),
		r.streak.length, byte(r.streak.last), bit(r.shared), bit(r.noted), bit(r.watched), byte(len(r.flights)))
	f := r.following
	b = append(b, bit(f.on), f.patience, f.idle, f.news, f.missed)
	b = fmt.Append(b, r.followers)
	for _, f := range r.flights {
		b = append(b, byte(f))
	}
	twinned := r.twin || r.watched && r.noted
	if twinned {
		b = binary.AppendUvarint(b, uint64(pl.began))
		b = append(binary.AppendUvarint(b, uint64(pl.wrote)), bit(pl.yields))
	}
	live := cp.access != pagetable.NoAccess || r.twin || cp.writers > 0
	for i := range pl.frame {
		if live {
			b = binary.AppendUvarint(b, uint64(pl.frame[i]))
		}
		if twinned {
			b = binary.AppendUvarint(b, uint64(pl.twin[i]))
		}
	}
	return fmt.Append(b, pl.kept)
}

func (n *rnode) fingerprint(b []byte) []byte {
	b = fmt.Append(b, n.held, n.shuns, n.stage, n.heard)
	return fmt.Append(b, n.status, n.leaving, n.view, n.intervals, n.notices) // fmt prints maps in the order of their keys
}
