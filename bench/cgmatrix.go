package bench

import (
	"math"
	"math/bits"
	"slices"
)

const (
	cgSeed      = 314159265
	cgCondition = 0.1 // reciprocal of the condition number
	cgDiagonal  = 0.5 // i-th element of the i-th random vector
)

// sparse is a block of rows of a sparse matrix. Row i has the elements start[i] to start[i+1].
type sparse struct {
	start  []int
	column []int32 // ascending in each row
	value  []float64
}

// times sets q to the rows times v.
func (s *sparse) times(q, v []float64) {
	for i := range q {
		lo, hi := s.start[i], s.start[i+1]
		column, value := s.column[lo:hi], s.value[lo:hi]
		var sum float64
		for k, c := range column {
			sum += value[k] * v[c]
		}
		q[i] = sum
	}
}

// sum returns what a single holder of all rows has added up.
func (s *sparse) sum(all float64) float64 { return all }

// makeRows returns rows [lo, hi) of a class's matrix: the sum over all random vectors of the vector
// times its transpose, plus a diagonal (NPB report RNR-94-007, section 2.4.3).
func makeRows(class eigen, lo, hi int) sparse {
	vectors := randomVectors(class.n, class.nonzero)
	holders := make([][]outer, hi-lo)
	weight, ratio := 1.0, math.Pow(cgCondition, 1/float64(class.n))
	for _, v := range vectors {
		for _, e := range v {
			if lo <= e.index && e.index < hi {
				holders[e.index-lo] = append(holders[e.index-lo], outer{v, weight * e.value})
			}
		}
		weight *= ratio
	}
	s := sparse{start: []int{0}}
	row := make([]float64, class.n)
	for k, products := range holders {
		columns := addProducts(row, products)
		row[lo+k] += cgCondition - class.shift
		s.appendRow(columns, row)
	}
	return s
}

// element is an element of a sparse vector.
type element struct {
	index int
	value float64
}

// outer is a row of a weighted vector times its transpose: the vector times a number.
type outer struct {
	vector []element
	factor float64
}

// randomVectors returns n vectors of length n, each with nonzero random elements in (0, 1) and one on
// the diagonal.
func randomVectors(n, nonzero int) [][]element {
	g := lcg(cgSeed)
	g.next() // the benchmark's definition wants the first number left out
	vectors := make([][]element, n)
	for i := range vectors {
		v := randomVector(&g, n, nonzero)
		if k := find(v, i); k >= 0 {
			v[k].value = cgDiagonal
		} else {
			v = append(v, element{i, cgDiagonal})
		}
		vectors[i] = v
	}
	return vectors
}

func randomVector(g *lcg, n, nonzero int) []element {
	places := float64(int(1) << bits.Len(uint(n-1))) // the power of two from n on
	var v []element
	for len(v) < nonzero {
		value := g.next()
		index := int(places * g.next())
		if index < n && find(v, index) < 0 {
			v = append(v, element{index, value})
		}
	}
	return v
}

func find(v []element, index int) int {
	return slices.IndexFunc(v, func(e element) bool { return e.index == index })
}

// addProducts adds products to a row of zeros and returns the columns that are not 0 any more,
// ascending. All terms are positive.
func addProducts(row []float64, products []outer) (columns []int) {
	for _, p := range products {
		for _, e := range p.vector {
			if row[e.index] == 0 {
				columns = append(columns, e.index)
			}
			row[e.index] += e.value * p.factor
		}
	}
	slices.Sort(columns)
	return columns
}

// appendRow moves the elements at those columns from row, which is all zeros again afterwards, to s.
func (s *sparse) appendRow(columns []int, row []float64) {
	for _, c := range columns {
		s.column = append(s.column, int32(c))
		s.value = append(s.value, row[c])
		row[c] = 0
	}
	s.start = append(s.start, len(s.value))
}
