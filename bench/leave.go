package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pagemesh/dsm"
)

// This file lets a rank leave in the middle of a workload that the others can finish. From then on
// rank 0 meets them in its place: its deputy takes part in every barrier of the run.

// errLeft ends a rank's part of a workload when it has left the space.
var errLeft = errors.New("this rank has left")

// Leave asks this rank to leave the space as soon as it can hand over, and reports whether it will. It
// will not if the run in progress can't go on without it, as none can without rank 0.
func (j *Job) Leave() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.elastic == nil {
		return false
	}
	j.elastic.leaving.Store(true)
	return true
}

func (j *Job) setElastic(r *Rank) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.elastic = r
}

// Leaving reports whether this rank should take on no more work, because it is going to leave.
func (r *Rank) Leaving() bool { return r.leaving.Load() }

// solve runs solve, after which this rank leaves if it was asked to meanwhile.
func (r *Rank) solve(ctx context.Context, solve func() error) error {
	if r.departed == nil || r.Rank == 0 {
		return solve()
	}
	r.job.setElastic(r)
	err := solve()
	r.job.setElastic(nil)
	if err != nil || !r.Leaving() {
		return err
	}
	if _, err := r.departed.Add(ctx, 0, 1); err != nil {
		return err
	}
	if err := r.handOver(r.Rank).Wait(ctx); err != nil {
		return err
	}
	if err := r.Space.Leave(ctx); err != nil {
		return err
	}
	return errLeft
}

// handOver returns the barrier where a rank that leaves meets its deputy.
func (r *Rank) handOver(rank int) *dsm.Barrier {
	return r.Space.Barrier(fmt.Sprintf("bench/%s/leave/%d", r.name, rank), 2)
}

// deputize makes rank 0 ready to take the places of ranks that leave, until stop is called.
func (r *Rank) deputize(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var deputies sync.WaitGroup
	for rank := 1; rank < r.Ranks; rank++ {
		deputies.Go(func() {
			for err := r.handOver(rank).Wait(ctx); err == nil; err = r.Barrier(ctx) {
			}
		})
	}
	return func() {
		cancel()
		deputies.Wait()
	}
}

// countLeft returns how many ranks have left in this run.
func (r *Rank) countLeft(ctx context.Context) (int, error) {
	if r.departed == nil {
		return 0, nil
	}
	n, err := r.departed.Load(ctx, 0)
	return int(n), err
}
