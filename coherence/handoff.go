package coherence

import (
	"slices"

	"pagemesh/pagetable"
)

// departure is how far a node that leaves the space has come with one page.
type departure uint8

const (
	// staying: the node is not leaving, or has not begun with this page.
	staying departure = iota
	// departing: Surrender or Handoff was sent, Taken is missing.
	departing
	// departed: nobody will ask this node for the page again.
	departed
)

func (s departure) String() string { return [...]string{"staying", "departing", "departed"}[s] }

// Vacated reports whether a node that leaves is done with the page: whatever it held is elsewhere, and
// no message from it or to it matters any more. A view without the node may begin once every page
// it has touched is vacated.
func (p *Page) Vacated() bool {
	if p.release != nil {
		return p.departure == departed
	}
	if p.self == p.home && (p.dir == nil || p.dir.state == unowned) {
		return true
	}
	return p.departure == departed
}

// Surrender gives the page back to its home, because this node is leaving: see Vacated. It is for
// every page that has another home. There must be no Fault of this node on the page afterwards; one
// that waits is not woken by what it waited for. It is repeated in a new epoch as long as it needs to be.
func (p *Page) Surrender(rd *Ready) {
	p.begin(rd)
	p.copy.pending, p.copy.want = pagetable.NoAccess, pagetable.NoAccess
	if p.release != nil {
		p.releaseSurrender()
	} else {
		p.surrender(rd)
	}
	p.end(rd)
}

func (p *Page) surrender(rd *Ready) {
	if p.home == 0 {
		p.departure = departed
		return
	}
	p.departure = departing
	p.send(Message{Kind: Surrender, To: p.home}, rd)
}

// HandOff gives the page and its directory entry to the node that will be its home, and reports
// whether it could: this node must be the home, hold the page for writing without pins, and have no
// transaction open. A page that was lost is handed over as lost; one that was never touched has
// nothing to hand over. See Vacated for when it has arrived. Afterwards this node drops requests for
// the page: their senders repeat them at the new home. Requests for pages that were never touched
// are for the caller to drop, from before the first HandOff.
func (p *Page) HandOff(to pagetable.NodeID, rd *Ready) bool {
	p.begin(rd)
	ok := p.handOff(to, rd)
	p.end(rd)
	return ok
}

func (p *Page) handOff(to pagetable.NodeID, rd *Ready) bool {
	if p.release != nil {
		return p.releaseHandOff(to, rd)
	}
	d := p.dir
	switch {
	case d == nil || d.state == unowned || d.state == handedOff:
	case d.state == lost:
		p.handOver(Message{Kind: Handoff, To: to}, rd)
	case !p.canHandOff():
		return false
	default:
		p.handOver(Message{Kind: Handoff, To: to, Access: pagetable.WriteAccess, Content: Bytes}, rd)
		p.copy.access = pagetable.NoAccess
	}
	return true
}

func (p *Page) canHandOff() bool {
	d, c := p.dir, &p.copy
	return d.state == exclusive && d.owner == p.self && d.txn.phase == idle &&
		c.access == pagetable.WriteAccess && c.readers+c.writers == 0
}

func (p *Page) handOver(m Message, rd *Ready) {
	p.send(m, rd)
	p.dir.set(handedOff, m.To, pagetable.CopySet{})
	p.departure = departing
}

// handoff takes over a page at the node that will be its home.
func (p *Page) handoff(m Message, rd *Ready) {
	p.dir = &directory{}
	p.send(Message{Kind: Taken, To: m.From}, rd)
	if m.Access == pagetable.NoAccess {
		p.dir.state = lost
		return
	}
	var c pagetable.CopySet
	c.Add(p.self)
	p.dir.set(exclusive, p.self, c)
	p.install(m, rd)
	p.copy.pending, p.copy.want = pagetable.NoAccess, pagetable.NoAccess
	rd.Woken = p.copy.access
}

// relieve serves a Surrender or an Evict. For a Surrender the home takes what the leaving node holds, in
// a transaction like any other, before it lets it go; the node's own requests came before and have been
// served.
func (p *Page) relieve(rd *Ready) {
	d := p.dir
	r := d.txn.request
	switch {
	case r.evicts:
		p.evict(r.node, rd)
	case d.copies.Has(r.node):
		d.queue = slices.Insert(d.queue, 0, request{node: p.self, access: pagetable.WriteAccess}, r)
	default:
		p.send(Message{Kind: Taken, To: r.node}, rd)
	}
}

func (p *Page) taken() { p.departure = departed }

// departNewEpoch goes on with a departure in a new view. A page that was handed to a node that is lost
// now is lost with it.
func (p *Page) departNewEpoch(v View, rd *Ready) {
	switch {
	case p.departure == staying:
	case p.dir == nil || p.dir.state != handedOff:
		if p.departure == departing {
			p.surrender(rd)
		}
	case !v.Has(p.dir.owner):
		p.dir.set(lost, 0, pagetable.CopySet{})
		p.departure = staying
	}
}
