package dsm

import (
	"context"
	"encoding/binary"
	"time"

	"pagemesh/coherence"
	"pagemesh/transport"
)

// Programs that are done together meet at a barrier and close. The home of that barrier may be the first
// to go:
//
//  1. n1, n2 and n3 wait at a barrier that is homed at n2. n2 releases them.
//  2. n3 hears of it first, closes, and is taken out of the view.
//  3. n1 learns of the new view before the release comes, which is then of an earlier epoch and refused.
//     It reports to n2 that it still waits, and n2 releases it again.
//  4. If n2 has closed meanwhile, n1 is told that the barrier is broken.
//
// So a node that closes first makes sure that the others have handled all it has sent, in one epoch. The
// goodbye is part of it: to everybody who hears of it, the node has closed and was not lost.

const (
	// farewellTime bounds how long a node that closes waits for the others.
	farewellTime = 2 * time.Second
	// farewellPause is the time between two attempts.
	farewellPause = 2 * time.Millisecond
)

// settle returns when every member has handled what this node has sent in the present epoch, and its
// homes of locks have heard of all others in it, or after farewellTime.
func (s *node) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTime)
	defer cancel()
	for st := s.cur.Load(); st != nil && !s.settled(ctx, st.view); st = s.cur.Load() {
		select {
		case <-st.replaced:
		case <-time.After(farewellPause):
		case <-ctx.Done():
			return
		case <-s.done:
			return
		}
	}
}

// settled makes one attempt. A member has handled what was sent to it before it answers; who does not
// answer is gone and waits for nothing.
func (s *node) settled(ctx context.Context, v coherence.View) bool {
	if s.settledEpoch() != v.Epoch {
		return false
	}
	for _, n := range v.Nodes() {
		answer, err := s.call(ctx, n, callEpoch, nil)
		if err == nil && (len(answer) != 8 || binary.BigEndian.Uint64(answer) != v.Epoch) {
			return false
		}
	}
	return s.view().Epoch == v.Epoch
}

// settledEpoch returns the epoch of the view, or 0 if the homes of locks at this node still wait for what
// others have to report in it.
func (s *node) settledEpoch() uint64 {
	epoch := s.view().Epoch
	if !s.sync.settled(epoch) {
		return 0
	}
	return epoch
}

// sayGoodbye tells every member that this node closes.
func (s *node) sayGoodbye() {
	if s.self == 0 || s.cur.Load() == nil {
		return
	}
	out := transport.NewOutbox(s.ep)
	for _, n := range s.view().Nodes() {
		if n != s.self {
			_ = out.Send(n, []byte{classGoodbye}, nil) // a lost peer needs no goodbye
		}
	}
	out.Flush()
}
