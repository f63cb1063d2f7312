package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pagemesh/dsm"
)

// Job is one rank's part in a series of runs. All ranks of a space have a Job with the same Ranks and
// Specs.
type Job struct {
	Space *dsm.Space
	Ranks int // how many there are; Space.Rank says which one this is
	Specs []Spec
	// Report: each result says what page traffic has cost, and why.
	Report bool
	// DetectRaces: the space does, and results say what it has found.
	DetectRaces bool
	// Untimed: nothing is verified that depends on how long something took.
	Untimed bool
	// Emit is called on rank 0 only, with each result as soon as it is there.
	Emit func(Result)

	mu sync.Mutex
	// elastic is the run in progress if it can go on without this rank, else nil. mu guards it.
	elastic *Rank
}

// Run runs the specs one after the other. It returns when all ranks are done, or when this one has left
// the space. Once a rank has left, the others finish the run in progress and begin no other.
func (j *Job) Run(ctx context.Context) error {
	left := 0
	for i := 0; i < len(j.Specs) && left == 0; i++ {
		r := newRank(j, i)
		err := r.run(ctx)
		if errors.Is(err, errLeft) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("workload %s, rank %d: %w", r.Spec.Workload, r.Rank, err)
		}
		if r.Rank == 0 {
			j.Emit(r.Result)
		}
		if left, err = r.countLeft(ctx); err != nil {
			return err
		}
	}
	return j.end(ctx, j.Ranks-left)
}

// end keeps a rank that is done from closing its space while others still wait for a barrier. What is
// lost from here on is another rank that knows itself that all are done.
func (j *Job) end(ctx context.Context, ranks int) error {
	err := j.Space.Barrier("bench/end", ranks).Wait(ctx)
	if errors.Is(err, dsm.ErrNodeLost) {
		return nil
	}
	return err
}
