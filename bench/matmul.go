package bench

import (
	"context"
)

func init() {
	register(Workload{
		Name: "matmul", Suite: "app", Default: true, Size: 512,
		Purpose: "data that everybody reads and nobody writes",
		Sharing: "each rank writes a block of rows of the product and reads one whole factor",
		Run:     matmul,
	})
}

// matmul multiplies two square matrices. Each sum has the order of the sequential one and must equal it
// in every bit.
func matmul(ctx context.Context, r *Rank) error {
	n := r.size()
	a, b, c := NewMatrix(ctx, r, "a", n, n), NewMatrix(ctx, r, "b", n, n), NewMatrix(ctx, r, "c", n, n)
	lo, hi := r.Share(n)
	for _, m := range []Matrix{a, b} {
		rows := m.Write(lo, hi)
		uneven(rows.Data, lo*n)
		rows.Done()
	}
	left, right, reference := make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)
	uneven(left, 0)
	uneven(right, 0)
	r.Sequential(func() { multiply(reference, left, right, n) })

	err := r.Timed(ctx, func() error {
		rows, all, product := a.Read(lo, hi), b.Read(0, n), c.Write(lo, hi)
		multiply(product.Data, rows.Data, all.Data, n)
		product.Done()
		all.Done()
		rows.Done()
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	product := c.Read(0, n)
	defer product.Done()
	verifyEqual(r, "elements", product.Data, reference)
	return nil
}

// uneven sets elements, the first of which is number from of its matrix, to numbers that differ.
func uneven(elems []float64, from int) {
	for k := range elems {
		elems[k] = float64((from+k)*31%1009) / 1009
	}
}

// multiply sets c, rows of a product of matrices with n columns, to the same rows of a, times b.
func multiply(c, a, b []float64, n int) {
	clear(c)
	for i := 0; i < len(c); i += n {
		row := c[i : i+n]
		for k, f := range a[i : i+n] {
			for j, g := range b[k*n : (k+1)*n] {
				row[j] += f * g
			}
		}
	}
}
