package dsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// Leave ends this node's membership without loss: everything it owns and homes moves to the others
// first, while their work goes on. Views must be released and mutexes unlocked before. If ctx ends or
// the node that takes over is lost meanwhile, the space is closed as by Close and the error says so.
func (s *Space) Leave(ctx context.Context) error {
	if err := s.refusal(false); err != nil {
		return err
	}
	if err := s.leave(ctx); err != nil {
		return errors.Join(fmt.Errorf("leave: %w", err), s.Close())
	}
	s.sayGoodbye()
	return s.shutdown(nil)
}

func (s *Space) leave(ctx context.Context) error {
	if len(s.view().Members) == 1 {
		return nil // there is nobody to leave anything to
	}
	if err := s.startLeave(ctx); err != nil {
		return err
	}
	s.leaving.Store(true)
	s.sync.surrender()
	me, _ := s.view().Member(s.self)
	for _, r := range s.cur.Load().regions {
		if err := r.handOver(ctx, me.Successor); err != nil {
			return fmt.Errorf("region %q: %w", r.Name(), err)
		}
	}
	// Nothing may be told that the pages have moved before they have arrived.
	if _, err := s.call(ctx, me.Successor, callFlush, nil); err != nil {
		return err
	}
	_, err := s.propose(ctx, nodeChange(changeLeft, s.self))
	return err
}

// startLeave waits for its turn: one member leaves at a time.
func (s *Space) startLeave(ctx context.Context) error {
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

// handOver moves every page that this node homes to the successor, and every page that it holds for
// another home to that home.
func (r *Region) handOver(ctx context.Context, successor pagetable.NodeID) error {
	for index, pg := range r.pages.All() {
		if err := r.settlePage(ctx, index, pg, successor); err != nil {
			return fmt.Errorf("page %d: %w", index, err)
		}
	}
	return nil
}

// settlePage tries until the page has left: another node may be served first, since its request was
// under way when this node began to leave.
func (r *Region) settlePage(ctx context.Context, index uint64, pg *page, successor pagetable.NodeID) error {
	for {
		if r.tryHandOff(pg, successor) {
			return nil
		}
		pg.mu.Lock()
		home := pg.proto.Home()
		pg.mu.Unlock()
		if home == r.s.self {
			if err := r.one(index, waiter{want: pagetable.WriteAccess, op: opTouch}).wait(ctx); err != nil && !errors.Is(err, ErrNodeLost) {
				return err
			}
			continue
		}
		if err := r.surrender(ctx, pg, home); err != nil {
			return err
		}
	}
}

// tryHandOff reports whether this node has nothing left of the page.
func (r *Region) tryHandOff(pg *page, successor pagetable.NodeID) bool {
	w := r.s.getWork()
	defer r.s.putWork(w)
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if !pg.live || pg.proto.Home() != r.s.self && pg.proto.Access() == pagetable.NoAccess {
		return true
	}
	if pg.proto.Home() != r.s.self {
		return false
	}
	done := pg.proto.HandOff(successor, &w.rd)
	w.perform(r, pg, coherence.Message{}, nil)
	return done
}

// surrender asks the home to take the page and waits until it has.
func (r *Region) surrender(ctx context.Context, pg *page, home pagetable.NodeID) error {
	if home == 0 {
		return ErrNodeLost
	}
	w := r.s.getWork()
	pg.mu.Lock()
	m := coherence.Message{Kind: coherence.Surrender, Page: pg.proto.ID(), To: home, Epoch: pg.proto.Epoch()}
	w.send(pg, &m, nil)
	gone := make(chan struct{})
	pg.emptied = gone
	pg.mu.Unlock()
	r.s.putWork(w)
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.s.done:
		return r.s.refusal(true)
	}
}
