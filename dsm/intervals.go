package dsm

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"pagemesh/coherence"
	"pagemesh/locks"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// intervals are what this node knows of writes to release regions, its own and those of others. It is where
// locks and barriers meet pages: what lets another node acquire is preceded by release and by notices, and what
// lets this one acquire is followed by acquire. A space without release regions pays nothing for it.
//
// A release has two moments, see coherence.Intervals.Early. Between them others may go on, as far as post lets them
// hear of it. Unlock and its like return at the second one, when what was written survives this node. Barrier.Wait
// returns at the first one: when any other node has come through the barrier, the second one has been.
//
// Its mutex is taken with a page locked, or the locks of syncEngine; it takes neither.
type intervals struct {
	s     *node
	inUse atomic.Bool // there is a release region

	mu      sync.Mutex // guards all that follows
	v       coherence.Intervals
	notices coherence.Notices
	waiting []releaseWait
	held    []heldPost
	// void: an epoch has begun, and the locks have yet to be told: what they say makes no sense any more.
	void    bool
	leaving pagetable.NodeID   // the member that is about to hand its pages over; 0 if none is
	told    []coherence.Notice // reused
	codec   *coherence.Codec
}

// heldPost is a message about a lock that waits until the homes, or its receiver, have what was written up to
// the end of an interval.
type heldPost struct {
	to       pagetable.NodeID
	kind     locks.Kind
	interval uint32
	packet   []byte
}

// releaseWait is a release that waits until an interval is settled.
type releaseWait struct {
	interval uint32
	done     chan struct{}
}

func (e *intervals) init(s *node) { e.s, e.codec = s, coherence.NewCodec() }

// use begins to keep intervals, since there is a release region.
func (e *intervals) use() { e.inUse.Store(true) }

// ending is a release under way. Its diffs may still be in the outbox of w, so that they are written in one go
// with what locks have to say.
type ending struct {
	e      *intervals
	number uint32 // of the interval
	early  bool   // locks may be told
	w      *work  // nil if there is nothing to write
}

// end ends the interval and queues what was written.
func (e *intervals) end() ending {
	if !e.inUse.Load() {
		return ending{e: e, early: true}
	}
	e.mu.Lock()
	number, pages := e.v.Close()
	e.mu.Unlock()
	r := ending{e: e, number: number}
	if len(pages) > 0 {
		r.w = e.s.getWork()
		r.w.flushPages(number, pages)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.early = e.v.Early(e.leaving)
	return r
}

// write writes what is queued.
func (r *ending) write() {
	if r.w != nil {
		r.e.s.putWork(r.w)
		r.w = nil
	}
}

// complete returns when the homes have everything.
func (r *ending) complete() error {
	r.write()
	return r.e.complete(r.number)
}

// release returns when the homes have everything that was written here before.
func (e *intervals) release() error {
	r := e.end()
	return r.complete()
}

// toSync ends the interval, and returns when the locks may be told, before the release is complete.
func (e *intervals) toSync() (r ending, err error) {
	if r = e.end(); !r.early {
		err = r.complete()
	}
	return r, err
}

// complete returns when the homes have everything up to the end of an interval.
func (e *intervals) complete(number uint32) error {
	if !e.inUse.Load() {
		return nil
	}
	e.mu.Lock()
	if e.v.Settled(number) {
		e.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	e.waiting = append(e.waiting, releaseWait{number, done})
	e.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-e.s.done:
		return e.s.why()
	}
}

// before is toSync for callers that must not wait: f gets the interval's number.
func (e *intervals) before(f func(number uint32)) {
	r := e.end()
	if r.early {
		f(r.number)
		r.write()
		return
	}
	r.write()
	e.after(r.number, func() { f(r.number) })
}

// after is complete for callers that must not wait.
func (e *intervals) after(number uint32, f func()) {
	if e.settled(number) {
		f()
		return
	}
	e.later(number, f)
}

// later is after for callers that hold a lock which f takes.
func (e *intervals) later(number uint32, f func()) {
	e.s.running.Go(func() {
		_ = e.complete(number) // if the node ends, f finds out
		f()
	})
}

func (e *intervals) settled(number uint32) bool {
	if !e.inUse.Load() {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.v.Settled(number)
}

// spill ends the interval and waits for nothing. The next release covers what is under way.
func (e *intervals) spill() {
	r := e.end()
	r.write()
}

// flushPages sends the diffs of an interval's pages, all at once.
func (w *work) flushPages(number uint32, pages []pagetable.PageID) {
	regions := w.s.cur.Load().regions
	for _, id := range pages {
		w.flushPage(regions[id.Region()], id.Index(), number)
	}
}

func (w *work) flushPage(r *region, index uint64, number uint32) {
	pg := r.lockLive(index)
	defer pg.mu.Unlock()
	if !pg.closed { // else nobody waits any more
		pg.proto.Flush(number, w.differs(r, pg, number), &w.rd)
		w.perform(r, pg, noCause, nil)
	}
}

// wrote takes up that a page is about to be written. It comes before a program can do so: its thread may have
// written, and release what it wrote, before the page is unlocked. It returns the interval's number. The caller
// holds the page's lock.
func (e *intervals) wrote(p pagetable.PageID) (interval uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.v.Wrote(p)
	return e.v.Open()
}

// closed returns the number of the interval that ended last.
func (e *intervals) closed() uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.v.Closed()
}

// sent takes up that what was written to a page in an interval is on its way. The caller holds the page's lock.
func (e *intervals) sent(interval uint32, home pagetable.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.v.Sent(interval, home)
}

// took takes up a change of another node to a page that is homed here. The caller holds the page's lock.
func (e *intervals) took(from pagetable.NodeID, p pagetable.PageID, version uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notices.Took(from, p, version)
}

// flushed takes up what the page's home has. The caller holds the page's lock.
func (e *intervals) flushed(out *transport.Outbox, p pagetable.PageID, flushed []coherence.Flushed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range flushed {
		e.notices.Wrote(p, f)
		e.v.Flushed(e.s.self, f)
	}
	e.postHeld(out)
	e.waiting = slices.DeleteFunc(e.waiting, func(w releaseWait) bool {
		settled := e.v.Settled(w.interval)
		if settled {
			close(w.done)
		}
		return settled
	})
}

// post sends a message about a lock after the notices that its receiver needs, or holds it until that may be.
// Those to one node stay in order.
func (e *intervals) post(out *transport.Outbox, o locks.Outgoing, packet []byte) {
	if !e.inUse.Load() {
		_ = out.Send(o.To, packet, nil) // who can't be reached is about to be declared lost
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.void {
		return
	}
	h := heldPost{o.To, o.Msg.Kind, e.v.Closed(), packet}
	if len(e.held) == 0 && e.clear(h) {
		e.send(out, h)
		return
	}
	h.packet = bytes.Clone(packet)
	e.held = append(e.held, h)
	e.postHeld(out)
}

// clear reports whether a message may be sent. In a new epoch other nodes acquire by what this one reports.
func (e *intervals) clear(h heldPost) bool {
	switch {
	case h.kind.Asks():
		return true
	case h.kind.Reports():
		return e.v.Accountable()
	}
	return e.v.Clear(h.to, h.interval)
}

// postHeld sends what is not held up any more.
func (e *intervals) postHeld(out *transport.Outbox) {
	var holdsUp []pagetable.NodeID
	e.held = slices.DeleteFunc(e.held, func(h heldPost) bool {
		if slices.Contains(holdsUp, h.to) || !e.clear(h) {
			holdsUp = append(holdsUp, h.to)
			return false
		}
		e.send(out, h)
		return true
	})
}

// send sends a message and the notices that come before it. What is sent by others can't overtake them: packets
// are in their order once they are sent.
func (e *intervals) send(out *transport.Outbox, h heldPost) {
	e.told = e.notices.Tell(h.to, e.told[:0])
	for some := range slices.Chunk(e.told, coherence.MaxNotices) {
		b := e.codec.EncodeNotices(classNotice, some)
		_ = out.Send(h.to, b[:1], b[1:]) // who can't be reached is about to be declared lost
	}
	_ = out.Send(h.to, h.packet, nil)
}

// newView takes up which member leaves, and whether an epoch begins. It comes before pages are told.
func (e *intervals) newView(v coherence.View, epoch bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaving = 0
	for _, m := range v.Members {
		if m.Successor != 0 {
			e.leaving = m.Node
		}
	}
	if epoch {
		// Before pages are told: a change that went down with its home holds nothing up from then on.
		e.held, e.void = nil, true
	}
}

// knowsLeaver reports whether nobody here relies any more on what a node that leaves would take up.
func (e *intervals) knowsLeaver(n pagetable.NodeID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leaving == n
}

// locksTold takes up that the locks are about to learn of the epoch.
func (e *intervals) locksTold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.void = false
}

// learn takes up the notices of a peer. What they mean for pages here waits until this node acquires.
func (e *intervals) learn(p *peer, header, body []byte) error {
	if len(header) != 1 {
		return fmt.Errorf("notices with a header of %d bytes", len(header))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	told, err := e.codec.DecodeNotices(e.told[:0], body)
	e.told = told
	if err == nil {
		e.notices.Learn(p.node, told)
	}
	return err
}

// acquire makes this node see what happened before the notices that it has learned.
func (e *intervals) acquire() {
	if !e.inUse.Load() {
		return
	}
	e.mu.Lock()
	due := e.notices.Acquire(nil)
	e.mu.Unlock()
	if len(due) == 0 {
		return
	}
	w := e.s.getWork()
	defer e.s.putWork(w)
	regions := e.s.cur.Load().regions
	for _, n := range due {
		if r := regions[n.Page.Region()]; r != nil && r.release {
			w.invalidate(r, n)
		}
	}
}

// invalidate tells a page of a notice. One that nobody here has touched has no copy.
func (w *work) invalidate(r *region, n coherence.Notice) {
	pg := r.pages.Get(n.Page.Index())
	if pg == nil {
		return
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if pg.live && !pg.closed {
		pg.proto.Invalidate(n.Version, &w.rd)
		w.perform(r, pg, coherence.Message{Version: n.Version}, nil)
	}
}

// forget ends what is kept for nodes that are no members any more.
func (e *intervals) forget(gone []pagetable.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notices.Forget(gone)
}
