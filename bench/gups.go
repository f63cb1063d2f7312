package bench

import (
	"context"
	"sync/atomic"
	"time"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "gups", Suite: "micro", Size: 1 << 13,
		Purpose: "what a system pays for words at random places, where nothing can be foreseen",
		Sharing: "each rank adds atomically to words all over one table",
		Run:     gups,
	})
}

// gupsWords is the size of the table.
const gupsWords = 1 << 16

// gups makes size random updates of a table, and then those that undo them: the table must be as before.
func gups(ctx context.Context, r *Rank) error {
	n := r.size()
	table := newWords(ctx, r, "table", gupsWords, pagetable.Hashed)
	private := make([]uint64, gupsWords)
	r.Sequential(func() {
		eachUpdate(0, n, func(i int, v uint64) { private[i] += v })
	})
	lo, hi := r.Share(n)
	err := r.Timed(ctx, func() error {
		start := time.Now()
		eachUpdate(lo, hi, func(i int, v uint64) { addWord(table, i, v) })
		r.Metric("update", Metric{MedianNs: float64(time.Since(start)) / float64(max(1, hi-lo)), N: hi - lo})
		return nil
	})
	if err != nil {
		return err
	}
	wrong := 0
	if r.Rank == 0 {
		wrong = differences(table, private)
	}
	check(r.Barrier(ctx))
	eachUpdate(lo, hi, func(i int, v uint64) { addWord(table, i, -v) })
	check(r.Barrier(ctx))
	if r.Rank == 0 {
		left := differences(table, make([]uint64, gupsWords))
		r.Verify(wrong == 0 && left == 0, "%d of %d words differ from those of the sequential run, %d from 0 after the inverse",
			wrong, gupsWords, left)
	}
	return nil
}

// eachUpdate calls f for updates [lo, hi), each a word of the table and what to add to it.
func eachUpdate(lo, hi int, f func(i int, v uint64)) {
	g := lcg(isSeed)
	g.skip(uint64(lo))
	for range hi - lo {
		g.next()
		f(int(g>>(46-16))%gupsWords, uint64(g))
	}
}

// addWord adds to word i of an array in one access and returns the sum.
func addWord(a *Array[uint64], i int, v uint64) uint64 {
	if a.plain != nil {
		return atomic.AddUint64(&a.plain[i], v)
	}
	sum, err := a.region.Add(a.ctx, int64(8*i), v)
	check(err)
	return sum
}

// differences returns how many words are not those that are wanted.
func differences(a *Array[uint64], want []uint64) (n int) {
	w := a.Read(0, a.Len())
	defer w.Done()
	for i, v := range w.Data {
		if v != want[i] {
			n++
		}
	}
	return n
}
