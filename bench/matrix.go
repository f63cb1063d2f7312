package bench

import (
	"cmp"
	"context"

	"pagemesh/pagetable"
)

// Matrix is a shared matrix kept by rows.
type Matrix struct {
	elems *Array[float64]
	cols  int
}

// NewMatrix returns the shared matrix of that name.
func NewMatrix(ctx context.Context, r *Rank, name string, rows, cols int) Matrix {
	l := layout{pagetable.Blocked, cmp.Or(r.Spec.PageSize, rowPage(8*cols))}
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
