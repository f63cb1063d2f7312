package bench

import (
	"context"
	"math"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "pagerank", Suite: "graph", Default: true, Size: 14,
		Purpose: "an irregular graph: everybody needs a little of everything in each step",
		Sharing: "each rank writes a block of one vector and reads all over the other",
		Run:     pagerank,
	})
}

const (
	pageRankSteps = 20
	pageRankStay  = 0.85  // chance to follow an edge
	pageRankError = 1e-12 // relative: sums over all vertices have another order
)

// pagerank ranks the vertices of a Kronecker graph of 2^size by the chance that a walk is at them.
func pagerank(ctx context.Context, r *Rank) error {
	scale := r.size()
	if err := checkScale(scale); err != nil {
		return err
	}
	all, one, err := solveBoth(ctx, r, func(t team) *surfer { return newSurfer(t, scale) })
	if err != nil || r.Rank != 0 {
		return err
	}
	const last = pageRankSteps % 2
	got, want := all.parts[last].Read(0, all.n), one.parts[last].Read(0, all.n)
	defer got.Done()
	right := 0
	for v, p := range want.Data {
		if near(got.Data[v], p, pageRankError) {
			right++
		}
	}
	r.Verify(right == all.n, "%d of %d vertices have the rank of the sequential run", right, all.n)
	r.Verify(math.Abs(one.sum-1) < pageRankError, "all chances of the sequential run add up to %v", one.sum)
	return nil
}

// surfer is one member's side of pagerank.
type surfer struct {
	team
	*graph
	parts [2]*Array[float64] // by vertex: the chance to be there, over its number of edges if it has any
	total func(float64) float64
	sum   float64 // of all chances in the last step
}

func newSurfer(t team, scale int) *surfer {
	lo, hi := t.share(1 << scale)
	w := &surfer{team: t, graph: makeGraph(scale, lo, hi), total: t.adder("total")}
	for i, name := range []string{"even", "odd"} {
		w.parts[i] = teamArray[float64](t, name, w.n, layout{kind: pagetable.Blocked})
	}
	return w
}

func (w *surfer) solve() {
	hi := w.lo + len(w.start) - 1
	chances := make([]float64, hi-w.lo)
	for i := range chances {
		chances[i] = 1 / float64(w.n)
	}
	for step := range pageRankSteps + 1 {
		stuck, sum := w.publish(w.parts[step%2], chances)
		stuck, w.sum = w.total(stuck), w.total(sum)
		all := w.parts[step%2].Read(0, w.n)
		for i := range chances {
			var in float64
			for _, u := range w.neighbours(w.lo + i) {
				in += all.Data[u]
			}
			chances[i] = (1-pageRankStay)/float64(w.n) + pageRankStay*(in+stuck/float64(w.n))
		}
		all.Done()
	}
}

// publish leaves what flows out of this member's vertices along each edge. It returns what has no edge to
// flow along, and the sum of all.
func (w *surfer) publish(parts *Array[float64], chances []float64) (stuck, sum float64) {
	out := parts.Write(w.lo, w.lo+len(chances))
	defer out.Done()
	for i, p := range chances {
		sum += p
		out.Data[i] = p
		if edges := len(w.neighbours(w.lo + i)); edges > 0 {
			out.Data[i] /= float64(edges)
		} else {
			stuck += p
		}
	}
	return stuck, sum
}
