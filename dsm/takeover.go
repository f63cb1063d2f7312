package dsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// This file turns broken connections into view changes. A member whose connection to another member
// has ended is lost to the space: the coordinator takes it out of the view. If it was the coordinator,
// the first of the remaining members asks the others for their votes and goes on in a new term. It
// needs more than half of the members, not counting those that said goodbye, so that two halves of a
// partition never both go on.

const (
	// settleTime bounds how long the survivors try to agree on a view without a lost node.
	settleTime = 4 * time.Second
	// voteTime bounds one round of votes.
	voteTime = time.Second
	// suspicionGrace is how long a member may be silent after the membership library has given it up
	// before its connection is cut: a stopped process that goes on within it loses nothing.
	suspicionGrace = 3 * time.Second
)

// suspect has the view changed after the connection to p has ended.
func (s *node) suspect(p *peer, cause error) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	for {
		st := s.cur.Load()
		if st == nil || !st.view.Has(p.node) || !st.view.Has(s.self) {
			return
		}
		if s.tryRemove(ctx, st.view, p.node) == nil {
			return
		}
		select {
		case <-st.replaced:
		case <-time.After(retryPause):
		case <-s.done:
			return
		case <-ctx.Done():
			s.isolate(p.node, cause)
			return
		}
	}
}

// tryRemove makes one attempt to agree on a view without the node n.
func (s *node) tryRemove(ctx context.Context, v coherence.View, n pagetable.NodeID) error {
	if n == v.Coordinator {
		return s.takeOver(ctx, v)
	}
	_, err := s.call(ctx, v.Coordinator, callChange, nodeChange(changeLose, n).encode())
	return err
}

// isolate gives up: nobody is left to agree with. What is here stays usable, faults fail.
func (s *node) isolate(n pagetable.NodeID, cause error) {
	s.isolated.Store(true)
	err := s.refusal()
	s.log.Error("isolated: no majority of the members is left", "lost", n, "cause", cause)
	for _, r := range s.cur.Load().regions {
		for _, pg := range r.pages.All() {
			pg.mu.Lock()
			pg.fail(r, err)
			pg.mu.Unlock()
		}
	}
	s.sync.fail(err)
}

// lost reports whether the connection to a member has ended.
func (s *node) lost(n pagetable.NodeID) bool {
	p := s.peers.get(n)
	return p != nil && p.down.Load()
}

func (s *node) departed(n pagetable.NodeID) bool {
	p := s.peers.get(n)
	return p != nil && p.departed.Load()
}

// takeOver makes this node the coordinator if it is the first of the remaining members and more than
// half of them vote for it.
func (s *node) takeOver(ctx context.Context, v coherence.View) error {
	alive := slices.DeleteFunc(v.Nodes(), s.lost)
	if alive[0] != s.self {
		return fmt.Errorf("%v comes before %v", alive[0], s.self)
	}
	term := s.promise(v.Term + 1)
	best := v
	votes, voters := 1, 0
	for _, n := range v.Nodes() {
		if !s.departed(n) {
			voters++
		}
	}
	for _, n := range alive[1:] {
		theirs, err := s.askVote(ctx, n, term)
		if err != nil {
			continue
		}
		votes++
		if theirs.Later(best) {
			best = theirs
		}
	}
	if 2*votes <= voters {
		return fmt.Errorf("%d of %d votes: %w", votes, voters, ErrNodeLost)
	}
	s.orderMu.Lock()
	defer s.orderMu.Unlock()
	gone := slices.DeleteFunc(best.Nodes(), func(n pagetable.NodeID) bool { return !s.lost(n) })
	s.publish(v, best.TakeOver(s.self, term).Lose(gone))
	return nil
}

// promise votes for a term of at least that number and returns it.
func (s *node) promise(term uint64) uint64 {
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	s.promised = max(s.promised+1, term)
	return s.promised
}

func (s *node) askVote(ctx context.Context, n pagetable.NodeID, term uint64) (coherence.View, error) {
	ctx, cancel := context.WithTimeout(ctx, voteTime)
	defer cancel()
	answer, err := s.call(ctx, n, callVote, binary.BigEndian.AppendUint64(nil, term))
	if err != nil {
		return coherence.View{}, err
	}
	return coherence.DecodeView(answer)
}

// vote answers a candidate with this node's view, unless the coordinator is alive to this node or it
// has voted in that term or a later one.
func (s *node) vote(candidate pagetable.NodeID, question []byte) ([]byte, error) {
	if len(question) != 8 {
		return nil, errors.New("vote: want a term")
	}
	term := binary.BigEndian.Uint64(question)
	s.viewMu.Lock()
	defer s.viewMu.Unlock()
	v := s.view()
	switch {
	case v.Coordinator == s.self || !s.lost(v.Coordinator):
		return nil, fmt.Errorf("%v still reaches coordinator %v, no vote for %v", s.self, v.Coordinator, candidate)
	case term <= s.promised || term <= v.Term:
		return nil, fmt.Errorf("%v has voted in term %d", s.self, s.promised)
	}
	s.promised = term
	return coherence.EncodeView(v), nil
}

// silent is told that the membership library has given a member up. It is a hint: the member is cut
// off only if it stays silent.
func (s *node) silent(n pagetable.NodeID, back <-chan struct{}) {
	select {
	case <-back:
	case <-s.done:
	case <-time.After(suspicionGrace):
		if s.view().Has(n) { // a node that has left is silent, too
			s.log.Warn("node is silent, its connection is cut", "node", n)
			s.ep.Disconnect(n)
		}
	}
}
