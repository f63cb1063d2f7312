package pagetable_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// wordSet is the naive twin of a Footprint.
type wordSet map[int]bool

func (s wordSet) mark(start, end int) {
	for at := start; at < end; at++ {
		s[at/8] = true
	}
}

func (s wordSet) diff(twin, page []byte) {
	for w := range len(page) / 8 {
		old := make([]byte, 8)
		if twin != nil {
			old = twin[8*w : 8*w+8]
		}
		if !bytes.Equal(old, page[8*w:8*w+8]) {
			s[w] = true
		}
	}
}

func (s wordSet) spans() (spans []pagetable.Span) {
	for _, w := range slices.Sorted(maps.Keys(s)) {
		if n := len(spans); n > 0 && spans[n-1].End == 8*w {
			spans[n-1].End += 8
			continue
		}
		spans = append(spans, pagetable.Span{Start: 8 * w, End: 8*w + 8})
	}
	return spans
}

// drawPages returns a page and its twin, which may be nil, with a few runs of bytes that differ.
func drawPages(t *rapid.T) (twin, page []byte) {
	page = make([]byte, rapid.SampledFrom([]int{256, 512, 4096, 8192}).Draw(t, "page size"))
	if rapid.Bool().Draw(t, "with twin") {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "twin"), 0))
		twin = make([]byte, len(page))
		for i := 0; i < len(twin); i += 8 {
			binary.LittleEndian.PutUint64(twin[i:], rng.Uint64())
		}
		copy(page, twin)
	}
	for range rapid.IntRange(0, 6).Draw(t, "writes") {
		at := rapid.IntRange(0, len(page)-1).Draw(t, "at")
		n := min(rapid.IntRange(1, 300).Draw(t, "bytes"), len(page)-at)
		for i := range n {
			page[at+i] ^= 1 << (i % 8)
		}
	}
	return twin, page
}

func checkFootprint(t *rapid.T, f *pagetable.Footprint, want wordSet) {
	t.Helper()
	if got := f.Spans(); f.Words() != len(want) || f.Bytes() != 8*len(want) || !slices.Equal(got, want.spans()) {
		t.Fatalf("%d words %v, want %d words %v", f.Words(), got, len(want), want.spans())
	}
}

func TestFootprintAgreesWithAWordLoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var prints [2]pagetable.Footprint
		words := [2]wordSet{{}, {}}
		for range rapid.IntRange(1, 4).Draw(t, "diffs") {
			i := rapid.IntRange(0, 1).Draw(t, "footprint")
			if rapid.Bool().Draw(t, "mark") {
				start, end := rapid.IntRange(0, 8192).Draw(t, "start"), rapid.IntRange(0, 8192).Draw(t, "end")
				prints[i].Mark(start, end)
				words[i].mark(start, end)
			} else {
				twin, page := drawPages(t)
				prints[i].Diff(twin, page)
				words[i].diff(twin, page)
			}
			checkFootprint(t, &prints[i], words[i])
		}
		common := false
		for w := range words[0] {
			common = common || words[1][w]
		}
		if prints[0].Intersects(&prints[1]) != common || prints[1].Intersects(&prints[0]) != common {
			t.Fatalf("Intersects = %v, want %v", !common, common)
		}
		var both pagetable.Footprint
		both.MergeCommon(&prints[0], &prints[1])
		inBoth := maps.Clone(words[0])
		maps.DeleteFunc(inBoth, func(w int, _ bool) bool { return !words[1][w] })
		checkFootprint(t, &both, inBoth)
		prints[0].Merge(&prints[1])
		maps.Copy(words[0], words[1])
		checkFootprint(t, &prints[0], words[0])
		checkFootprint(t, &prints[1], words[1])
		prints[0].Clear()
		checkFootprint(t, &prints[0], nil)
	})
}

// Two counters in one page: the textbook case of false sharing.
func TestFootprintsOfNeighboursDoNotIntersect(t *testing.T) {
	var hits, misses pagetable.Footprint
	page := make([]byte, 4096)
	page[0] = 1
	hits.Diff(nil, page)
	page[0], page[8] = 0, 1
	misses.Diff(nil, page)
	if hits.Intersects(&misses) {
		t.Error("words 0 and 1 intersect")
	}
	if !hits.Intersects(&hits) {
		t.Error("word 0 doesn't intersect itself")
	}
	hits.Merge(&misses)
	if got, want := hits.Spans(), []pagetable.Span{{Start: 0, End: 16}}; !slices.Equal(got, want) {
		t.Errorf("merged spans %v, want %v", got, want)
	}
}

func TestFootprintCostsNothingUntilSomethingDiffers(t *testing.T) {
	page := make([]byte, 2<<20)
	twin := make([]byte, len(page))
	if got := testing.AllocsPerRun(10, func() {
		var f, g pagetable.Footprint
		f.Diff(twin, page)
		f.Diff(nil, page)
		g.Merge(&f)
	}); got != 0 {
		t.Errorf("equal pages: %v allocations", got)
	}
	page[len(page)-1] = 1
	if got := testing.AllocsPerRun(10, func() {
		var f pagetable.Footprint
		f.Diff(twin, page)
		f.Diff(nil, page)
	}); got > 1 {
		t.Errorf("one word: %v allocations", got)
	}
}

func TestFootprintPreconditions(t *testing.T) {
	var f pagetable.Footprint
	wantPanic(t, "page of 100 bytes", func() { f.Diff(nil, make([]byte, 100)) })
	wantPanic(t, "page of 256 bytes, twin of 512", func() { f.Diff(make([]byte, 512), make([]byte, 256)) })
	wantPanic(t, "page of 256 bytes, twin of 0", func() { f.Diff([]byte{}, make([]byte, 256)) })
}

func BenchmarkFootprintDiff(b *testing.B) {
	equal := func(page []byte) {}
	sparse := func(page []byte) { page[len(page)/2]++ }
	dense := func(page []byte) {
		for i := 0; i < len(page); i += 8 {
			page[i]++
		}
	}
	for _, bench := range []struct {
		name   string
		nilled bool
		write  func(page []byte)
	}{
		{"equal", false, equal}, {"one-word", false, sparse}, {"all-words", false, dense},
		{"equal-zero", true, equal}, {"one-word-zero", true, sparse}, {"all-words-zero", true, dense},
	} {
		b.Run(bench.name, func(b *testing.B) {
			twin, page := make([]byte, 4096), make([]byte, 4096)
			bench.write(page)
			if bench.nilled {
				twin = nil
			}
			var f pagetable.Footprint
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				f.Diff(twin, page)
			}
		})
	}
}
