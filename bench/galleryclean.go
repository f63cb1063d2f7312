package bench

import (
	"slices"
	"time"

	"pagemesh/pagetable"
)

// The programs of which no report complains.
func init() {
	exhibit{
		name: "parallel", purpose: "ranks that have nothing to do with each other", size: 200,
		sharing: "each rank writes pages of its own, homed at its node", culprit: func(g *gallery) scene { return misplaced(g, 0) },
	}.register()
	exhibit{
		name: "read-only", purpose: "what is written once and then read by all", size: 64,
		sharing: "all ranks read all pages, many times", culprit: readOnly,
	}.register()
	exhibit{
		name: "padded", purpose: "counters in pages of their own", size: 40,
		sharing: "each rank counts in its page", culprit: func(g *gallery) scene { return scores(g, pagetable.DefaultPageSize) },
	}.register()
	exhibit{
		name: "blocked-stencil", purpose: "a stencil whose ranks exchange the rows at their borders", size: 40,
		sharing: "each rank writes a block of rows, and reads one row of each neighbour", culprit: blockedStencil,
	}.register()
}

// readOnly has all ranks read n pages that rank 0 has written.
func readOnly(g *gallery) scene {
	const page, times = pagetable.DefaultPageSize, 50
	r := region[int64](g, "pages", g.n*page/8)
	wrong := region[int64](g, "wrong", page/8)
	for i := range g.n {
		if g.Rank.Rank == 0 {
			check(r.Store(g.ctx, int64(i*page), uint64(i+1)))
		}
	}
	check(g.Barrier(g.ctx))
	return scene{
		act: func() {
			for range times {
				for i := range g.n {
					if !g.holds(r, int64(i*page), i+1) {
						check(wrong.Store(g.ctx, 0, 1))
					}
				}
				busy(100 * time.Microsecond)
			}
		},
		right: func() bool { return g.holds(wrong, 0, 0) },
	}
}

// side is how many rows and columns the square of the stencil has: a row fills a page.
const side = pagetable.DefaultPageSize / 8

// blockedStencil relaxes a square of numbers n times.
func blockedStencil(g *gallery) scene {
	var grids [2]*Array[float64]
	for i, name := range []string{"/even", "/odd"} {
		grids[i] = newArray[float64](g.ctx, g.Rank, g.scene+name, side*side, layout{kind: pagetable.Blocked, pageSize: pagetable.DefaultPageSize})
	}
	lo, hi := g.Share(side)
	scatter(grids, lo, hi)
	lo, hi = max(lo, 1), min(hi, side-1)
	return scene{
		act: func() {
			g.each(g.n, func(round int) { relax(grids[round%2], grids[1-round%2], lo, hi) })
		},
		right: func() bool {
			var alone [2]*Array[float64]
			for i := range alone {
				alone[i] = &Array[float64]{n: side * side, plain: make([]float64, side*side)}
			}
			scatter(alone, 0, side)
			for round := range g.n {
				relax(alone[round%2], alone[1-round%2], 1, side-1)
			}
			w := grids[g.n%2].Read(0, side*side)
			defer w.Done()
			return slices.Equal(w.Data, alone[g.n%2].plain)
		},
	}
}

// scatter sets the rows [lo, hi) of both squares to numbers that are anything but smooth.
func scatter(grids [2]*Array[float64], lo, hi int) {
	for _, grid := range grids {
		w := grid.Write(lo*side, hi*side)
		for i := range w.Data {
			w.Data[i] = float64((lo*side + i) * 7919 % 101)
		}
		w.Done()
	}
}

// relax sets the rows [lo, hi) of a square to the means of their neighbours in another.
func relax(from, to *Array[float64], lo, hi int) {
	for row := lo; row < hi; row++ {
		above, here, below := from.Read((row-1)*side, row*side), from.Read(row*side, (row+1)*side), from.Read((row+1)*side, (row+2)*side)
		w := to.Write(row*side, (row+1)*side)
		for i := 1; i < side-1; i++ {
			w.Data[i] = (above.Data[i] + below.Data[i] + here.Data[i-1] + here.Data[i+1]) / 4
		}
		w.Done()
		above.Done()
		here.Done()
		below.Done()
	}
}
