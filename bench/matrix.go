package bench

import (
	"cmp"
	"context"
	"slices"

	"pagemesh/pagetable"
)

// Matrix is a shared matrix kept by rows.
type Matrix struct {
	elems *Array[float64]
	cols  int
}

// NewMatrix returns the shared matrix of that name.
func NewMatrix(ctx context.Context, r *Rank, name string, rows, cols int) Matrix {
	l := layout{kind: pagetable.Blocked, pageSize: cmp.Or(r.Spec.PageSize, rowPage(8*cols))}
	return Matrix{newArray[float64](ctx, r, name, rows*cols, l), cols}
}

// rowPage returns the page size for rows of so many bytes: the largest of which a row is a multiple,
// so that no page has rows of two ranks and a row takes few.
func rowPage(row int) int {
	p := row & -row
	return min(max(p, pagetable.DefaultPageSize), pagetable.MaxPageSize)
}

// Read returns rows [lo, hi) for reading.
func (m Matrix) Read(lo, hi int) Window[float64] { return m.elems.Read(lo*m.cols, hi*m.cols) }

// Write returns rows [lo, hi) for reading and writing.
func (m Matrix) Write(lo, hi int) Window[float64] { return m.elems.Write(lo*m.cols, hi*m.cols) }

// copyRow returns a copy of a row.
func (m Matrix) copyRow(i int) []float64 {
	w := m.Read(i, i+1)
	defer w.Done()
	return slices.Clone(w.Data)
}

// ring is a row of a matrix between its neighbours; the last row is next to the first.
type ring [3]Window[float64]

// ring returns the row of that number and its neighbours for reading.
func (m Matrix) ring(i int) ring {
	rows := m.elems.Len() / m.cols
	var r ring
	for k := range r {
		at := (i + k - 1 + rows) % rows
		r[k] = m.Read(at, at+1)
	}
	return r
}

// rows returns the row before, the row itself, and the one after it.
func (r *ring) rows() (before, here, after []float64) { return r[0].Data, r[1].Data, r[2].Data }

func (r *ring) done() {
	for k := range r {
		r[k].Done()
	}
}
