package coherence

import "pagemesh/pagetable"

// raise gives the home's own program a right. Its writes go to the page itself, without a twin.
func (p *Page) raise(want pagetable.Access, rd *Ready) {
	p.copy.access = want
	if want != pagetable.WriteAccess {
		return
	}
	p.copy.zero = false
	if p.release.shared {
		p.note(rd)
	}
}

// note remembers that the home writes in the open interval what others may have copies of.
func (p *Page) note(rd *Ready) {
	rd.Wrote, rd.KeepTwin = true, p.release.watched
	p.release.noted = true
	p.keepHomeTwin(rd)
}

// keepHomeTwin keeps a twin at the home too, if somebody will be told what it writes.
func (p *Page) keepHomeTwin(rd *Ready) {
	if r := p.release; r.noted && !r.twin && !r.followers.Empty() {
		r.twin, rd.KeepTwin = true, true
	}
}

// change counts what the home has written in an interval as a change. If nobody follows, no copy is as new as the
// home's from now on, so it may go on writing until somebody fetches one, unless it is watched.
func (p *Page) change(interval uint32, rd *Ready) {
	r := p.release
	r.version++
	rd.Flushed = append(rd.Flushed, Flushed{interval, r.version, p.self})
	p.tellFollowers(p.self, rd)
	if r.watched || !r.followers.Empty() {
		p.endWrites(interval, rd)
		return
	}
	rd.DropTwin = r.twin
	r.noted, r.shared, r.twin, r.kept = false, false, false, false
}

// supply sends the page to a node that needs it. Before, the home stops writing unnoticed; a view that
// writes goes on, and is noticed from now on.
func (p *Page) supply(m Message, rd *Ready) {
	c, r := &p.copy, p.release
	if !r.homed {
		return // handed off: its sender asks the next home
	}
	r.shared = true
	if m.Kind == Follow && !r.watched {
		r.followers.Add(m.From)
	} else {
		r.followers.Remove(m.From)
	}
	switch {
	case c.access != pagetable.WriteAccess || r.noted:
	case c.writers > 0:
		p.note(rd)
	default:
		c.access = pagetable.ReadAccess
	}
	p.keepHomeTwin(rd)
	p.send(Message{
		Kind: Grant, To: m.From, Access: pagetable.ReadAccess, Content: p.content(), Version: r.version,
	}, rd)
}

func (p *Page) content() Content {
	if p.copy.zero {
		return Zeros
	}
	return Bytes
}

// merge takes up the diff of another node. Nobody here has to stop: what the two write are different
// words, or the program has a race.
func (p *Page) merge(m Message, rd *Ready) {
	c, r := &p.copy, p.release
	if !r.homed {
		return // handed off: its sender flushes to the next home
	}
	r.version++
	c.zero = false
	c.access = max(c.access, pagetable.ReadAccess)
	rd.Install, rd.Took = Diff, r.version
	p.send(Message{Kind: FlushAck, To: m.From, Txn: m.Txn, Version: r.version}, rd)
	p.tellFollowers(m.From, rd)
}

// releaseSurrender lets a leaving node go. Whatever it wrote is at the home, once its last interval is
// flushed.
// Preconditions: nothing is written that is not flushed.
func (p *Page) releaseSurrender() {
	p.copy.access = pagetable.NoAccess
	p.departure = departed
}

func (p *Page) releaseHandOff(to pagetable.NodeID, rd *Ready) bool {
	c, r := &p.copy, p.release
	switch {
	case r.noted || c.readers+c.writers > 0:
		return false
	case r.homed:
		p.send(Message{Kind: Handoff, To: to, Access: pagetable.WriteAccess, Content: p.content(), Version: r.version}, rd)
		c.access, r.homed, r.followers = pagetable.NoAccess, false, pagetable.CopySet{}
		p.departure = departing
	}
	return true
}

// releaseHandoff makes this node the home. What it has itself changed becomes part of the page: diffs that are
// not acknowledged never reached the last home, whose acknowledgement would have come first.
func (p *Page) releaseHandoff(m Message, rd *Ready) {
	c, r := &p.copy, p.release
	rd.Install, rd.DropTwin = m.Content, r.twin && !r.watched
	c.zero = m.Content == Zeros && !r.twin && len(r.flights) == 0
	r.homed, r.shared, r.noted, r.twin, r.kept = true, true, r.twin, false, false
	r.version = m.Version
	for _, interval := range r.flights {
		r.version++
		rd.Flushed = append(rd.Flushed, Flushed{Interval: interval, Version: r.version})
	}
	r.flights, r.following = nil, following{}
	p.settleHome(rd)
	p.send(Message{Kind: Taken, To: m.From}, rd)
}

// settleHome gives a node that has become the home what it has asked the last one for.
func (p *Page) settleHome(rd *Ready) {
	c, r := &p.copy, p.release
	want := c.pending
	c.pending = pagetable.NoAccess
	c.access = pagetable.ReadAccess
	switch {
	case r.noted:
		c.access = pagetable.WriteAccess
	case want == pagetable.WriteAccess:
		p.raise(want, rd)
	}
	rd.Woken = c.access
}

// releaseNewEpoch takes every copy for old, since notices may have gone down with a member that would have
// passed them on, and repeats at a new home what the one before has not answered.
func (p *Page) releaseNewEpoch(before pagetable.NodeID, rd *Ready) {
	c, r := &p.copy, p.release
	switch {
	case r.lost:
		return
	case p.home == 0:
		p.lose(rd) // also at a node that the page was handed to, by a home that crashed before it had left
		return
	case r.homed:
		r.followers = pagetable.CopySet{} // whoever still is a member asks again
		return
	}
	c.access, r.since, r.following.on = pagetable.NoAccess, p.epoch, false
	switch p.home {
	case before:
	case p.self:
		// The last home handed nothing over, since nobody ever asked it for the page.
		*r = release{homed: true, watched: r.watched, shared: r.watched}
		c.zero = true
		p.settleHome(rd)
	default:
		p.repeat(rd)
	}
}

// repeat asks the new home for what the last one has not done. It may have taken up a diff, and handed it over
// with the page. To do so again harms nobody: as long as a release waits, no other node may write the same
// words. A release that went on early has its acknowledgement, see doc.go.
func (p *Page) repeat(rd *Ready) {
	if p.copy.pending != pagetable.NoAccess {
		p.fetch(rd)
	}
	for _, interval := range p.release.flights {
		p.send(Message{Kind: Flush, To: p.home, Txn: interval, Content: Diff}, rd)
	}
	rd.RepeatDiff = true
}
