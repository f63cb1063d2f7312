package bench

import (
	"cmp"
	"fmt"
	"slices"
)

// cube is a shared periodic grid of n^3 points, of which one member has the planes [lo, hi).
type cube struct {
	n, lo, hi int
	planes    Matrix // a row is a plane
}

func newCube(t team, name string, n int) cube {
	c := cube{n: n, planes: t.matrix(fmt.Sprintf("%s/%d", name, n), n, n*n)}
	c.lo, c.hi = t.share(n)
	return c
}

func (c cube) clear() {
	w := c.planes.Write(c.lo, c.hi)
	clear(w.Data)
	w.Done()
}

// copyPlane copies plane z of another grid, unless it is the same one.
func (c cube) copyPlane(from cube, z int) {
	if c == from {
		return
	}
	in, out := from.planes.Read(z, z+1), c.planes.Write(z, z+1)
	copy(out.Data, in.Data)
	out.Done()
	in.Done()
}

// slab is a plane of n^2 points between its neighbours.
type slab struct {
	n int
	ring
}

// around returns plane z and its neighbours for reading.
func (c cube) around(z int) slab { return slab{c.n, c.planes.ring(z)} }

// row returns a row of a plane, which are numbered -1 to 1; rows are numbered around a circle.
func (s *slab) row(plane, y int) []float64 {
	y = (y + s.n) % s.n
	return s.ring[plane+1].Data[y*s.n : (y+1)*s.n]
}

// stencil is the weights of a point and of its neighbours by face, edge and corner.
type stencil [4]float64

// sums are what a stencil needs of a row of points: for each place along the row, the point itself, the
// sum of its four neighbours across the row by face, and that of the four by edge. They have a point
// more at each end, since the row is a circle.
type sums struct{ point, faces, edges []float64 }

// newSums returns sums for rows of up to n points.
func newSums(n int) sums {
	return sums{make([]float64, n+2), make([]float64, n+2), make([]float64, n+2)}
}

// gather computes the sums of row y of the slab's middle plane.
func (s *sums) gather(around *slab, y int) {
	n := around.n
	here := around.row(0, y)
	add4(s.faces[1:n+1], around.row(0, y-1), around.row(0, y+1), around.row(-1, y), around.row(1, y))
	add4(s.edges[1:n+1], around.row(-1, y-1), around.row(-1, y+1), around.row(1, y-1), around.row(1, y+1))
	copy(s.point[1:], here)
	for _, v := range [][]float64{s.point, s.faces, s.edges} {
		v[0], v[n+1] = v[n], v[1]
	}
}

// add4 sets to to the sum of four rows.
func add4(to, a, b, c, d []float64) {
	a, b, c, d = a[:len(to)], b[:len(to)], c[:len(to)], d[:len(to)]
	for x := range to {
		to[x] = a[x] + b[x] + c[x] + d[x]
	}
}

// at returns the weighted sum at place x of the row, which begins at 1.
func (w *stencil) at(s *sums, x int) float64 {
	p, f, e := s.point[x-1:x+2], s.faces[x-1:x+2], s.edges[x-1:x+2]
	return w[0]*p[1] + w[1]*(p[0]+p[2]+f[1]) + w[2]*(f[0]+f[2]+e[1]) + w[3]*(e[0]+e[2])
}

// extreme is a point and its random number.
type extreme struct {
	at    int
	value float64
}

// charges returns what is not 0 on the right side: -1 at the points with the smallest random numbers, 1
// at those with the largest.
func charges(n int) map[int]float64 {
	byValue := func(a, b extreme) int { return cmp.Compare(a.value, b.value) }
	var low, high []extreme // the smallest ascending, the largest descending
	g := lcg(mgSeed)
	for at := range n * n * n {
		e := extreme{at, g.next()}
		low = keepFirst(low, e, byValue)
		high = keepFirst(high, e, func(a, b extreme) int { return byValue(b, a) })
	}
	found := map[int]float64{}
	for i := range low {
		found[low[i].at], found[high[i].at] = -1, 1
	}
	return found
}

// keepFirst returns the first few of list, which is in order, and e.
func keepFirst(list []extreme, e extreme, order func(a, b extreme) int) []extreme {
	if len(list) == mgCharges {
		if order(e, list[mgCharges-1]) >= 0 {
			return list
		}
		list = list[:mgCharges-1]
	}
	at, _ := slices.BinarySearchFunc(list, e, order)
	return slices.Insert(list, at, e)
}
