package bench

import (
	"context"
	"math"
	"math/bits"
)

func init() {
	register(Workload{
		Name: "mg", Suite: "npb", Classes: []string{"W", "S", "A"},
		Purpose: "grids from large to tiny, where the work between two barriers soon is nothing",
		Sharing: "each rank writes a block of planes of each grid and reads a plane more on each side",
		Run:     mg,
	})
}

// poisson is a class of MG (NPB report RNR-94-007, section 2.3).
type poisson struct {
	n    int     // points along the grid
	norm float64 // official norm of the residual
}

var poissons = map[string]poisson{
	"S": {32, 0.5307707005734e-4},
	"W": {128, 0.6467329375339e-5},
	"A": {256, 0.2433365309069e-5},
}

const (
	mgSeed       = 314159265
	mgIterations = 4
	mgCharges    = 10   // points of each sign that are not 0 on the right side
	mgError      = 1e-8 // relative, of the norm
)

// Weights of the report: of the equation, of the smoother, and of the transfer to a coarser grid.
var (
	mgLaplace  = stencil{-8. / 3, 0, 1. / 6, 1. / 12}
	mgSmoother = stencil{-3. / 8, 1. / 32, -1. / 64, 0}
	mgCoarser  = stencil{1. / 2, 1. / 4, 1. / 8, 1. / 16}
)

// mg solves Poisson's equation on a periodic cube by multigrid.
func mg(ctx context.Context, r *Rank) error {
	class := poissons[r.Spec.Class]
	all, _, err := solveBoth(ctx, r, func(t team) *multigrid { return newMultigrid(t, class.n) })
	if err == nil {
		r.Verify(near(all.norm, class.norm, mgError), "norm of the residual %.13e; official is %.13e", all.norm, class.norm)
	}
	return err
}

// multigrid is one member's side of mg. Level k has 2^k points along the grid, from level 1.
type multigrid struct {
	team
	top   int
	u, r  []cube // by level: the solution or its correction, and the residual
	v     cube   // the right side
	total func(float64) float64
	norm  float64
	sums  sums
}

func newMultigrid(t team, n int) *multigrid {
	m := &multigrid{team: t, top: bits.Len(uint(n)) - 1, u: []cube{{}}, r: []cube{{}}, total: t.adder("norm")}
	for k := 1; k <= m.top; k++ {
		m.u = append(m.u, newCube(t, "u", 1<<k))
		m.r = append(m.r, newCube(t, "r", 1<<k))
	}
	m.v = newCube(t, "v", n)
	m.sums = newSums(n)
	for at, charge := range charges(n) {
		if z := at / (n * n); m.v.lo <= z && z < m.v.hi {
			m.v.planes.elems.Set(at, charge)
		}
	}
	return m
}

func (m *multigrid) solve() {
	m.residual(m.u[m.top], m.v, m.r[m.top])
	for range mgIterations {
		m.cycle()
		m.residual(m.u[m.top], m.v, m.r[m.top])
	}
	var squares float64
	r := m.r[m.top]
	for z := r.lo; z < r.hi; z++ {
		w := r.planes.Read(z, z+1)
		squares += dot(w.Data, w.Data)
		w.Done()
	}
	m.norm = math.Sqrt(m.total(squares) / float64(r.n*r.n*r.n))
}

// cycle goes with the residual down to the coarsest grid, and with corrections up again.
func (m *multigrid) cycle() {
	for k := m.top; k > 1; k-- {
		m.restrict(m.r[k], m.r[k-1])
	}
	m.u[1].clear()
	m.smooth(m.u[1], m.r[1])
	for k := 2; k < m.top; k++ {
		m.u[k].clear()
		m.prolong(m.u[k-1], m.u[k])
		m.residual(m.u[k], m.r[k], m.r[k])
		m.smooth(m.u[k], m.r[k])
	}
	m.prolong(m.u[m.top-1], m.u[m.top])
	m.residual(m.u[m.top], m.v, m.r[m.top])
	m.smooth(m.u[m.top], m.r[m.top])
}

// residual sets r to v less the equation's left side for u. v and r may be the same.
func (m *multigrid) residual(u, v, r cube) {
	for z := r.lo; z < r.hi; z++ {
		r.copyPlane(v, z)
		around, out := u.around(z), r.planes.Write(z, z+1)
		for y := range r.n {
			m.sums.gather(&around, y)
			row := out.Data[y*r.n : (y+1)*r.n]
			for x := range row {
				row[x] -= mgLaplace.at(&m.sums, x+1)
			}
		}
		out.Done()
		around.done()
	}
	m.meet()
}

// smooth adds to u what the smoother makes of r.
func (m *multigrid) smooth(u, r cube) {
	for z := u.lo; z < u.hi; z++ {
		around, out := r.around(z), u.planes.Write(z, z+1)
		for y := range u.n {
			m.sums.gather(&around, y)
			row := out.Data[y*u.n : (y+1)*u.n]
			for x := range row {
				row[x] += mgSmoother.at(&m.sums, x+1)
			}
		}
		out.Done()
		around.done()
	}
	m.meet()
}

// restrict sets coarse to the weighted means of fine, whose odd points are those of coarse.
func (m *multigrid) restrict(fine, coarse cube) {
	for z := coarse.lo; z < coarse.hi; z++ {
		around, out := fine.around(2*z+1), coarse.planes.Write(z, z+1)
		for y := range coarse.n {
			m.sums.gather(&around, 2*y+1)
			row := out.Data[y*coarse.n : (y+1)*coarse.n]
			for x := range row {
				row[x] = mgCoarser.at(&m.sums, 2*x+2)
			}
		}
		out.Done()
		around.done()
	}
	m.meet()
}

// prolong adds coarse to fine, where it is the mean of its nearest points.
func (m *multigrid) prolong(coarse, fine cube) {
	n, mean := coarse.n, make([]float64, coarse.n)
	for z := fine.lo; z < fine.hi; z++ {
		a, b := nearest(z, n)
		below, above, out := coarse.planes.Read(a, a+1), coarse.planes.Read(b, b+1), fine.planes.Write(z, z+1)
		for y := range fine.n {
			c, d := nearest(y, n)
			for x := range mean {
				mean[x] = (below.Data[c*n+x] + below.Data[d*n+x] + above.Data[c*n+x] + above.Data[d*n+x]) / 4
			}
			row := out.Data[y*fine.n : (y+1)*fine.n]
			for x := range row {
				e, f := nearest(x, n)
				row[x] += (mean[e] + mean[f]) / 2
			}
		}
		out.Done()
		above.Done()
		below.Done()
	}
	m.meet()
}

// nearest returns the points of a coarse grid of n next to one of the fine grid: twice the same if they
// coincide.
func nearest(fine, n int) (before, after int) {
	return (fine + 2*n - 1) / 2 % n, fine / 2
}
