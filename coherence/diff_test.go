package coherence

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

const diffPage = 4096

// scribble changes some bytes of page, in runs.
func scribble(rng *rand.Rand, page []byte, runs int) {
	for range runs {
		at := rng.IntN(len(page))
		for i := range min(1+rng.IntN(40), len(page)-at) {
			if rng.IntN(4) > 0 {
				page[at+i] = byte(rng.Uint32())
			}
		}
	}
}

func randomPage(rng *rand.Rand, size int) []byte {
	page := make([]byte, size)
	for i := range page {
		page[i] = byte(rng.Uint32())
	}
	return page
}

// naiveDiff returns which bytes differ, by their offsets.
func naiveDiff(page, twin []byte) map[int]byte {
	d := map[int]byte{}
	for i := range page {
		if page[i] != twin[i] {
			d[i] = page[i]
		}
	}
	return d
}

// TestDiffSaysWhatChanged: a diff writes the bytes that differ to any other page, and no others.
func TestDiffSaysWhatChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		size := skipSize << rapid.IntRange(0, 8).Draw(t, "size")
		twin, other := randomPage(rng, size), randomPage(rng, size)
		page := bytes.Clone(twin)
		scribble(rng, page, rapid.IntRange(0, 40).Draw(t, "runs"))
		want := bytes.Clone(other)
		words := map[int]bool{}
		for i, b := range naiveDiff(page, twin) {
			want[i] = b
			words[i/wordSize] = true
		}
		diff := TakeDiff([]byte("kept"), page, twin)
		if !bytes.Equal(twin, page) {
			t.Fatal("the twin is not as the page was")
		}
		if string(diff[:4]) != "kept" {
			t.Fatal("what was in front of the diff is gone")
		}
		diff = diff[4:]
		if err := CheckDiff(diff, size); err != nil {
			t.Fatal(err)
		}
		if len(diff) > MaxDiff(size) {
			t.Fatalf("a diff of %d bytes, want at most %d", len(diff), MaxDiff(size))
		}
		EachRun(diff, size, func(start, end int) {
			for word := start / wordSize; word < end/wordSize; word++ {
				if !words[word] {
					t.Fatalf("word %d is in a run and does not differ, or is in two", word)
				}
				delete(words, word)
			}
		})
		if len(words) > 0 {
			t.Fatalf("the words %v differ and are in no run", words)
		}
		if ApplyDiff(other, diff); !bytes.Equal(other, want) {
			t.Fatal("the diff wrote something else than what had changed")
		}
		if more := TakeDiff(nil, page, twin); len(more) > 0 {
			t.Fatalf("%d bytes of a diff of two pages that are alike", len(more))
		}
	})
}

// TestLongestDiff: whole and partial words that take turns make a diff as long as it can get.
func TestLongestDiff(t *testing.T) {
	for _, size := range []int{256, diffPage, 2 << 20} {
		for partial := range 8 {
			page, twin := make([]byte, size), make([]byte, size)
			for i := range page {
				if i/wordSize%2 == 0 || i%wordSize < partial {
					page[i] = 1
				}
			}
			if diff := TakeDiff(nil, page, twin); len(diff) > MaxDiff(size) {
				t.Errorf("a diff of %d bytes of a page of %d, want at most %d", len(diff), size, MaxDiff(size))
			}
		}
	}
}

// TestMerge: changes stay, everything else becomes fresh, and the twin as well.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		twin := randomPage(rng, 512)
		page, fresh := bytes.Clone(twin), bytes.Clone(twin)
		scribble(rng, page, 5)
		scribble(rng, fresh, 5)
		want := bytes.Clone(fresh)
		for i, b := range naiveDiff(page, twin) {
			want[i] = b
		}
		Merge(page, twin, fresh)
		if !bytes.Equal(page, want) || !bytes.Equal(twin, fresh) {
			t.Fatal("the page is not as it should be")
		}
	})
}

func TestSpread(t *testing.T) {
	for mask := range 256 {
		x := spread(byte(mask))
		if byteMask(x) != byte(mask) || byteMask(x&0x0101010101010101) != byte(mask) {
			t.Errorf("%08b spreads to %x and comes back as %08b", mask, x, byteMask(x))
		}
		for i := range 8 {
			if b := byte(x >> (8 * i)); b != 0 && b != 0xff {
				t.Errorf("%08b spreads to %x", mask, x)
			}
		}
	}
}

// FuzzDiff: whatever a peer sends for a diff is refused, or stays within the page.
func FuzzDiff(f *testing.F) {
	page, twin := make([]byte, 256), make([]byte, 256)
	page[3], page[200] = 1, 2
	f.Add(TakeDiff(nil, page, twin))
	f.Add([]byte{0, 2, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2})
	f.Fuzz(func(t *testing.T, diff []byte) {
		page := make([]byte, 256)
		if CheckDiff(diff, len(page)) == nil {
			ApplyDiff(page, diff)
		}
	})
}

// BenchmarkDiff asks what a release pays for a page of 4 KiB, and how that depends on what was written. copy
// is the limit: to keep a twin costs as much.
func BenchmarkDiff(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	twin := randomPage(rng, diffPage)
	for _, c := range []struct {
		name  string
		write func(page []byte)
	}{
		{"same", func([]byte) {}},
		{"counter", func(p []byte) { p[64]++ }},
		{"half", func(p []byte) { copy(p, randomPage(rng, diffPage/2)) }},
		{"words", func(p []byte) {
			for i := 0; i < len(p); i += 2 * wordSize {
				p[i]++
			}
		}},
		{"floats", func(p []byte) {
			for i := 0; i < len(p); i += wordSize {
				binary.LittleEndian.PutUint64(p[i:], math.Float64bits(rng.Float64()))
			}
		}},
	} {
		page := bytes.Clone(twin)
		c.write(page)
		benchmarkDiff(b, c.name, page, twin)
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(diffPage)
		to := make([]byte, diffPage)
		for b.Loop() {
			copy(to, twin)
		}
	})
}

func benchmarkDiff(b *testing.B, name string, page, twin []byte) {
	spare := make([]byte, diffPage)
	diff := TakeDiff(nil, page, bytes.Clone(twin))
	b.Run("take/"+name, func(b *testing.B) {
		b.SetBytes(diffPage)
		b.ReportMetric(float64(len(diff)), "diff-bytes")
		for b.Loop() {
			copy(spare, twin)
			diff = TakeDiff(diff[:0], page, spare)
		}
	})
	b.Run("apply/"+name, func(b *testing.B) {
		b.SetBytes(diffPage)
		for b.Loop() {
			ApplyDiff(spare, diff)
		}
	})
}
