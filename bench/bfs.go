package bench

import (
	"context"
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "bfs", Suite: "graph", Size: 16,
		Purpose: "few steps over a graph, each of which asks all about a set that all have made",
		Sharing: "each rank writes its vertices' bits of one set and reads the whole of the other",
		Run:     bfs,
	})
}

// bfs finds the distances of all vertices of a Kronecker graph of 2^size from one of them. In each step
// every vertex that was not met looks for a neighbour that was met last (Beamer, Asanović, Patterson,
// SC 12); the sequential run has a queue.
func bfs(ctx context.Context, r *Rank) error {
	scale := r.size()
	if err := checkScale(scale); err != nil {
		return err
	}
	var reference []int32
	if r.Rank == 0 {
		g := makeGraph(scale, 0, 1<<scale)
		r.Sequential(func() { reference = g.distances(hub(scale)) })
	}
	s := newSearch(team{ctx, r, false}, scale)
	err := r.Timed(ctx, func() error {
		s.solve()
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	w := s.distances.Read(0, s.n)
	defer w.Done()
	verifyEqual(r, "distances", w.Data, reference)
	return nil
}

// checkScale returns an error unless there is a graph of 2^scale vertices.
func checkScale(scale int) error {
	if scale < 6 || scale > kroneckerLimit {
		return fmt.Errorf("size %d: choose a scale from 6 to %d", scale, kroneckerLimit)
	}
	return nil
}

// distances returns how far all vertices are from one, -1 for those that can't be reached.
func (g *graph) distances(from int) []int32 {
	d := slices.Repeat([]int32{-1}, g.n)
	d[from] = 0
	for queue := []int32{int32(from)}; len(queue) > 0; queue = queue[1:] {
		for _, v := range g.neighbours(int(queue[0])) {
			if d[v] < 0 {
				d[v] = d[queue[0]] + 1
				queue = append(queue, v)
			}
		}
	}
	return d
}

// search is one member's side of bfs. Its vertices fill words of the sets.
type search struct {
	team
	*graph
	distances *Array[int32]
	met       [2]*Array[uint64] // sets of vertices, a bit each: those of an even and of an odd distance
	total     func(float64) float64
}

func newSearch(t team, scale int) *search {
	lo, hi := t.share(1 << scale / 64)
	s := &search{team: t, graph: makeGraph(scale, 64*lo, 64*hi), total: t.adder("found")}
	s.distances = teamArray[int32](t, "distances", s.n, layout{kind: pagetable.Blocked})
	for i, name := range []string{"even", "odd"} {
		s.met[i] = teamArray[uint64](t, name, s.n/64, layout{kind: pagetable.Blocked})
	}
	w := s.distances.Write(64*lo, 64*hi)
	for i := range w.Data {
		w.Data[i] = -1
	}
	if first := hub(scale); 64*lo <= first && first < 64*hi {
		w.Data[first-64*lo] = 0
		s.met[0].Set(first/64, 1<<(first%64))
	}
	w.Done()
	return s
}

func (s *search) solve() {
	for d := int32(0); s.total(float64(s.step(d))) > 0; d++ {
	}
}

// step finds this member's vertices that are next to those at distance d, and returns how many.
func (s *search) step(d int32) (found int) {
	last, next := s.met[d%2].Read(0, s.n/64), s.met[(d+1)%2].Write(s.lo/64, (s.lo+len(s.start)-1)/64)
	own := s.distances.Write(s.lo, s.lo+len(s.start)-1)
	clear(next.Data)
	for i, distance := range own.Data {
		if distance >= 0 {
			continue
		}
		for _, u := range s.neighbours(s.lo + i) {
			if last.Data[u/64]>>(u%64)&1 == 1 {
				own.Data[i] = d + 1
				next.Data[i/64] |= 1 << (i % 64)
				found++
				break
			}
		}
	}
	own.Done()
	next.Done()
	last.Done()
	return found
}
