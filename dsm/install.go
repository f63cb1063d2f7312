package dsm

import (
	"fmt"
	"maps"
	"slices"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// learn installs a view that the coordinator has sent, unless a later one is here or this node has
// voted for a coordinator that will replace the sender.
func (s *node) learn(from pagetable.NodeID, body []byte) error {
	v, err := coherence.DecodeView(body)
	if err != nil {
		return err
	}
	if !s.mayOrder(from, v) {
		return fmt.Errorf("%v sends a view, which is not its to order", from)
	}
	s.viewMu.Lock()
	old := v.Term < s.promised
	s.viewMu.Unlock()
	if !old {
		s.install(v)
	}
	return nil
}

// install makes v the present view if it is later. Pages and locks learn of a new epoch, then what
// was held for the view is handled.
func (s *node) install(v coherence.View) {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	old := s.cur.Load()
	if old != nil && !v.Later(old.view) {
		return
	}
	gone := missing(old, v)
	for _, n := range gone {
		if n != v.Departed { // who departs still reports its locks in the new epoch, then goes
			s.dropPeer(n)
		}
	}
	next := s.build(old, v)
	s.intervals.newView(v, old != nil && v.Epoch != old.view.Epoch)
	s.cur.Store(next)
	if old != nil {
		if v.Epoch != old.view.Epoch {
			s.tellPages(next)
		}
		close(old.replaced)
		for _, n := range gone {
			s.logGone(n, v)
		}
	}
	s.intervals.forget(gone)
	s.sync.newView(v, gone)
	for _, p := range s.peers.all() {
		s.release(p)
	}
	if !v.Has(s.self) {
		s.running.Go(s.expelled)
	}
}

// logGone reports that a node is no member any more. That it was lost, and did not go, is a warning.
func (s *node) logGone(n pagetable.NodeID, v coherence.View) {
	switch {
	case n == v.Departed:
		s.log.Info("node has left", "node", n, "epoch", v.Epoch)
	case s.departed(n):
		s.log.Info("node has closed", "node", n, "epoch", v.Epoch)
	default:
		s.log.Warn("node is lost", "node", n, "epoch", v.Epoch)
	}
}

// missing returns the members of the old view that v has not.
func missing(old *state, v coherence.View) []pagetable.NodeID {
	if old == nil {
		return nil
	}
	return slices.DeleteFunc(old.view.Nodes(), v.Has)
}

func (s *node) dropPeer(n pagetable.NodeID) {
	p := s.peers.get(n)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone, p.held = true, nil
	s.running.Go(func() { s.ep.Disconnect(n) })
}

// build makes the state for v: memory is set aside for regions that are new, others learn where their
// homes are.
func (s *node) build(old *state, v coherence.View) *state {
	next := &state{view: v, regions: map[pagetable.RegionID]*region{}, replaced: make(chan struct{})}
	if old != nil {
		maps.Copy(next.regions, old.regions)
	}
	for meta := range v.Regions.All() {
		if r := next.regions[meta.ID]; r != nil {
			r.meta.Store(&meta)
			continue
		}
		r, err := s.setAside(meta)
		if err != nil {
			s.log.Error("no memory for a region: its pages can't be used or homed here", "region", meta.Name, "error", err)
			continue
		}
		next.regions[meta.ID] = r
	}
	return next
}

// tellPages brings a new epoch to every page that this node knows.
func (s *node) tellPages(st *state) {
	w := s.getWork()
	defer s.putWork(w)
	for _, r := range st.regions {
		for _, pg := range r.pages.All() {
			w.newEpoch(r, pg, st.view)
		}
	}
}

// expelled closes a space whose other members go on without this node.
func (s *node) expelled() {
	if s.leaving.Load() {
		return
	}
	err := fmt.Errorf("%w: the other members have declared this node (%v) lost; restart it to join again", ErrNodeLost, s.self)
	s.log.Error("expelled from the space", "error", err)
	go func() { _ = s.shutdown(err) }() // it waits for the goroutine that calls expelled
}
