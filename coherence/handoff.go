package coherence

import "pagemesh/pagetable"

// HandOff gives the page and its directory entry to the node that will be its home, and reports
// whether it could: this node must be the home, hold the page for writing without pins, and have no
// transaction open. A page that was lost is handed over as lost; one that was never touched has
// nothing to hand over. Afterwards this node drops requests for the page: their senders repeat them at
// the new home.
func (p *Page) HandOff(to pagetable.NodeID, rd *Ready) bool {
	p.begin(rd)
	d := p.dir
	switch {
	case d == nil || d.state == unowned || d.state == handedOff:
	case d.state == lost:
		p.send(Message{Kind: Handoff, To: to}, rd)
		d.set(handedOff, 0, pagetable.CopySet{})
	case !p.canHandOff():
		return false
	default:
		p.send(Message{Kind: Handoff, To: to, Access: pagetable.WriteAccess, Content: Bytes}, rd)
		d.set(handedOff, 0, pagetable.CopySet{})
		p.copy.access = pagetable.NoAccess
	}
	p.end(rd)
	return true
}

func (p *Page) canHandOff() bool {
	d, c := p.dir, &p.copy
	return d.state == exclusive && d.owner == p.self && d.txn.phase == idle &&
		c.access == pagetable.WriteAccess && c.readers+c.writers == 0
}

// handoff takes over a page at the node that will be its home.
func (p *Page) handoff(m Message, rd *Ready) {
	p.dir = &directory{}
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
