package dsm

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// intervals are what this node knows of writes to release regions, its own and those of others. It is where
// locks and barriers meet pages: what lets another node acquire is preceded by release and by notices, and what
// lets this one acquire is followed by acquire. A space without release regions pays nothing for it.
//
// Its mutex is taken with a page locked, or the locks of syncEngine; it takes neither.
type intervals struct {
	s     *node
	inUse atomic.Bool // there is a release region

	mu      sync.Mutex // guards all that follows
	v       coherence.Intervals
	notices coherence.Notices
	waiting []releaseWait
	told    []coherence.Notice // reused
	codec   *coherence.Codec
}

// releaseWait is a release that waits until an interval is settled.
type releaseWait struct {
	interval uint32
	done     chan struct{}
}

func (e *intervals) init(s *node) { e.s, e.codec = s, coherence.NewCodec() }

// use begins to keep intervals, since there is a release region.
func (e *intervals) use() { e.inUse.Store(true) }

// release returns when the homes have everything that was written here before. It comes before whatever lets
// another node acquire.
func (e *intervals) release() error {
	if !e.inUse.Load() {
		return nil
	}
	e.mu.Lock()
	number, pages := e.v.Close()
	e.mu.Unlock()
	e.flush(number, pages)
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

// idle reports whether there is nothing to release.
func (e *intervals) idle() bool {
	if !e.inUse.Load() {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.v.Idle()
}

// before calls f after a release, for callers that must not wait.
func (e *intervals) before(f func()) {
	if e.idle() {
		f()
		return
	}
	e.s.running.Go(func() {
		_ = e.release() // if the node ends, f finds out
		f()
	})
}

// spill ends the interval early, and waits for nothing. The next release covers what is under way.
func (e *intervals) spill() {
	e.mu.Lock()
	number, pages := e.v.Close()
	e.mu.Unlock()
	e.flush(number, pages)
}

// flush sends the diffs of an interval's pages, all at once.
func (e *intervals) flush(number uint32, pages []pagetable.PageID) {
	if len(pages) == 0 {
		return
	}
	w := e.s.getWork()
	defer e.s.putWork(w)
	regions := e.s.cur.Load().regions
	for _, id := range pages {
		w.flushPage(regions[id.Region()], id.Index(), number)
	}
}

func (w *work) flushPage(r *region, index uint64, number uint32) {
	pg := r.lockLive(index)
	defer pg.mu.Unlock()
	if !pg.closed { // else nobody waits any more
		pg.proto.Flush(number, &w.rd)
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

// flushed takes up what the page's home has. The caller holds the page's lock.
func (e *intervals) flushed(p pagetable.PageID, flushed []coherence.Flushed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range flushed {
		if f.Version > 0 {
			e.notices.Wrote(p, f.Version)
		}
		e.v.Flushed(f.Interval)
	}
	e.waiting = slices.DeleteFunc(e.waiting, func(w releaseWait) bool {
		settled := e.v.Settled(w.interval)
		if settled {
			close(w.done)
		}
		return settled
	})
}

// tell sends the notices that come before a message to a node. What is sent by others can't overtake it: packets
// are in their order once they are sent.
func (e *intervals) tell(out *transport.Outbox, to pagetable.NodeID) {
	if !e.inUse.Load() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = e.notices.Tell(to, e.told[:0])
	for some := range slices.Chunk(e.told, coherence.MaxNotices) {
		b := e.codec.EncodeNotices(classNotice, some)
		_ = out.Send(to, b[:1], b[1:]) // who can't be reached is about to be declared lost
	}
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
