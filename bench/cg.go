package bench

import (
	"context"
	"math"
	"slices"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "cg", Suite: "npb", Classes: []string{"W", "S", "A"}, Default: true,
		Purpose: "short steps between barriers, and a long vector that everybody reads in each",
		Sharing: "each rank writes a block of one vector and reads the whole of it",
		Run:     cg,
	})
}

// eigen is a class of CG (NPB report RNR-94-007, section 2.4).
type eigen struct {
	n       int     // rows of the matrix
	nonzero int     // elements of the random vectors that it is made of
	shift   float64 // subtracted from the diagonal
	zeta    float64 // official result
}

var eigens = map[string]eigen{
	"S": {1400, 7, 10, 8.5971775078648},
	"W": {7000, 8, 12, 10.362595087124},
	"A": {14000, 11, 20, 17.130235054029},
}

const (
	cgSteps      = 15 // of the power method
	cgIterations = 25 // of conjugate gradients in each
	cgError      = 1e-10
)

// cg estimates the largest eigenvalue of the inverse of a sparse matrix by the power method, each step
// of which solves a linear system by conjugate gradients.
func cg(ctx context.Context, r *Rank) error {
	class := eigens[r.Spec.Class]
	lo, hi := r.Share(class.n)
	mine := &sharedRows{
		rank: r, ctx: ctx, lo: lo, hi: hi, rows: makeRows(class, lo, hi),
		vector: NewArray[float64](ctx, r, "vector", class.n, pagetable.Blocked),
		total:  NewSum(ctx, r, "total"),
	}
	if r.Rank == 0 {
		all := makeRows(class, 0, class.n)
		r.Sequential(func() { eigenvalue(&all, class.n, class.shift) })
	}
	var zeta, residual float64
	err := r.Timed(ctx, func() error {
		zeta, residual = eigenvalue(mine, hi-lo, class.shift)
		return nil
	})
	r.Verify(math.Abs(zeta-class.zeta) <= cgError, "zeta %.13f, residual %.3e; official zeta is %.13f",
		zeta, residual, class.zeta)
	return err
}

// linear is a part of a matrix, some of its rows: what the method needs of it.
type linear interface {
	// times sets q to these rows times the whole vector, whose elements at these rows are v.
	times(q, v []float64)
	// sum adds up what the holders of all rows call it with.
	sum(part float64) float64
}

// eigenvalue runs the power method on n rows. It returns the estimate and the norm of the residual of
// the last linear system.
func eigenvalue(a linear, n int, shift float64) (zeta, residual float64) {
	x, z := slices.Repeat([]float64{1}, n), make([]float64, n)
	for range cgSteps {
		residual = solve(a, z, x)
		zeta = shift + 1/a.sum(dot(x, z))
		length := math.Sqrt(a.sum(dot(z, z)))
		for i := range x {
			x[i] = z[i] / length
		}
	}
	return zeta, residual
}

// solve approximates the solution z of A z = x by conjugate gradients and returns the norm of x - A z.
func solve(a linear, z, x []float64) float64 {
	clear(z)
	q, r, p := make([]float64, len(x)), slices.Clone(x), slices.Clone(x)
	rho := a.sum(dot(r, r))
	for range cgIterations {
		a.times(q, p)
		alpha := rho / a.sum(dot(p, q))
		for i := range z {
			z[i] += alpha * p[i]
			r[i] -= alpha * q[i]
		}
		before := rho
		rho = a.sum(dot(r, r))
		for i := range p {
			p[i] = r[i] + rho/before*p[i]
		}
	}
	a.times(q, z)
	for i := range q {
		q[i] -= x[i]
	}
	return math.Sqrt(a.sum(dot(q, q)))
}

func dot(x, y []float64) float64 {
	y = y[:len(x)]
	var s float64
	for i := range x {
		s += x[i] * y[i]
	}
	return s
}

// sharedRows is the block of rows [lo, hi) of one rank. The vector is shared; the rest of a rank's data
// concerns its rows alone and is its own.
type sharedRows struct {
	rank   *Rank
	ctx    context.Context
	lo, hi int
	rows   sparse
	vector *Array[float64]
	total  *Sum
}

// times leaves v for the others, waits for theirs, and multiplies. All ranks meet in sum before they
// come again, so nobody overwrites what another still reads.
func (s *sharedRows) times(q, v []float64) {
	part := s.vector.Write(s.lo, s.hi)
	copy(part.Data, v)
	part.Done()
	check(s.rank.Barrier(s.ctx))
	all := s.vector.Read(0, s.vector.Len())
	defer all.Done()
	s.rows.times(q, all.Data)
}

func (s *sharedRows) sum(part float64) float64 { return s.total.Of(s.ctx, part) }
