package bench

import (
	"context"
	"fmt"
	"math"
)

func init() {
	register(Workload{
		Name: "ocean", Suite: "splash", Size: 258,
		Purpose: "short sweeps over a grid with a barrier after each, and others now and then",
		Sharing: "each rank writes a block of rows of three grids and reads a row more on each side",
		Run:     ocean,
	})
}

const (
	oceanSteps  = 10
	oceanSweeps = 20 // of each colour, to find the currents of one step
	oceanOmega  = 1.8
	oceanTick   = 0.02
	oceanDrag   = 0.05 // by which vorticity spreads, in cells
	oceanTurn   = 1.   // how much faster the earth turns from one side to the other
)

// ocean computes the currents that wind makes in a square basin: vorticity is carried along by them, and
// they are found from it by red-black over-relaxation. Its result must equal the sequential one in every
// bit.
func ocean(ctx context.Context, r *Rank) error {
	n := r.size()
	if n < 4 {
		return fmt.Errorf("size %d: choose 4 or more", n)
	}
	all, one, err := solveBoth(ctx, r, func(t team) *basin { return newBasin(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	verifySame(r, all.stream.elems, one.stream.elems)
	verifySame(r, all.spin[oceanSteps%2].elems, one.spin[oceanSteps%2].elems)
	w := one.stream.Read(0, n)
	defer w.Done()
	strongest := 0.
	for _, x := range w.Data {
		strongest = max(strongest, math.Abs(x))
	}
	r.Verify(strongest > 0 && strongest < 1, "the strongest current of the sequential run is %v", strongest)
	return nil
}

// basin is one member's side of ocean: rows [lo, hi), none of them a shore.
type basin struct {
	team
	n, lo, hi int
	stream    Matrix    // the stream function, 0 at the shores; 1/n is a cell
	spin      [2]Matrix // vorticity; step i makes spin[(i+1)%2] from spin[i%2]
}

func newBasin(t team, n int) *basin {
	b := &basin{team: t, n: n, stream: t.matrix("stream", n, n)}
	b.spin = [2]Matrix{t.matrix("spin/even", n, n), t.matrix("spin/odd", n, n)}
	b.lo, b.hi = t.share(n - 2)
	b.lo, b.hi = b.lo+1, b.hi+1
	return b
}

func (b *basin) solve() {
	for step := range oceanSteps {
		if b.lo < b.hi {
			b.carry(b.spin[step%2], b.spin[(step+1)%2])
		}
		b.meet()
		for half := range 2 * oceanSweeps {
			b.relax(b.spin[(step+1)%2], half)
			b.meet()
		}
	}
}

// carry computes the vorticity after a step: what the currents carry, what spreads, what the turning
// earth and the wind add.
func (b *basin) carry(from, to Matrix) {
	n, cell := b.n, 1/float64(b.n)
	stream, old, out := b.stream.Read(b.lo-1, b.hi+1), from.Read(b.lo-1, b.hi+1), to.Write(b.lo, b.hi)
	s, z := stream.Data, old.Data
	for i := b.lo; i < b.hi; i++ {
		wind := -math.Sin(2 * math.Pi * float64(i) * cell)
		for j := 1; j < n-1; j++ {
			k := (i-b.lo+1)*n + j
			u, v := (s[k-n]-s[k+n])/(2*cell), (s[k+1]-s[k-1])/(2*cell)
			carried := (u*(z[k+1]-z[k-1]) + v*(z[k+n]-z[k-n])) / (2 * cell)
			spread := oceanDrag * (z[k-n] + z[k+n] + z[k-1] + z[k+1] - 4*z[k])
			out.Data[k-n] = z[k] + oceanTick*(wind-carried-oceanTurn*v) + spread
		}
	}
	out.Done()
	old.Done()
	stream.Done()
}

// relax brings the stream function of one colour nearer to what the vorticity demands.
func (b *basin) relax(spin Matrix, half int) {
	for _, rows := range edgesFirst(b.lo, b.hi) {
		z := spin.Read(rows[0], rows[1])
		b.stream.withStrip(rows, func(s strip) {
			s.each(rows[0], func(i int, above, row, below []float64) {
				relaxSource(above, row, below, source{z.Data[(i-rows[0])*b.n:], 1 + (i+half)%2})
			})
		})
		z.Done()
	}
}

// source is the vorticity of a row, and the first of its points whose turn it is.
type source struct {
	spin  []float64
	first int
}

func relaxSource(above, row, below []float64, s source) {
	n := len(row)
	area := 1 / float64(n*n) // of a cell
	for j := s.first; j < n-1; j += 2 {
		mean := (above[j] + below[j] + row[j-1] + row[j+1] - area*s.spin[j]) / 4
		row[j] += oceanOmega * (mean - row[j])
	}
}
