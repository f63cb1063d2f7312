package bench

import (
	"context"
	"fmt"
	"math"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "lu", Suite: "splash", Size: 512,
		Purpose: "blocks that are read by a row and a column of others, each in memory of its own",
		Sharing: "each rank writes the blocks of a scattered grid and reads two others for each of them",
		Run:     func(ctx context.Context, r *Rank) error { return lu(ctx, r, true) },
	})
	register(Workload{
		Name: "lu-rows", Suite: "splash", Size: 512,
		Purpose: "the same with the matrix kept by rows: what it costs that blocks share pages",
		Sharing: "as lu, but a page has pieces of the blocks of many ranks",
		Run:     func(ctx context.Context, r *Rank) error { return lu(ctx, r, false) },
	})
}

const (
	luSide  = 32 // elements along a block
	luBlock = luSide * luSide
	luError = 1e-10 // relative, of the product with a vector
)

// lu factors a matrix into a lower and an upper triangular one, block by block and without pivoting: its
// diagonal dominates (Woo et al., ISCA 95, section 3). The factors must equal the sequential ones in
// every bit, and their product the matrix.
func lu(ctx context.Context, r *Rank, contiguous bool) error {
	n := r.size()
	if n%luSide != 0 {
		return fmt.Errorf("size %d: choose a multiple of %d", n, luSide)
	}
	all, one, err := solveBoth(ctx, r, func(t team) *factorer { return newFactorer(t, n, contiguous) })
	if err != nil || r.Rank != 0 {
		return err
	}
	verifySame(r, all.elems, one.elems)
	r.Verify(all.wrong() <= luError, "the factors' product is wrong by %.1e", all.wrong())
	return nil
}

// factorer is one member's side of lu.
type factorer struct {
	team
	n, blocks  int // elements and blocks along the matrix
	rows, cols int // members are a grid of this shape, repeated over the blocks
	contiguous bool
	elems      *Array[float64]
	// Copies of the block that is worked on and of those that it depends on.
	block, left, top []float64
}

func newFactorer(t team, n int, contiguous bool) *factorer {
	f := &factorer{team: t, n: n, blocks: n / luSide, rows: 1, contiguous: contiguous}
	for d := 2; d*d <= t.size(); d++ {
		if t.size()%d == 0 {
			f.rows = d
		}
	}
	f.cols = t.size() / f.rows
	f.elems = teamArray[float64](t, "elements", n*n, layout{kind: pagetable.Hashed, pageSize: rowPage(8 * luBlock)})
	f.block, f.left, f.top = make([]float64, luBlock), make([]float64, luBlock), make([]float64, luBlock)
	f.each(0, func(i, j int) {
		for k := range f.block {
			f.block[k] = f.element(i*luSide+k/luSide, j*luSide+k%luSide)
		}
		f.store(i, j)
	})
	return f
}

// element returns an element of the matrix that is factored.
func (f *factorer) element(row, col int) float64 {
	if row == col {
		return float64(f.n)
	}
	return float64((row*31+col*17)%101) / 101
}

// each calls do for this member's blocks (i, j) with i and j from first on.
func (f *factorer) each(first int, do func(i, j int)) {
	for i := first; i < f.blocks; i++ {
		for j := first; j < f.blocks; j++ {
			if i%f.rows*f.cols+j%f.cols == f.r.Rank {
				do(i, j)
			}
		}
	}
}

func (f *factorer) solve() {
	for k := range f.blocks {
		f.each(k, func(i, j int) {
			if i == k && j == k {
				f.update(i, j, func() { factor(f.block) })
			}
		})
		f.meet()
		f.edges(k)
		f.meet()
		f.each(k+1, func(i, j int) {
			f.load(f.left, i, k)
			f.load(f.top, k, j)
			f.update(i, j, func() { subtractProduct(f.block, f.left, f.top) })
		})
	}
	f.meet()
}

// edges divides the blocks of column k and of row k by the one on the diagonal.
func (f *factorer) edges(k int) {
	f.load(f.top, k, k)
	f.each(k, func(i, j int) {
		switch {
		case i == k && j > k:
			f.update(i, j, func() { divideLower(f.block, f.top) })
		case j == k && i > k:
			f.update(i, j, func() { divideUpper(f.block, f.top) })
		}
	})
}

// update changes a block of this member.
func (f *factorer) update(i, j int, change func()) {
	f.load(f.block, i, j)
	change()
	f.store(i, j)
}

// load copies a block. No other one is kept here meanwhile, whose page somebody may wait for.
func (f *factorer) load(to []float64, i, j int) {
	for _, p := range f.pieces(i, j) {
		w := f.elems.Read(p, p+f.run())
		to = to[copy(to, w.Data):]
		w.Done()
	}
}

// store copies the block that is worked on back.
func (f *factorer) store(i, j int) {
	from := f.block
	for _, p := range f.pieces(i, j) {
		w := f.elems.Write(p, p+f.run())
		from = from[copy(w.Data, from):]
		w.Done()
	}
}

// run is how many elements of a block lie next to each other.
func (f *factorer) run() int {
	if f.contiguous {
		return luBlock
	}
	return luSide
}

// pieces returns where the runs of a block begin.
func (f *factorer) pieces(i, j int) []int {
	if f.contiguous {
		return []int{(i*f.blocks + j) * luBlock}
	}
	starts := make([]int, luSide)
	for row := range starts {
		starts[row] = (i*luSide+row)*f.n + j*luSide
	}
	return starts
}

// factor factors a block in place; the diagonal of the lower factor is 1.
func factor(a []float64) {
	for k := range luSide {
		top := a[k*luSide : (k+1)*luSide]
		for i := k + 1; i < luSide; i++ {
			row := a[i*luSide : (i+1)*luSide]
			row[k] /= top[k]
			subtractRow(row[k+1:], top[k+1:], row[k])
		}
	}
}

// divideLower solves L x = a for the lower factor of d.
func divideLower(a, d []float64) {
	for k := range luSide {
		for i := k + 1; i < luSide; i++ {
			subtractRow(a[i*luSide:(i+1)*luSide], a[k*luSide:(k+1)*luSide], d[i*luSide+k])
		}
	}
}

// divideUpper solves x U = a for the upper factor of d.
func divideUpper(a, d []float64) {
	for i := 0; i < luBlock; i += luSide {
		row := a[i : i+luSide]
		for k := range luSide {
			row[k] /= d[k*luSide+k]
			subtractRow(row[k+1:], d[k*luSide+k+1:(k+1)*luSide], row[k])
		}
	}
}

// subtractProduct subtracts b times c from a.
func subtractProduct(a, b, c []float64) {
	for i := 0; i < luBlock; i += luSide {
		for k := range luSide {
			subtractRow(a[i:i+luSide], c[k*luSide:(k+1)*luSide], b[i+k])
		}
	}
}

// subtractRow subtracts f times b from a.
func subtractRow(a, b []float64, f float64) {
	b = b[:len(a)]
	for j := range a {
		a[j] -= f * b[j]
	}
}

// wrong returns by how much the factors' product with a vector of ones differs from the matrix's.
func (f *factorer) wrong() float64 {
	u, product := make([]float64, f.n), make([]float64, f.n)
	f.eachElement(func(i, j int, v float64) {
		if j >= i {
			u[i] += v
		}
	})
	copy(product, u)
	f.eachElement(func(i, j int, v float64) {
		if j < i {
			product[i] += v * u[j]
		}
	})
	worst := 0.0
	for i, p := range product {
		for j := range f.n {
			p -= f.element(i, j)
		}
		worst = max(worst, math.Abs(p/product[i]))
	}
	return worst
}

func (f *factorer) eachElement(do func(i, j int, v float64)) {
	for i := range f.blocks {
		for j := range f.blocks {
			f.load(f.block, i, j)
			for k, v := range f.block {
				do(i*luSide+k/luSide, j*luSide+k%luSide, v)
			}
		}
	}
}
