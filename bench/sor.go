package bench

import (
	"context"
)

func init() {
	register(Workload{
		Name: "sor", Suite: "treadmarks", Default: true, Size: 1024,
		Purpose: "neighbours that exchange the edges of their parts in every step",
		Sharing: "each rank writes a block of rows and reads one row of each neighbour",
		Run:     sor,
	})
}

const (
	sorIterations = 50
	sorOmega      = 1.5 // over-relaxation
)

// sor solves Laplace's equation on a square with fixed edges by red-black successive over-relaxation.
// Points of one colour depend on points of the other only, so that their order does not matter and the
// result must equal the sequential one in every bit.
func sor(ctx context.Context, r *Rank) error {
	n := r.size()
	r.Result.Params["iterations"] = sorIterations
	grid := NewMatrix(ctx, r, "grid", n, n)
	lo, hi := r.Share(n)
	block := grid.Write(lo, hi)
	heat(block.Data, n, lo)
	block.Done()

	reference := make([]float64, n*n)
	heat(reference, n, 0)
	r.Sequential(func() {
		inner := strip{reference[:n], reference[n : (n-1)*n], reference[(n-1)*n:]}
		for half := range 2 * sorIterations {
			inner.relax(1, half)
		}
	})
	err := r.Timed(ctx, func() error {
		for half := range 2 * sorIterations {
			relaxBlock(grid, max(lo, 1), min(hi, n-1), half)
			check(r.Barrier(ctx))
		}
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	all := grid.Read(0, n)
	defer all.Done()
	verifyEqual(r, "points", all.Data, reference)
	return nil
}

// heat sets rows, the first of which is row lo of n, to the start: uneven, so that each point changes in
// each step.
func heat(rows []float64, n, lo int) {
	for k := range rows {
		rows[k] = float64((lo+k/n)*(k%n)%97) / 97
	}
}

// strip is a piece of the grid: rows that are relaxed, between two that are only read.
type strip struct{ above, rows, below []float64 }

// relax relaxes the points of one colour. The first of the rows is row lo of the grid.
func (s strip) relax(lo, half int) {
	s.each(lo, func(i int, above, row, below []float64) { relaxRow(above, row, below, 1+(i+half)%2) })
}

// each calls f for each of the rows, the first of which is row lo of the grid, with its neighbours.
func (s strip) each(lo int, f func(i int, above, row, below []float64)) {
	above, rows, n := s.above, s.rows, len(s.above)
	for i := lo; len(rows) > 0; i++ {
		row, rest := rows[:n], rows[n:]
		below := s.below
		if len(rest) > 0 {
			below = rest[:n]
		}
		f(i, above, row, below)
		above, rows = row, rest
	}
}

// relaxRow relaxes every second inner point of a row, beginning with point j.
func relaxRow(above, row, below []float64, j int) {
	above, below = above[:len(row)], below[:len(row)]
	for ; j < len(row)-1; j += 2 {
		row[j] += sorOmega * ((above[j]+below[j]+row[j-1]+row[j+1])/4 - row[j])
	}
}

// relaxBlock relaxes the points of one colour in rows [lo, hi).
func relaxBlock(grid Matrix, lo, hi, half int) {
	for _, rows := range edgesFirst(lo, hi) {
		grid.withStrip(rows, func(s strip) { s.relax(rows[0], half) })
	}
}

// edgesFirst divides rows [lo, hi). Neighbours want to read the first and the last of them: each is kept
// here for a moment, while the rows between can stay for long.
func edgesFirst(lo, hi int) [][2]int {
	switch {
	case hi-lo > 2:
		return [][2]int{{lo, lo + 1}, {hi - 1, hi}, {lo + 1, hi - 1}}
	case hi > lo:
		return [][2]int{{lo, hi}}
	}
	return nil
}

// withStrip calls f with those rows of the grid for writing. The rows around them are copies: to hold one
// and wait for another is what the neighbour may do as well.
func (m Matrix) withStrip(rows [2]int, f func(s strip)) {
	above, below := m.copyRow(rows[0]-1), m.copyRow(rows[1])
	w := m.Write(rows[0], rows[1])
	defer w.Done()
	f(strip{above, w.Data, below})
}
