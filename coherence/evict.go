package coherence

import (
	"slices"

	"pagemesh/pagetable"
)

// Evict asks the home to take this node's copy, because the node needs its frame for something else,
// and reports whether it could: the node must have a right on the page, be another than the home, and
// have neither pins on the page nor a request for it. The right ends as if another node wanted the
// page. Until then the node may use it, and ask for more.
//
// A page of a release region has nobody to ask: it is gone at once, unless it holds changes that its home
// doesn't have.
func (p *Page) Evict(rd *Ready) bool {
	p.begin(rd)
	if p.release != nil {
		ok := p.releaseEvict(rd)
		p.end(rd)
		return ok
	}
	c := &p.copy
	ok := c.access != pagetable.NoAccess && p.home != p.self && p.home != 0 && c.pending == pagetable.NoAccess &&
		c.readers+c.writers == 0 && p.departure == staying
	if ok {
		p.send(Message{Kind: Evict, To: p.home}, rd)
	}
	p.end(rd)
	return ok
}

// evict serves an Evict. One copy of several is invalidated on nobody's behalf; the only one moves to
// the home, as if the home wanted to write.
func (p *Page) evict(n pagetable.NodeID, rd *Ready) {
	d := p.dir
	switch {
	case !d.copies.Has(n):
	case d.copies.Len() == 1:
		d.queue = slices.Insert(d.queue, 0, request{node: p.self, access: pagetable.WriteAccess})
	default:
		d.txn.node, d.txn.phase = 0, invalidating
		d.txn.waiting = pagetable.CopySet{}
		d.txn.waiting.Add(n)
		p.send(Message{Kind: Invalidate, To: n, Txn: d.txn.number}, rd)
	}
}
