package coherence

import "pagemesh/pagetable"

// Notice is a write notice: whoever acquires it needs a copy of the page that is at least that new.
type Notice struct {
	Page    pagetable.PageID
	Version uint64
}

// Notices are the write notices that one node knows, and what it has told others of them. They take the place
// of vector times: homes number the changes of a page, so that of two notices for one page the greater says
// all, and a node's knowledge is one number a page, however many intervals there were. What another node has
// yet to be told is what was learned since it was told last: one position in the order of learning for each.
//
// A message that lets another node acquire comes after the notices that Tell returns for that node, on the same
// way; one that lets this node acquire, after those that its sender gave to Learn. Then what happened before an
// acquire in any chain of such messages is known to the node that acquires.
//
// The zero value is ready to use.
type Notices struct {
	known map[pagetable.PageID]knowledge
	// log is what may have to be told, in the order in which it was learned. An entry that its page's
	// knowledge does not point at is void: a later one replaces it.
	log  []entry
	void int // entries of log that are
	// told is how far in log each node was told.
	told map[pagetable.NodeID]int
	// due are pages of which others have told since this node acquired last, each once.
	due []pagetable.PageID
}

// knowledge is what is known of a page.
type knowledge struct {
	version uint64 // the newest change that this node knows of
	// heard is the newest one that others have told of. A change of this node's own may be newer than one
	// that it lacks, until somebody tells it of that one.
	heard uint64
	at    int // in log
	due   bool
}

// entry is one thing learned. Who told it is not told it again; 0 if everybody is to be told.
type entry struct {
	page pagetable.PageID
	from pagetable.NodeID
}

// Wrote takes up a change of this node that its home has, see Flushed. The home knows.
func (n *Notices) Wrote(p pagetable.PageID, f Flushed) {
	if f.Version > 0 {
		n.raise(Notice{p, f.Version}, f.By)
	}
}

// Took takes up a change of another node to a page that is homed here, see Ready.Took. It may be told before the node
// that made it knows its number.
func (n *Notices) Took(from pagetable.NodeID, p pagetable.PageID, version uint64) {
	n.raise(Notice{p, version}, from)
}

// Learn takes up what another node tells.
func (n *Notices) Learn(from pagetable.NodeID, told []Notice) {
	for _, t := range told {
		n.raise(t, from)
		k := n.known[t.Page]
		if t.Version > k.heard && !k.due {
			k.due = true
			n.due = append(n.due, t.Page)
		}
		k.heard = max(k.heard, t.Version)
		n.known[t.Page] = k
	}
}

// raise notes what is news, for this node or for the one that told it what it knows of the page; from is 0 if
// the change is this node's own.
//
// A node that told of a change need not know of every earlier one:
//
//  1. A and B write a page that they share falsely. A's flush arrives first: version 1, B's is 2.
//  2. B tells this node of version 2, before or after A tells it of version 1.
//  3. B acquires from this node what A has released. It has to be told of version 2, its own, to notice that its
//     copy lacks 1.
func (n *Notices) raise(t Notice, from pagetable.NodeID) {
	k, ok := n.known[t.Page]
	if ok {
		by := n.log[k.at].from
		switch {
		case t.Version <= k.version && (by == 0 || by == from):
			return
		case by != from && (k.at >= n.told[from] || t.Version <= k.version):
			from = 0
		}
		n.void++
	} else if n.known == nil {
		n.known, n.told = map[pagetable.PageID]knowledge{}, map[pagetable.NodeID]int{}
	}
	k.version, k.at = max(k.version, t.Version), len(n.log)
	n.known[t.Page] = k
	n.log = append(n.log, entry{t.Page, from})
	n.compact()
}

// Tell appends to dst what the node to has not been told by this one, and counts it as told: the messages
// between two nodes stay in order.
func (n *Notices) Tell(to pagetable.NodeID, dst []Notice) []Notice {
	for i := n.told[to]; i < len(n.log); i++ {
		e := n.log[i]
		if k := n.known[e.page]; k.at == i && e.from != to {
			dst = append(dst, Notice{e.page, k.version})
		}
	}
	if len(n.log) > 0 {
		n.told[to] = len(n.log)
	}
	return dst
}

// Acquire appends to dst what this node has to take notice of now, see Page.Invalidate.
func (n *Notices) Acquire(dst []Notice) []Notice {
	for _, p := range n.due {
		k := n.known[p]
		k.due = false
		n.known[p] = k
		dst = append(dst, Notice{p, k.heard})
	}
	n.due = n.due[:0]
	return dst
}

// minLog is how long the log gets before it is looked through.
const minLog = 64

// compact removes the void entries when they are more than half of the log. So the log is never longer than
// twice the pages that were written, and each entry is moved once on average.
func (n *Notices) compact() {
	if n.void*2 <= len(n.log) || len(n.log) < minLog {
		return
	}
	kept := n.log[:0]
	moved := make([]int, len(n.log)+1) // by index: how many entries before it are kept
	for i, e := range n.log {
		moved[i] = len(kept)
		if k := n.known[e.page]; k.at == i {
			k.at = len(kept)
			n.known[e.page] = k
			kept = append(kept, e)
		}
	}
	moved[len(n.log)] = len(kept)
	for node, at := range n.told {
		n.told[node] = moved[at]
	}
	n.log, n.void = kept, 0
}

// Forget ends what is kept for nodes that are no members any more.
func (n *Notices) Forget(gone []pagetable.NodeID) {
	for _, node := range gone {
		delete(n.told, node)
	}
}
