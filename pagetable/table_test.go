package pagetable_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// entryOf stands for the state of a page in these tests.
type entryOf struct{ page, count atomic.Uint64 }

const maxPages = pagetable.MaxPageIndex + 1

func TestTableAgreesWithAMap(t *testing.T) {
	sizes := []uint64{1, 2, 255, 256, 257, 1 << 16, 1<<16 + 1, 1 << 28, 1<<32 + 5, maxPages}
	rapid.Check(t, func(t *rapid.T) {
		pages := rapid.SampledFrom(sizes).Draw(t, "pages")
		index := rapid.OneOf(rapid.Uint64Max(pages-1), rapid.Uint64Range(pages-min(pages, 3), pages-1),
			rapid.Map(rapid.IntRange(0, 39), func(bit int) uint64 { return 1 << bit % pages }))
		table, want := pagetable.NewTable[entryOf](pages), map[uint64]*entryOf{}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got := slices.Collect(pairs(table)); !slices.Equal(got, sortedPairs(want)) {
					t.Fatalf("All() of %d pages yields %v, want %v", pages, got, sortedPairs(want))
				}
			},
			"get": func(t *rapid.T) {
				if i := index.Draw(t, "i"); table.Get(i) != want[i] {
					t.Fatalf("Get(%d) of %d pages = %p, want %p", i, pages, table.Get(i), want[i])
				}
			},
			"ensure": func(t *rapid.T) {
				i := index.Draw(t, "i")
				got := table.Ensure(i)
				if old, ok := want[i]; got == nil || ok && got != old {
					t.Fatalf("Ensure(%d) of %d pages = %p, want %p", i, pages, got, old)
				}
				want[i] = got
			},
		})
	})
}

// pair is an element of Table.All.
type pair struct {
	i uint64
	v *entryOf
}

func pairs(table *pagetable.Table[entryOf]) func(func(pair) bool) {
	return func(yield func(pair) bool) {
		for i, v := range table.All() {
			if !yield(pair{i, v}) {
				return
			}
		}
	}
}

func sortedPairs(m map[uint64]*entryOf) []pair {
	var ps []pair
	for _, i := range slices.Sorted(maps.Keys(m)) {
		ps = append(ps, pair{i, m[i]})
	}
	return ps
}

func TestTableBeyondItsEnd(t *testing.T) {
	for _, pages := range []uint64{0, 1, 256, 300, maxPages} {
		table := pagetable.NewTable[entryOf](pages)
		if pages > 0 {
			table.Ensure(0)
		}
		for _, i := range []uint64{pages, pages + 256, 1 << 63} {
			if table.Get(i) != nil {
				t.Errorf("Get(%d) of %d pages found something", i, pages)
			}
			wantPanic(t, fmt.Sprintf("page %d of %d", i, pages), func() { table.Ensure(i) })
		}
	}
	wantPanic(t, "can be named", func() { pagetable.NewTable[entryOf](maxPages + 1) })
}

func TestTableLoopMayStop(t *testing.T) {
	table := pagetable.NewTable[entryOf](1 << 20)
	for _, i := range []uint64{0, 3, 70_000, 900_000} {
		table.Ensure(i)
	}
	for _, last := range []uint64{0, 3, 70_000} {
		for i := range table.All() {
			if i == last {
				break
			}
			if i > last {
				t.Errorf("the loop went on to %d after break at %d", i, last)
			}
		}
	}
}

func TestTableMemoryFollowsUse(t *testing.T) {
	var table *pagetable.Table[entryOf]
	if got := allocatedBytes(func() { table = pagetable.NewTable[entryOf](maxPages) }); got > 300 {
		t.Errorf("an empty table of 2^40 pages takes %d bytes", got)
	}
	if got := allocatedBytes(func() { table.Ensure(maxPages / 3) }); got > 24<<10 {
		t.Errorf("the first entry takes %d bytes", got)
	}
	if got := allocatedBytes(func() { table.Ensure(maxPages/3 + 1) }); got > 64 {
		t.Errorf("its neighbour takes %d bytes", got)
	}
	for name, f := range map[string]func(){
		"Get of an entry": func() { table.Get(maxPages / 3) },
		"Get of nothing":  func() { table.Get(5) },
		"Ensure again":    func() { table.Ensure(maxPages / 3) },
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
	small := pagetable.NewTable[entryOf](256)
	if got := allocatedBytes(func() { small.Ensure(255) }); got > 3<<10 {
		t.Errorf("the first entry of a table of 256 pages takes %d bytes", got)
	}
}

// Several goroutines ensure the same pages in the same order, so that they race for every node of the
// tree. Whoever made an entry, all must count in it.
func TestTableConcurrentEnsure(t *testing.T) {
	const workers, pages, stride = 4, 2000, 37
	table := pagetable.NewTable[entryOf](pages * stride)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range workers {
		wg.Go(func() {
			<-start
			for n := range uint64(pages) {
				v := table.Ensure(n * stride)
				v.page.Store(n * stride)
				v.count.Add(1)
				if got := table.Get(n * stride); got != v {
					t.Errorf("Get(%d) = %p after Ensure = %p", n*stride, got, v)
				}
			}
		})
	}
	wg.Go(func() {
		<-start
		for range 20 {
			last := -1
			for i := range table.All() {
				if int(i) <= last {
					t.Errorf("page %d follows %d", i, last)
				}
				last = int(i)
			}
		}
	})
	close(start)
	wg.Wait()
	seen := 0
	for i, v := range table.All() {
		seen++
		if v.page.Load() != i || v.count.Load() != workers {
			t.Errorf("page %d: entry of page %d, count %d", i, v.page.Load(), v.count.Load())
		}
	}
	if seen != pages {
		t.Errorf("%d entries, want %d", seen, pages)
	}
}

func BenchmarkTableGet(b *testing.B) {
	for _, pages := range []uint64{1 << 8, 1 << 16, 1 << 18, 1 << 28, maxPages} {
		b.Run(fmt.Sprintf("pages=%d", pages), func(b *testing.B) {
			const used = 256
			table := pagetable.NewTable[entryOf](pages)
			first := pages/3*2 - pages/3*2%used
			for i := range uint64(used) {
				table.Ensure(first + i)
			}
			i := uint64(0)
			for b.Loop() {
				if table.Get(first+i%used) == nil {
					b.Fatal("entry is gone")
				}
				i++
			}
		})
	}
}
