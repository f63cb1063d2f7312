package bench

import (
	"cmp"
	"context"

	"pagemesh/pagetable"
)

// team is who solves a problem: all ranks together in shared memory, or rank 0 alone in memory of its
// own. A solution that is written for a team is its own sequential reference.
type team struct {
	ctx   context.Context
	r     *Rank
	alone bool
}

// solver is one member's part of a solution.
type solver interface{ solve() }

// solveBoth has rank 0 solve a problem alone, and then all ranks together. It returns both solvers; one,
// that of rank 0 alone, is the zero S elsewhere.
func solveBoth[S solver](ctx context.Context, r *Rank, setUp func(t team) S) (all, one S, err error) {
	if r.Rank == 0 {
		one = setUp(team{ctx, r, true})
		r.Sequential(one.solve)
	}
	all = setUp(team{ctx, r, false})
	err = r.Timed(ctx, func() error {
		all.solve()
		return nil
	})
	return all, one, err
}

// size returns the number of members.
func (t team) size() int {
	if t.alone {
		return 1
	}
	return t.r.Ranks
}

// share returns the half-open range of n items that is this member's.
func (t team) share(n int) (lo, hi int) { return share(n, t.r.Rank, t.size()) }

// meet returns when all members have called it.
func (t team) meet() {
	if !t.alone {
		check(t.r.Barrier(t.ctx))
	}
}

// exclude returns a function that calls another one while no other member does, by a mutex of that name.
func (t team) exclude(name string) func(f func()) {
	if t.alone {
		return func(f func()) { f() }
	}
	mu := t.r.Mutex(name)
	return func(f func()) {
		acquire(t.ctx, mu)
		f()
		check(mu.Unlock())
	}
}

// adder returns a function that adds up what all members call it with, as Sum does.
func (t team) adder(name string) func(v float64) float64 {
	if t.alone {
		return func(v float64) float64 { return v }
	}
	s := NewSum(t.ctx, t.r, name)
	return func(v float64) float64 { return s.Of(t.ctx, v) }
}

// matrix returns a matrix of the team.
func (t team) matrix(name string, rows, cols int) Matrix {
	return Matrix{teamArray[float64](t, name, rows*cols, layout{kind: pagetable.Blocked, pageSize: rowPage(8 * cols)}), cols}
}

// teamArray returns an array of the team. The user's page size goes before that of the layout.
func teamArray[T any](t team, name string, n int, l layout) *Array[T] {
	if t.alone {
		return &Array[T]{n: n, plain: make([]T, n)}
	}
	l.pageSize = cmp.Or(t.r.Spec.PageSize, l.pageSize)
	return newArray[T](t.ctx, t.r, name, n, l)
}

// verifySame verifies that an array is the same as the one of the sequential run.
func verifySame[T comparable](r *Rank, got, want *Array[T]) {
	g, w := got.Read(0, got.Len()), want.Read(0, want.Len())
	defer g.Done()
	verifyEqual(r, "elements", g.Data, w.Data)
}

// verifyEqual verifies that a result, which consists of what, is the one of the sequential run.
func verifyEqual[T comparable](r *Rank, what string, got, want []T) {
	wrong, first := 0, 0
	for i := len(want) - 1; i >= 0; i-- {
		if got[i] != want[i] {
			wrong, first = wrong+1, i
		}
	}
	if wrong > 0 {
		r.Verify(false, "%d of %d %s differ from those of the sequential run, the first is %d: %v instead of %v",
			wrong, len(want), what, first, got[first], want[first])
		return
	}
	r.Verify(true, "all %d %s equal those of the sequential run", len(want), what)
}
