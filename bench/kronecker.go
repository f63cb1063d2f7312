package bench

import (
	"math/rand/v2"
	"slices"
)

const (
	kroneckerSeed   = 2
	kroneckerDegree = 16 // edges for each vertex
	kroneckerLimit  = 26 // largest scale
)

// kroneckerParts are the chances that an edge falls into a quarter of the matrix of edges (Graph500
// specification, section 3.2); the rest is that of the last one.
var kroneckerParts = [3]float64{0.57, 0.19, 0.19}

// graph is the vertices [lo, lo+len(start)-1) of an undirected graph of n with their neighbours.
type graph struct {
	n, lo int
	start []int32 // vertex v has the neighbours start[v-lo] to start[v-lo+1]
	to    []int32
}

// makeGraph returns vertices [lo, hi) of the Kronecker graph of 2^scale vertices.
func makeGraph(scale, lo, hi int) *graph {
	g := &graph{n: 1 << scale, lo: lo, start: make([]int32, hi-lo+1)}
	mine := func(v int32) bool { return lo <= int(v) && int(v) < hi }
	eachEdge(scale, func(a, b int32) {
		if mine(a) {
			g.start[int(a)-lo+1]++
		}
		if mine(b) {
			g.start[int(b)-lo+1]++
		}
	})
	for v := range hi - lo {
		g.start[v+1] += g.start[v]
	}
	g.to = make([]int32, g.start[hi-lo])
	next := slices.Clone(g.start)
	add := func(from, to int32) {
		if mine(from) {
			g.to[next[int(from)-lo]] = to
			next[int(from)-lo]++
		}
	}
	eachEdge(scale, func(a, b int32) {
		add(a, b)
		add(b, a)
	})
	return g
}

// eachEdge calls f for each edge. Vertices are renamed, so that those with many edges are everywhere.
func eachEdge(scale int, f func(a, b int32)) {
	rng, names := renaming(scale)
	for range kroneckerDegree << scale {
		a, b := 0, 0
		for range scale {
			p := rng.Float64()
			quarter := 0
			for quarter < 3 && p >= kroneckerParts[quarter] {
				p -= kroneckerParts[quarter]
				quarter++
			}
			a, b = 2*a+quarter/2, 2*b+quarter%2
		}
		f(int32(names[a]), int32(names[b]))
	}
}

// renaming returns the random numbers of a graph, and the names that its vertices get.
func renaming(scale int) (rng *rand.Rand, names []int) {
	rng = rand.New(rand.NewPCG(kroneckerSeed, uint64(scale)))
	return rng, rng.Perm(1 << scale)
}

// hub returns the vertex that has the most edges, as is to be expected.
func hub(scale int) int {
	_, names := renaming(scale)
	return names[0]
}

// neighbours returns those of vertex v.
func (g *graph) neighbours(v int) []int32 { return g.to[g.start[v-g.lo]:g.start[v-g.lo+1]] }
