package bench

import (
	"context"
	"math"
	"slices"
)

func init() {
	register(Workload{
		Name: "gauss", Suite: "treadmarks", Size: 512,
		Purpose: "one row after the other that everybody needs next",
		Sharing: "each rank writes every n-th row; in each step all read the row of the pivot",
		Run:     gauss,
	})
}

// gaussError is how far an element of the solution may be from 1.
const gaussError = 1e-8

// gauss solves a linear system by elimination with partial pivoting. The right side is such that all
// elements of the solution are 1; the eliminated rows must equal the sequential ones in every bit.
func gauss(ctx context.Context, r *Rank) error {
	n := r.size()
	all, one, err := solveBoth(ctx, r, func(t team) *eliminator { return newEliminator(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	for k := range n {
		got, want := all.row(k), one.row(k)
		r.Verify(slices.Equal(got.Data, want.Data), "all %d rows equal those of the sequential run", n)
		got.Done()
	}
	worst := 0.0
	for _, x := range all.substitute() {
		worst = max(worst, math.Abs(x-1))
	}
	r.Verify(worst <= gaussError, "the solution is wrong by %.1e", worst)
	return nil
}

// eliminator is one member's side of gauss: its rows lie together, but are dealt out by turns, so that all
// have some to the end.
type eliminator struct {
	team
	n, lo, hi int           // rows, and the places of this member's
	cols      int           // of a row: its n factors, its right side, and room to the end of a page
	system    Matrix        // rows stay where they are; order says which is which
	bids      *Array[pivot] // each member's in steps with even and odd number, a page apart
	order     []int         // place of the i-th row after pivoting, the same at every member
}

// pivot is a candidate: the largest element of a member's rows in one column.
type pivot struct {
	Size  float64
	Index int64 // in order
}

// bidStep is how many pivots lie from one member's page to the next.
const bidStep = 256

func newEliminator(t team, n int) *eliminator {
	const lineSize = 512 // elements of the smallest page
	cols := (n + 1 + lineSize - 1) / lineSize * lineSize
	e := &eliminator{team: t, n: n, cols: cols, system: t.matrix("system", n, cols)}
	e.bids = teamArray[pivot](t, "bids", 2*bidStep*t.size(), layout{})
	e.lo, e.hi = t.share(n)
	e.order = t.deal(n)
	for i, place := range e.order {
		if e.mine(i) {
			w := e.system.Write(place, place+1)
			e.fill(w.Data, i)
			w.Done()
		}
	}
	return e
}

// deal returns places 0 to n-1 in turns: one of each member's share.
func (t team) deal(n int) []int {
	var places []int
	for turn := 0; len(places) < n; turn++ {
		for m := range t.size() {
			if lo, hi := share(n, m, t.size()); lo+turn < hi {
				places = append(places, lo+turn)
			}
		}
	}
	return places
}

// mine reports whether the i-th row is this member's.
func (e *eliminator) mine(i int) bool { return e.lo <= e.order[i] && e.order[i] < e.hi }

// row returns the i-th row for reading.
func (e *eliminator) row(i int) Window[float64] { return e.system.Read(e.order[i], e.order[i]+1) }

func (e *eliminator) fill(row []float64, i int) {
	uneven(row[:e.n], i*i*e.n)
	row[i] += 1
	for _, x := range row[:e.n] {
		row[e.n] += x
	}
}

func (e *eliminator) solve() {
	for k := range e.n {
		e.choose(k)
		top := e.system.copyRow(e.order[k])
		for i := k + 1; i < e.n; i++ {
			if e.mine(i) {
				w := e.system.Write(e.order[i], e.order[i]+1)
				eliminate(w.Data[k:e.n+1], top[k:e.n+1])
				w.Done()
			}
		}
	}
	e.meet()
}

// choose makes the row with the largest element of column k the k-th. Every member puts forward the
// best of its rows.
func (e *eliminator) choose(k int) {
	best := pivot{-1, 0}
	for i := k; i < e.n; i++ {
		if e.mine(i) {
			w := e.row(i)
			best = best.orBetter(pivot{math.Abs(w.Data[k]), int64(i)})
			w.Done()
		}
	}
	at := bidStep * (k%2 + 2*e.r.Rank)
	e.bids.Set(at, best)
	e.meet()
	for m := range e.size() {
		best = best.orBetter(e.bids.Get(bidStep * (k%2 + 2*m)))
	}
	e.order[k], e.order[best.Index] = e.order[best.Index], e.order[k]
}

// orBetter returns the larger one, or of equals the first.
func (p pivot) orBetter(q pivot) pivot {
	if q.Size > p.Size || q.Size == p.Size && q.Index < p.Index {
		return q
	}
	return p
}

// eliminate subtracts from a row what makes its first element 0.
func eliminate(row, top []float64) {
	f := row[0] / top[0]
	row[0] = 0
	top = top[:len(row)]
	for j := 1; j < len(row); j++ {
		row[j] -= f * top[j]
	}
}

// substitute returns the solution.
func (e *eliminator) substitute() []float64 {
	x := make([]float64, e.n)
	for k := e.n - 1; k >= 0; k-- {
		w := e.row(k)
		x[k] = (w.Data[e.n] - dot(w.Data[k+1:e.n], x[k+1:])) / w.Data[k]
		w.Done()
	}
	return x
}
