package coherence

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// release is what a node knows of a page of a release region, beside its copyState: copy.access is its right,
// copy.pending the right that somebody here waits for while the home is asked for the bytes. See doc.go,
// "Release regions".
//
// The home numbers the changes that it takes up, its own and those that are flushed to it. So one number
// says how new a copy is, and how new it has to be.
//
// Invariant: at a node that is not the home, the right to write and a valid copy with a twin are the same.
// Invariant: a copy with a right is at least as new as needed.
type release struct {
	// version: this copy contains the home's changes up to that one. At the home: how many there are.
	version uint64
	// needed is the newest change that this node was told of when it acquired. It reads no copy without it.
	needed uint64
	// since is the first epoch whose grants are new enough: who has told this node, and of what, is void when a
	// member goes, so it takes all copies for old.
	since uint64
	// twin: the caller keeps a twin, so what this node has written can be told from what it got. It may be
	// kept without a right on the page: then the changes go on top of what is fetched next.
	twin bool
	// streak tells whether the node is likely to write the page in its next interval. kept: the right to write and the
	// twin are from before the open one, because it was likely, or a view may write. So the twin shows all that was
	// written in it.
	streak streak
	kept   bool
	// flights are the intervals whose Flush is not acknowledged, the oldest first.
	flights []uint32
	// lost: the page went down with its home.
	lost bool
	// following says what this node gets of the home's changes unasked.
	following following

	// homed: this node is the home. The rest is the home's.
	homed bool
	// shared: somebody may have a copy that is as new as the home's last change of its own. If nobody has, the
	// home writes without being asked: there is nobody whom a notice could concern.
	shared bool
	// noted: the home writes in the open interval, and will count that as a change at its end. It has a twin then
	// if there are followers.
	noted bool
	// watched: the home's own writes are told from those of others, see Watch. Then shared stays on, and there
	// is a twin as long as noted is on.
	watched bool
	// followers get every change of others as an Update.
	followers pagetable.CopySet
}

func (r *release) String() string {
	s := fmt.Sprintf("v%d needs v%d", r.version, r.needed)
	for _, f := range []struct {
		on   bool
		name string
	}{{r.twin, "twin"}, {r.kept, "kept"}, {r.lost, "lost"}, {r.homed, "homed"}, {r.shared, "shared"}, {r.noted, "noted"}} {
		if f.on {
			s += " " + f.name
		}
	}
	if len(r.flights) > 0 {
		s += fmt.Sprintf(" flights %d", r.flights)
	}
	if r.following.on {
		s += fmt.Sprintf(" following %+v", r.following)
	}
	if !r.followers.Empty() {
		s += fmt.Sprintf(" followers %v", r.followers)
	}
	return s
}

// MakeReleasePage returns the state of a page of a release region that this node has never touched.
func MakeReleasePage(id pagetable.PageID, self, home pagetable.NodeID, epoch uint64) Page {
	p := MakePage(id, self, home, epoch)
	p.release = &release{homed: self == home, lost: home == 0}
	p.copy.zero = self == home
	return p
}

// Watch has the home's own writes noticed in every interval, and kept apart by a twin like those of other nodes:
// what differs from it when another node's diff is installed, and when the interval is flushed, the home has
// written. It is for a page that nobody has touched.
func (p *Page) Watch() { p.release.watched, p.release.shared = true, p.release.homed }

// Homed reports whether this node is the home that others ask: the page's own state, which follows the view.
func (p *Page) Homed() bool { return p.release != nil && p.release.homed }

// Flush ends an interval for a page that was written in it, see Intervals. rd.Flushed says so, now or after
// some later step, once for each call. A page that a view may still write to, or that is kept, stays written, in the
// next interval.
//
// For a page that is Kept the caller says whether it differs from its twin.
func (p *Page) Flush(interval uint32, differs bool, rd *Ready) {
	p.begin(rd)
	kept, again := p.Kept(interval)
	switch {
	case !p.release.twin && !p.release.noted:
		rd.Flushed = append(rd.Flushed, Flushed{Interval: interval})
	case kept && !differs:
		p.unwritten(interval, rd)
	default:
		p.written(interval, rd)
	}
	rd.Wrote = rd.Wrote && !again // which the caller knows
	p.end(rd)
}

// flush sends the home what differs from the twin.
func (p *Page) flush(interval uint32, rd *Ready) {
	p.release.flights = append(p.release.flights, interval)
	p.send(Message{Kind: Flush, To: p.home, Txn: interval, Content: Diff}, rd)
	p.endWrites(interval, rd)
}

// Invalidate tells the page of a write notice, when this node acquires what it came with. A copy that has the
// change stays. What this node has itself written in the open interval is kept, for the copy that is fetched
// next; what a view shows stays as it is until then.
func (p *Page) Invalidate(version uint64, rd *Ready) {
	p.begin(rd)
	r := p.release
	switch {
	case r.homed:
	case version > r.version:
		r.needed = max(r.needed, version)
		p.copy.access = pagetable.NoAccess
		r.following.miss()
	case r.following.noticed() && p.copy.readers+p.copy.writers == 0:
		p.unfollow(rd)
	}
	p.end(rd)
}

func (p *Page) releaseDispatch(m Message, rd *Ready) {
	switch m.Kind {
	case Request, Follow:
		p.supply(m, rd)
	case Update:
		p.update(m, rd)
	case Unfollow:
		p.release.followers.Remove(m.From)
	case Flush:
		p.merge(m, rd)
	case Grant:
		p.releaseGrant(m, rd)
	case FlushAck:
		p.flushAck(m, rd)
	case Handoff:
		p.releaseHandoff(m, rd)
	case Taken:
		p.taken()
	default:
		p.impossible(m)
	}
}

func (p *Page) releaseFault(want pagetable.Access, rd *Ready) {
	c, r := &p.copy, p.release
	switch {
	case c.access.Allows(want):
	case r.lost:
		rd.Lost = true
		return
	case r.homed:
		p.raise(want, rd)
	case c.access == pagetable.ReadAccess:
		p.keepTwin(rd)
	case c.pending != pagetable.NoAccess:
		c.pending = max(c.pending, want)
		return
	default:
		c.pending = want
		p.fetch(rd)
		return
	}
	rd.Woken = c.access
}

// fetch asks the home for the page. The home has whatever a notice can name: no release is complete before
// its diffs are acknowledged.
func (p *Page) fetch(rd *Ready) {
	kind := Request
	if p.release.following.ask() {
		kind = Follow
	}
	p.send(Message{Kind: kind, To: p.home, Access: pagetable.ReadAccess}, rd)
}

// keepTwin gives the right to write a copy that may be read.
func (p *Page) keepTwin(rd *Ready) {
	p.copy.access = pagetable.WriteAccess
	p.release.twin, rd.KeepTwin, rd.Wrote = true, true, true
}

// releaseGrant takes the page that was asked for. It is asked for again if this node has acquired
// something newer since.
func (p *Page) releaseGrant(m Message, rd *Ready) {
	c, r := &p.copy, p.release
	switch {
	case c.pending == pagetable.NoAccess:
		p.impossible(m)
	case m.Version < r.needed || m.Epoch < r.since:
		p.fetch(rd)
		return
	}
	rd.Install, r.version = m.Content, m.Version
	want := c.pending
	c.pending, c.access = pagetable.NoAccess, pagetable.ReadAccess
	switch {
	case r.twin:
		c.access = pagetable.WriteAccess
	case want == pagetable.WriteAccess:
		p.keepTwin(rd)
	}
	rd.Woken = c.access
}

// flushAck ends a Flush. If no other change came between this copy and its own, the copy has that one too,
// and is as new as the home.
func (p *Page) flushAck(m Message, rd *Ready) {
	r := p.release
	i := slices.Index(r.flights, m.Txn)
	if i < 0 {
		p.impossible(m)
	}
	r.flights = slices.Delete(r.flights, i, i+1)
	if m.Version == r.version+1 {
		r.version = m.Version
	}
	rd.Flushed = append(rd.Flushed, Flushed{m.Txn, m.Version, m.From})
}

// releaseEvict drops a copy that can be fetched again as it is.
func (p *Page) releaseEvict(rd *Ready) bool {
	c, r := &p.copy, p.release
	ok := c.access != pagetable.NoAccess && !r.homed && !r.twin && len(r.flights) == 0 && c.readers+c.writers == 0 &&
		p.departure == staying
	if ok {
		c.access = pagetable.NoAccess
		p.unfollow(rd)
	}
	return ok
}

// lose ends everything about a page that went down with its home.
func (p *Page) lose(rd *Ready) {
	r := p.release
	for _, interval := range r.flights {
		rd.Flushed = append(rd.Flushed, Flushed{Interval: interval})
	}
	rd.DropTwin = r.twin || r.noted
	*r = release{lost: true}
	p.copy.access, p.copy.pending = pagetable.NoAccess, pagetable.NoAccess
	rd.Lost = true
}
