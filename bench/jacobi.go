package bench

import (
	"context"
	"fmt"
)

func init() {
	register(Workload{
		Name: "jacobi", Suite: "treadmarks", Size: 1024,
		Purpose: "neighbours that exchange the edges of their parts, from one grid to another",
		Sharing: "each rank writes a block of rows of one grid and reads a row more each side of the other",
		Run:     jacobi,
	})
}

const jacobiIterations = 50

// jacobi solves Laplace's equation on a square with fixed edges: in each step a point becomes the mean
// of its neighbours. Its result must equal the sequential one in every bit.
func jacobi(ctx context.Context, r *Rank) error {
	n := r.size()
	if n < 3 {
		return fmt.Errorf("size %d: choose 3 or more", n)
	}
	r.Result.Params["iterations"] = jacobiIterations
	all, one, err := solveBoth(ctx, r, func(t team) *meanSolver { return newMeanSolver(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	const last = jacobiIterations % 2
	verifySame(r, all.grids[last].elems, one.grids[last].elems)
	return nil
}

// meanSolver is one member's side of jacobi: rows [lo, hi), none of them an edge.
type meanSolver struct {
	team
	n, lo, hi int
	grids     [2]Matrix // step i makes grids[(i+1)%2] from grids[i%2]
}

func newMeanSolver(t team, n int) *meanSolver {
	s := &meanSolver{team: t, n: n, grids: [2]Matrix{t.matrix("even", n, n), t.matrix("odd", n, n)}}
	s.lo, s.hi = t.share(n)
	for _, g := range s.grids {
		rows := g.Write(s.lo, s.hi)
		heat(rows.Data, n, s.lo)
		rows.Done()
	}
	s.lo, s.hi = max(s.lo, 1), min(s.hi, n-1)
	return s
}

func (s *meanSolver) solve() {
	for i := range jacobiIterations {
		if s.lo < s.hi {
			s.step(s.grids[i%2], s.grids[(i+1)%2])
		}
		s.meet()
	}
}

func (s *meanSolver) step(from, to Matrix) {
	old, rows := from.Read(s.lo-1, s.hi+1), to.Write(s.lo, s.hi)
	for i := range s.hi - s.lo {
		meanRow(rows.Data[i*s.n:(i+1)*s.n], old.Data[i*s.n:(i+3)*s.n])
	}
	rows.Done()
	old.Done()
}

// meanRow sets the inner points of a row to the mean of their neighbours in the old one, which is the
// middle of three rows.
func meanRow(row, old []float64) {
	n := len(row)
	above, here, below := old[:n], old[n:2*n], old[2*n:3*n]
	for j := 1; j < n-1; j++ {
		row[j] = (above[j] + below[j] + here[j-1] + here[j+1]) / 4
	}
}
