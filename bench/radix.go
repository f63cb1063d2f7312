package bench

import (
	"context"
	"slices"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "radix", Suite: "splash", Size: 1 << 20,
		Purpose: "everybody writes everywhere: keys go to their places in an array of all",
		Sharing: "each rank reads a block of one array and writes a thousand short runs all over the other",
		Run:     radix,
	})
}

const (
	radixSeed   = 314159265
	radixBits   = 10 // of a digit
	radixDigits = 1 << radixBits
	radixPasses = 2
)

// radix sorts keys of two digits, digit by digit from the low one.
func radix(ctx context.Context, r *Rank) error {
	n := r.size()
	all, one, err := solveBoth(ctx, r, func(t team) *digitSorter { return newDigitSorter(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	const last = radixPasses % 2
	verifySame(r, all.keys[last], one.keys[last])
	want := radixKeys(0, n)
	slices.Sort(want)
	r.Verify(slices.Equal(one.keys[last].Read(0, n).Data, want), "the sequential run sorts wrongly")
	return nil
}

// radixKeys returns keys [lo, hi).
func radixKeys(lo, hi int) []int32 {
	g := lcg(radixSeed)
	g.skip(uint64(lo))
	keys := make([]int32, hi-lo)
	for i := range keys {
		keys[i] = int32(g.next() * radixDigits * radixDigits)
	}
	return keys
}

// digitSorter is one member's side of radix: places [lo, hi).
type digitSorter struct {
	team
	lo, hi int
	keys   [2]*Array[int32] // pass i sorts from keys[i%2] to keys[(i+1)%2]
	counts *Array[int32]    // by member and digit: how many keys
}

func newDigitSorter(t team, n int) *digitSorter {
	s := &digitSorter{team: t}
	s.lo, s.hi = t.share(n)
	for i, name := range []string{"even", "odd"} {
		s.keys[i] = teamArray[int32](t, name, n, layout{kind: pagetable.Blocked})
	}
	s.counts = teamArray[int32](t, "counts", radixDigits*t.size(), layout{kind: pagetable.Blocked})
	w := s.keys[0].Write(s.lo, s.hi)
	copy(w.Data, radixKeys(s.lo, s.hi))
	w.Done()
	return s
}

func (s *digitSorter) solve() {
	for pass := range radixPasses {
		sorted, counts := s.sortOwn(s.keys[pass%2], pass*radixBits)
		s.meet()
		s.scatter(s.keys[(pass+1)%2], sorted, counts)
		s.meet()
	}
}

// sortOwn returns this member's keys sorted by a digit, and how many have which. Others see the counts.
func (s *digitSorter) sortOwn(keys *Array[int32], shift int) (sorted, counts []int32) {
	own := keys.Read(s.lo, s.hi)
	defer own.Done()
	counts, sorted = make([]int32, radixDigits), make([]int32, s.hi-s.lo)
	for _, k := range own.Data {
		counts[k>>shift%radixDigits]++
	}
	next := slices.Clone(counts)
	accumulate(next, 0)
	for _, k := range own.Data {
		digit := k >> shift % radixDigits
		sorted[next[digit]] = k
		next[digit]++
	}
	w := s.counts.Write(s.r.Rank*radixDigits, (s.r.Rank+1)*radixDigits)
	copy(w.Data, counts)
	w.Done()
	return sorted, counts
}

// scatter writes the runs of equal digits to their places. Members begin at different ones.
func (s *digitSorter) scatter(keys *Array[int32], sorted, counts []int32) {
	places, starts := s.places(), slices.Clone(counts)
	accumulate(starts, 0)
	first, _ := s.share(radixDigits)
	for i := range radixDigits {
		d := (first + i) % radixDigits
		if counts[d] == 0 {
			continue
		}
		w := keys.Write(int(places[d]), int(places[d]+counts[d]))
		copy(w.Data, sorted[starts[d]:])
		w.Done()
	}
}

// places returns where this member's run of each digit goes: behind all lower digits, and the same
// digit of the members before it.
func (s *digitSorter) places() []int32 {
	w := s.counts.Read(0, s.counts.Len())
	defer w.Done()
	places, before := make([]int32, radixDigits), make([]int32, radixDigits)
	for i, n := range w.Data {
		if i < s.r.Rank*radixDigits {
			before[i%radixDigits] += n
		}
		places[i%radixDigits] += n
	}
	accumulate(places, 0)
	for d, n := range before {
		places[d] += n
	}
	return places
}
