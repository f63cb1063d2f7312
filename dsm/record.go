package dsm

import (
	"time"

	"pagemesh/coherence"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// This file turns what happens to pages and locks into events, which eventRings keep. It is on the way of every
// fault, so it allocates nothing and reads the clock as seldom as it can. Accesses that find their page here
// don't come by.

// since1970 returns a time in nanoseconds. Unlike the machine's clock, that of a node never goes back.
func (s *node) since1970(t time.Time) int64 { return s.bornAt + int64(t.Sub(s.born)) }

// clock returns the time of the present step, which is read once.
func (w *work) clock() time.Time {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	return w.at
}

// record keeps an event. The caller holds pg.mu.
func (w *work) record(pg *page, e trace.Event) {
	e.Time = w.s.since1970(w.clock())
	w.s.record(pg, &e)
}

func (s *node) record(pg *page, e *trace.Event) {
	e.Page, e.Node = pg.proto.ID(), s.self
	s.events.put(e)
}

// blame is what the events of a page say of the programs that use it.
type blame struct {
	// sites are where this node's program last waited for the page, by the access that it wanted.
	sites [pagetable.WriteAccess + 1]uint32
	// asking is the site that Requests name.
	asking uint32
	// cause is who took the right on the page that this node had last, and lost which right that was.
	cause trace.Cause
	lost  pagetable.Access
}

// explains returns why an access faults on a page on which the node has that right: it would not, had the right
// not been lost.
func (b *blame) explains(held pagetable.Access) trace.Cause {
	if held >= b.lost {
		return trace.Cause{}
	}
	return b.cause
}

// causeOf returns whose access makes a node lose a right when it gets message m.
func causeOf(m *coherence.Message) trace.Cause {
	switch m.Kind {
	case coherence.Forward:
		return trace.Cause{Node: m.Requester, Site: m.Site, Access: m.Access}
	case coherence.Invalidate:
		return trace.Cause{Node: m.Requester, Site: m.Site, Access: pagetable.WriteAccess}
	case coherence.Request: // of a release region, where the home asks itself for nothing
		return trace.Cause{Node: m.From, Site: m.Site, Access: m.Access}
	}
	return trace.Cause{}
}

// txnOf returns what pairs the events about a message.
func txnOf(m *coherence.Message) uint64 {
	if m.Txn == 0 {
		return m.Version
	}
	return uint64(m.Txn)
}

// locate notes where the program stands that wants the page, or where it was seen last, if that is not known.
func (pg *page) locate(wt *waiter) {
	b := &pg.blame
	if wt.site == 0 {
		wt.site = b.sites[wt.want]
		wt.guessed = wt.site != 0
	}
	b.sites[wt.want], b.asking = wt.site, wt.site
}

// begin counts and records the fault that w brings, if there is one: when the first message is about to leave that
// it causes, or when it turns out to wait for one that has left.
func (w *work) begin(pg *page) {
	wt := w.uncounted
	if wt == nil {
		return
	}
	w.uncounted = nil
	kind := trace.Fault
	if wt.op == opTouch && wt.group == nil {
		kind = trace.Ahead
		pg.traffic.Ahead++
	} else {
		wt.start = w.clock()
		wt.begun = w.s.waits.begin(wt.start)
		pg.traffic.fault(wt.held, wt, w.s.sync.lockHeld())
		w.s.sample(pg, wt)
	}
	if recording {
		e := pg.access(kind, wt)
		e.Other = pg.proto.Home()
		w.record(pg, e)
	}
}

// sample counts the site of a fault for its page, of programs in this process as seldom as of attached ones.
func (s *node) sample(pg *page, wt *waiter) {
	if wt.op != opTrap && wt.site != 0 {
		now, next := int64(wt.start.Sub(s.born)), s.sampleNext.Load()
		wt.sampled = now >= next && s.sampleNext.CompareAndSwap(next, now+int64(sampleEvery))
	}
	if wt.sampled {
		pg.traffic.sampled(wt)
	}
}

// access returns an event about the access of a waiter.
func (pg *page) access(k trace.Kind, wt *waiter) trace.Event {
	return trace.Event{
		Kind: k, Access: wt.want, Held: wt.held, Offset: uint32(wt.off), Length: uint32(wt.size), Site: wt.site,
		Guessed: wt.guessed, Cause: pg.blame.explains(wt.held),
	}
}

// arrival is a right that serves waiters, and how it came.
type arrival struct {
	right pagetable.Access
	from  pagetable.NodeID
	txn   uint64
	bytes uint32
}

// served ends the wait of wt, if it has waited.
func (pg *page) served(r *region, wt *waiter, a arrival) {
	if wt.start.IsZero() {
		return
	}
	e := pg.access(trace.Served, wt)
	e.Other, e.Txn, e.Bytes = a.from, a.txn, a.bytes
	pg.waited(r.s, wt, &e)
}

// failed does so for a waiter that does not get what it wants.
func (pg *page) failed(r *region, wt *waiter) {
	if wt.start.IsZero() {
		return
	}
	e := pg.access(trace.Failed, wt)
	pg.waited(r.s, wt, &e)
}

func (pg *page) waited(s *node, wt *waiter, e *trace.Event) {
	now := time.Now()
	wt.ended = now
	pg.traffic.stalled(s, wt, now)
	if recording {
		e.Time, e.Wait = s.since1970(now), int64(now.Sub(wt.start))
		s.record(pg, e)
	}
}

// arrived records what a message of another node has brought.
func (w *work) arrived(pg *page, m *coherence.Message, got int) {
	e := trace.Event{Kind: trace.Receive, Other: m.From, Access: w.rd.After, Held: w.rd.Before, Bytes: uint32(got), Txn: txnOf(m)}
	switch {
	case !recording || m.From == w.s.self:
		return
	case m.Kind == coherence.Grant && w.rd.Woken != pagetable.NoAccess, m.Kind == coherence.Handoff:
	case m.Kind == coherence.Update && w.rd.Install == coherence.Diff:
	case m.Kind == coherence.Flush && w.rd.Install == coherence.Diff:
		e.Kind, e.Access, e.Held = trace.Merge, pagetable.NoAccess, pagetable.NoAccess
	default:
		return
	}
	w.record(pg, e)
}

// lost records that this node has a lesser right now, because of message m.
func (w *work) lost(r *region, pg *page, m *coherence.Message) {
	rd := &w.rd
	e := trace.Event{
		Kind: trace.Invalidate, Access: rd.After, Held: rd.Before, Other: m.From, Txn: txnOf(m), Cause: causeOf(m),
	}
	switch {
	case !recording || rd.After >= rd.Before || w.s.leaving.Load():
		return
	case rd.After == pagetable.ReadAccess && r.release && e.Cause.Node == 0:
		return // its changes are flushed: it is written anew in the next interval
	case rd.After == pagetable.ReadAccess:
		e.Kind = trace.Downgrade
	case pg.evicting:
		e.Kind, e.Cause = trace.Evict, trace.Cause{}
	}
	if rd.Before == pagetable.WriteAccess && pg.changes.twin == nil {
		e.Changed, e.Words = pg.traffic.stock.changed, pg.traffic.stock.words
	}
	pg.blame.cause, pg.blame.lost = e.Cause, rd.Before
	w.record(pg, e)
}

// sent records a message that leaves with n bytes.
func (w *work) sent(pg *page, m *coherence.Message, n int) {
	e := trace.Event{Other: m.To, Access: m.Access, Bytes: uint32(n), Txn: txnOf(m)}
	switch m.Kind {
	case coherence.Grant:
		e.Kind = trace.Grant
	case coherence.Handoff:
		e.Kind = trace.Handoff
	case coherence.Update:
		e.Kind = trace.Update
	case coherence.Forward:
		e.Kind, e.Cause = trace.Forward, causeOf(m)
	case coherence.Flush:
		e.Kind, e.Site = trace.Flush, pg.blame.sites[pagetable.WriteAccess]
		e.Changed, e.Words = pg.traffic.stock.changed, pg.traffic.stock.words
	default:
		return
	}
	w.record(pg, e)
}

// flushed records which changes of the page are those of this node.
func (w *work) flushed(pg *page) {
	for _, f := range w.rd.Flushed {
		if recording && f.Version > 0 {
			w.record(pg, trace.Event{
				Kind: trace.Flushed, Other: pg.proto.Home(), Txn: f.Version, Site: pg.blame.sites[pagetable.WriteAccess],
			})
		}
	}
}

// delayed records that a view does not keep another node waiting any more.
func (w *work) delayed(pg *page) {
	if recording {
		w.at = time.Now()
		w.record(pg, trace.Event{Kind: trace.Delay, Wait: int64(w.at.Sub(pg.delayedAt)), Site: pg.delayedBy})
	}
}
