package bench

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"pagemesh/dsm"
)

// TestRankLeaves: two ranks leave before they have counted a word, and every count is right.
func TestRankLeaves(t *testing.T) {
	const ranks = 4
	ctx, spaces := openSpaces(t, ranks)
	specs := []Spec{{Workload: "wordcount", Input: writeText(t)}}
	eachRank(spaces, func(s *dsm.Space) {
		r := newRank(&Job{Space: s, Ranks: ranks, Specs: specs}, 0)
		leaves := r.Rank%2 == 1
		r.leaving.Store(leaves)
		if err := r.run(ctx); errors.Is(err, errLeft) != leaves || !leaves && err != nil {
			t.Errorf("rank %d, to leave: %v, ends with %v", r.Rank, leaves, err)
		}
		if r.Rank == 0 && !r.Result.Verified {
			t.Error(r.Result.Detail)
		}
		if left := s.Err() != nil; left != leaves {
			t.Errorf("rank %d, to leave: %v, has left: %v", r.Rank, leaves, left)
		}
	})
	if n := len(spaces[0].Members()); n != 2 {
		t.Errorf("%d members are left, want 2", n)
	}
}

// TestJobWithoutOneRank: a rank that is asked to leave may do so at any time, or never get to it. Then
// the others go on to the next run.
func TestJobWithoutOneRank(t *testing.T) {
	const ranks = 3
	ctx, spaces := openSpaces(t, ranks)
	specs := []Spec{{Workload: "wordcount", Input: writeText(t)}, {Workload: "pingpong", Size: 10}}
	results := 0
	eachRank(spaces, func(s *dsm.Space) {
		j := &Job{Space: s, Ranks: ranks, Specs: specs, Emit: func(r Result) {
			results++
			if !r.Verified {
				t.Errorf("%s: %s", r.Workload, r.Detail)
			}
		}}
		done, stop := context.WithCancel(ctx)
		defer stop()
		if s.Rank() > 0 {
			go leaveSoon(done, j)
		}
		if err := j.Run(ctx); err != nil {
			t.Errorf("rank %d: %v", s.Rank(), err)
		}
	})
	if members := len(spaces[0].Members()); members < ranks && results != 1 || members == ranks && results != 2 {
		t.Errorf("%d results with %d members left", results, members)
	}
}

// leaveSoon asks a rank to leave until it can.
func leaveSoon(ctx context.Context, j *Job) {
	for ctx.Err() == nil && !j.Leave() {
		runtime.Gosched()
	}
}
