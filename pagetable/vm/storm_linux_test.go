//go:build amd64 || arm64

package vm_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"pagemesh/pagetable"
)

// times returns n, or many more in the long form.
func times(n int64) int64 {
	if os.Getenv("PAGEMESH_LONG") != "" {
		return 20 * n
	}
	return n
}

// seedOf returns the seed to repeat, or a new one.
func seedOf(t *testing.T) uint64 {
	if s := os.Getenv("PAGEMESH_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return seed
	}
	return rand.Uint64() >> 32
}

// A program fills and compares memory by copy, clear, bytes.Equal and atomics while it collects
// garbage without end and its pages are taken away all the time.
func TestStorm(t *testing.T) {
	for _, procs := range []int{1, 2, 4} {
		for _, size := range []int{os.Getpagesize(), 4 * os.Getpagesize()} {
			t.Run(fmt.Sprintf("procs=%d/size=%d", procs, size), func(t *testing.T) {
				pg := newPager(t, 4, size)
				pg.servers = procs
				p := pg.start(fmt.Sprintf("GOMAXPROCS=%d", procs), collectEnv+"=1")
				round := 0
				pg.harass(seedOf(t), times(300), func() error {
					bad, err := p.try("storm 50 %d", round)
					if round++; bad != 0 {
						t.Errorf("%d comparisons failed", bad)
					}
					return err
				})
			})
		}
	}
}

// Two programs add to one word, from two threads each, and two more to words of their own beside it,
// while its page is taken away all the time.
func TestAddFromSeveralPrograms(t *testing.T) {
	const adds = 1000
	pg := newPager(t, 1, os.Getpagesize())
	offsets := []int{8, 8, 64, 72}
	var work []func() error
	for i, off := range offsets {
		p := pg.start(fmt.Sprintf("GOMAXPROCS=%d", i+1), collectEnv+"=1")
		work = append(work, func() error {
			_, err := p.try("add %d %d 2", off, adds)
			return err
		})
	}
	want := map[int]uint64{}
	for i, rounds := range pg.harass(seedOf(t), times(500), work...) {
		want[offsets[i]] += uint64(rounds * adds * 2)
	}
	for off, count := range want {
		if got := pg.word(off); got != count {
			t.Errorf("word at %d = %d, want %d", off, got, count)
		}
	}
}

// Pages as large as they can be, of many system pages each.
func TestLargePages(t *testing.T) {
	const size = pagetable.MaxPageSize
	pg := newPager(t, 3, size)
	p := pg.start()
	if got := p.ask("load %d", 3*size-8); got != 0 {
		t.Errorf("last word = %d", got)
	}
	p.ask("write 0 4096 %d", 3*size/4096)
	pg.lower(1, pagetable.ReadAccess)
	p.ask("store %d 77", size)
	pg.lower(1, pagetable.NoAccess)
	if got := p.ask("load %d", size); got != 77 {
		t.Errorf("word = %d", got)
	}
	for off := 4096; off < 3*size; off += 4096 {
		want := uint64(1)
		if off == size {
			want = 77
		}
		if got := pg.word(off); got != want {
			t.Fatalf("word at %d = %d, want %d", off, got, want)
		}
	}
}
