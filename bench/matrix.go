package bench

import (
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
	return Matrix{NewArray[float64](ctx, r, name, rows*cols, pagetable.Blocked), cols}
}

// Read returns rows [lo, hi) for reading.
func (m Matrix) Read(lo, hi int) Window[float64] { return m.elems.Read(lo*m.cols, hi*m.cols) }

// Write returns rows [lo, hi) for reading and writing.
func (m Matrix) Write(lo, hi int) Window[float64] { return m.elems.Write(lo*m.cols, hi*m.cols) }
