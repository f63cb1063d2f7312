package dsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// leave implements backend.
func (s *node) leave(ctx context.Context) error {
	if err := s.closed(); err != nil {
		return err
	}
	if err := s.depart(ctx); err != nil {
		return errors.Join(fmt.Errorf("leave: %w", err), s.close())
	}
	s.sayGoodbye()
	return s.shutdown(nil)
}

// depart hands everything over and has the others go on without this node.
func (s *node) depart(ctx context.Context) error {
	if len(s.view().Members) == 1 {
		return nil // there is nobody to leave anything to
	}
	if err := s.awaitIdle(ctx); err != nil {
		return err
	}
	if err := s.startLeave(ctx); err != nil {
		return err
	}
	if err := s.announce(ctx); err != nil {
		return err
	}
	s.leaving.Store(true)
	if err := s.intervals.release(); err != nil {
		return err
	}
	me, _ := s.view().Member(s.self)
	for _, r := range s.cur.Load().regions {
		for _, pg := range r.pages.All() {
			r.vacate(pg, me.Successor) // all that can go at once goes in one burst
		}
	}
	for _, r := range s.cur.Load().regions {
		for index, pg := range r.pages.All() {
			if err := r.awaitVacant(ctx, index, pg, me.Successor); err != nil {
				return fmt.Errorf("page %d of region %q: %w", index, r.name(), err)
			}
		}
	}
	s.settle() // else locks that moved when others left before would move again under way, and acknowledgements be late
	_, err := s.propose(ctx, nodeChange(changeLeft, s.self))
	return err
}

// awaitIdle ends all waits for locks here and returns when nobody here holds a mutex any more: who does
// may still need its pages.
func (s *node) awaitIdle(ctx context.Context) error {
	select {
	case <-s.sync.surrender():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a mutex is still locked: %w", context.Cause(ctx))
	case <-s.done:
		return s.why()
	}
}

// startLeave waits for its turn: one member leaves at a time.
func (s *node) startLeave(ctx context.Context) error {
	for {
		_, err := s.propose(ctx, nodeChange(changeLeave, s.self))
		if !errors.Is(err, coherence.ErrLeaveBusy) {
			return err
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// announce returns when no member relies any more on this node taking up what was flushed to it: what was released
// early has come, and is in its pages. See coherence.Intervals.Early.
func (s *node) announce(ctx context.Context) error {
	for s.intervals.inUse.Load() {
		st := s.cur.Load()
		if s.allKnow(ctx, st.view) {
			break
		}
		select {
		case <-st.replaced:
		case <-time.After(retryPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return s.why()
		}
	}
	return nil
}

// allKnow makes one attempt. Packets of members that are ahead of this node's view are held, so all have to be in one
// epoch.
func (s *node) allKnow(ctx context.Context, v coherence.View) bool {
	for _, n := range v.Nodes() {
		if n == s.self {
			continue
		}
		answer, err := s.call(ctx, n, callLeaving, nil)
		if err == nil && (len(answer) != 8 || binary.BigEndian.Uint64(answer) != v.Epoch) {
			return false
		}
	}
	s.viewMu.Lock() // a view that is being installed still handles what it has held up
	defer s.viewMu.Unlock()
	return s.view().Epoch == v.Epoch
}

// knowLeaver answers announce.
func (s *node) knowLeaver(n pagetable.NodeID) ([]byte, error) {
	for {
		st := s.cur.Load()
		switch {
		case !st.view.Has(n):
			return nil, ErrNodeLost
		case s.intervals.knowsLeaver(n):
			return binary.BigEndian.AppendUint64(nil, st.view.Epoch), nil
		}
		select {
		case <-st.replaced:
		case <-s.done:
			return nil, s.why()
		}
	}
}

// vacate starts to give a page away: to the successor if this node is its home, else to its home. It
// returns a channel that is closed when the page has arrived there, or nil if the page must come here
// before it can be handed over.
func (r *region) vacate(pg *page, successor pagetable.NodeID) <-chan struct{} {
	w := r.s.getWork()
	defer r.s.putWork(w)
	pg.mu.Lock()
	defer pg.mu.Unlock()
	pg.fail(r, ErrClosed)
	if !pg.live {
		return closedChannel
	}
	if pg.vacant == nil {
		if pg.changes.open() {
			pg.proto.Yield()
			return nil
		}
		w.dropLease(r, pg) // programs here don't keep it any more
		if pg.proto.Home() != r.s.self {
			pg.proto.Surrender(&w.rd)
		} else if !pg.proto.HandOff(successor, &w.rd) {
			return nil
		}
		pg.vacant = make(chan struct{})
		w.perform(r, pg, noCause, nil)
	}
	return pg.vacant
}

// awaitVacant returns when the page has left. A home first takes its page for writing, behind the
// requests that were under way when it began to leave, and waits for the views of it.
func (r *region) awaitVacant(ctx context.Context, index uint64, pg *page, successor pagetable.NodeID) error {
	for {
		if gone := r.vacate(pg, successor); gone != nil {
			return r.s.awaitSuccessor(ctx, gone)
		}
		err := r.retrieve(ctx, index)
		if err != nil && !errors.Is(err, ErrNodeLost) { // a page that was lost is handed over as lost
			return err
		}
		if err := r.awaitUnpinned(ctx, pg); err != nil {
			return err
		}
	}
}

// retrieve takes a page of a sequential region for writing. One of a release region is here; what a view
// still writes to it is released.
func (r *region) retrieve(ctx context.Context, index uint64) error {
	if r.release {
		return r.s.intervals.release()
	}
	return r.one(ctx, index, waiter{want: pagetable.WriteAccess, op: opLeave}).wait(ctx)
}

// awaitUnpinned returns when no view of this node holds the page. Nobody can take a new one.
func (r *region) awaitUnpinned(ctx context.Context, pg *page) error {
	for pg.pinned() {
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return fmt.Errorf("a view still holds it: %w", context.Cause(ctx))
		case <-r.s.done:
			return r.s.why()
		}
	}
	return nil
}

var closedChannel = func() <-chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// awaitSuccessor returns when ch is closed, with an error if the successor is lost before.
func (s *node) awaitSuccessor(ctx context.Context, ch <-chan struct{}) error {
	for {
		st := s.cur.Load()
		if me, ok := st.view.Member(s.self); !ok || me.Successor == 0 {
			return fmt.Errorf("the node that was to take over: %w", ErrNodeLost)
		}
		select {
		case <-ch:
			return nil
		case <-st.replaced:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return s.why()
		}
	}
}
