package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// poolHome is a pool as its home sees it.
//
// Invariant: free and the counts of given add up to size.
type poolHome struct {
	id   ID
	name string
	size uint64

	free  uint64 // permits that are here
	given []given
	queue []request // first come, first served; the first wants more than is free
	token Token     // the greatest one known

	// ownerDied says that a node that may have taken all of the pool was lost with it.
	ownerDied bool

	found []given // what nodes report while the home is rebuilding
}

// given is how many permits a node has, as far as the home knows.
type given struct {
	node     pagetable.NodeID
	count    uint64 // never 0
	recalled uint64 // how many of them the node was told to put back
}

// request is a waiter of a node that waits for permits.
type request struct {
	node   pagetable.NodeID
	waiter Waiter
	count  uint64
}

// take queues a request, or denies it.
func (p *poolHome) take(from pagetable.NodeID, msg Message, r *Ready) {
	if msg.Size != p.size {
		r.send(from, Message{Kind: Deny, ID: p.id, Size: msg.Size, Waiter: msg.Waiter, Reason: Mismatch})
		return
	}
	p.queue = append(p.queue, request{from, msg.Waiter, msg.Count})
	p.serve(r)
}

// serve gives to the first of the queue as long as there is enough, and then calls for more.
func (p *poolHome) serve(r *Ready) {
	served := 0
	for _, q := range p.queue {
		if q.count > p.free {
			break
		}
		p.give(q, r)
		served++
	}
	p.queue = slices.Delete(p.queue, 0, served)
	if len(p.queue) > 0 {
		p.recall(r)
	}
}

func (p *poolHome) give(q request, r *Ready) {
	p.free -= q.count
	p.holding(q.node).count += q.count
	// What a lost node has counted on from an earlier epoch is smaller.
	p.token = max(p.token, Token(r.epoch<<countBits|p.token.Count()))
	r.send(q.node, Message{
		Kind: Give, ID: p.id, Size: p.size, Waiter: q.waiter, Count: q.count, Token: p.token,
	})
}

// holding returns a node's entry in given and makes it if there is none.
func (p *poolHome) holding(n pagetable.NodeID) *given {
	i := slices.IndexFunc(p.given, func(g given) bool { return g.node == n })
	if i < 0 {
		i = len(p.given)
		p.given = append(p.given, given{node: n})
	}
	return &p.given[i]
}

// recall tells every node that has permits of which it doesn't know yet that they are wanted.
func (p *poolHome) recall(r *Ready) {
	for i := range p.given {
		g := &p.given[i]
		if g.recalled < g.count {
			g.recalled = g.count
			r.send(g.node, Message{Kind: Recall, ID: p.id, Size: p.size})
		}
	}
}

// putBack takes permits back from a node.
func (p *poolHome) putBack(from pagetable.NodeID, msg Message, r *Ready) {
	i := slices.IndexFunc(p.given, func(g given) bool { return g.node == from })
	if i < 0 || msg.Size != p.size || msg.Count > p.given[i].count {
		impossible(from, msg, p)
	}
	g := &p.given[i]
	g.count -= msg.Count
	g.recalled -= min(g.recalled, msg.Count)
	if g.count == 0 {
		p.given = slices.Delete(p.given, i, i+1)
	}
	p.free += msg.Count
	p.token = max(p.token, msg.Token)
	p.serve(r)
}

// drop forgets a request whose waiter has given up, unless it is answered already.
func (p *poolHome) drop(from pagetable.NodeID, msg Message, r *Ready) {
	i := slices.IndexFunc(p.queue, func(q request) bool { return q.node == from && q.waiter == msg.Waiter })
	if i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		p.serve(r)
	}
}

// newEpoch forgets the queue; whoever waits asks again.
func (p *poolHome) newEpoch() { p.queue, p.found = nil, nil }

// report collects what a node has in a new epoch.
func (p *poolHome) report(from pagetable.NodeID, msg Message) {
	if msg.Size != p.size {
		impossible(from, msg, p)
	}
	p.found = append(p.found, given{node: from, count: msg.Count})
	p.token = max(p.token, msg.Token)
}

// rebuilt counts anew. Permits that were under way when the epoch began arrive nowhere, and those of nodes
// that are lost are with nobody: they are free.
func (p *poolHome) rebuilt(lost []pagetable.NodeID) {
	for _, g := range p.given {
		p.ownerDied = p.ownerDied || g.count == p.size && slices.Contains(lost, g.node)
	}
	p.given, p.found, p.free = p.found, nil, p.size
	for _, g := range p.given {
		if g.count > p.free {
			panic(fmt.Sprintf("locks: more is reported than there is: %v", p))
		}
		p.free -= g.count
	}
}

// String shows all of the state, for a panic.
func (p *poolHome) String() string {
	return fmt.Sprintf("pool %q of %d free=%d given=%v queue=%v token=%v found=%v",
		p.name, p.size, p.free, p.given, p.queue, p.token, p.found)
}
