package coherence

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// racyStep is one thing that a node does: it writes bytes of a page of 64 bytes, or releases or acquires a lock.
type racyStep struct {
	node       pagetable.NodeID
	start, end int    // bytes, if it writes
	release    uint64 // lock; 0: it does not
	acquire    uint64
}

// parseRacy reads steps: "1w0-8" writes bytes 0 to 7 at node 1, "1r7" releases lock 7 and "2a7" acquires it.
func parseRacy(t *testing.T, text string) (steps []racyStep) {
	for word := range strings.FieldsSeq(text) {
		var s racyStep
		var n int
		var err error
		switch word[1] {
		case 'w':
			n, err = fmt.Sscanf(word, "%dw%d-%d", &s.node, &s.start, &s.end)
		case 'r':
			n, err = fmt.Sscanf(word, "%dr%d", &s.node, &s.release)
		case 'a':
			n, err = fmt.Sscanf(word, "%da%d", &s.node, &s.acquire)
		}
		if n < 2 || err != nil {
			t.Fatalf("step %q: %v", word, err)
		}
		steps = append(steps, s)
	}
	return steps
}

// racyRun plays steps one after the other with the real core. Locks are seen by all nodes at once.
type racyRun struct {
	orders    map[pagetable.NodeID]*Order
	intervals map[pagetable.NodeID]uint32 // open ones
	page      [64]byte
	shadow    Shadow
}

func newRacyRun() *racyRun {
	return &racyRun{orders: map[pagetable.NodeID]*Order{}, intervals: map[pagetable.NodeID]uint32{}}
}

func (r *racyRun) order(n pagetable.NodeID) *Order {
	if r.orders[n] == nil {
		r.orders[n] = &Order{}
		r.orders[n].NewEpoch(n, 1)
		r.intervals[n] = 1
	}
	return r.orders[n]
}

func (r *racyRun) step(s racyStep) []Conflict {
	o := r.order(s.node)
	switch {
	case s.release != 0:
		o.Released(s.release, r.intervals[s.node])
		r.intervals[s.node]++
		for _, n := range slices.Sorted(maps.Keys(r.orders)) {
			if n != s.node {
				r.orders[n].Learn(s.release, o.Tell(s.release))
			}
		}
	case s.acquire != 0:
		o.Acquired(s.acquire)
	default:
		st := Stamp{Moment: Moment{s.node, r.intervals[s.node]}, Epoch: 1, Before: o.Before()}
		return r.write(st, s.start, s.end)
	}
	return nil
}

// write changes bytes of the page, whose home is node 1.
func (r *racyRun) write(st Stamp, start, end int) []Conflict {
	twin := r.page
	for i := start; i < end; i++ {
		r.page[i]++
	}
	if st.Node != 1 {
		return r.shadow.Write(st, TakeDiff(nil, r.page[:], twin[:]), len(r.page), nil)
	}
	found := r.shadow.WriteOwn(st, r.page[:], twin[:], nil)
	r.shadow.WriteOwn(st, r.page[:], twin[:], nil) // at the end of the interval, what a diff in between had it look at
	return found
}

// TestShadow: which of two diffs are races.
func TestShadow(t *testing.T) {
	for _, c := range []struct{ name, steps, want string }{
		{"one node", "1w0-8 1r7 1w0-8", ""},
		{"different words", "1w0-8 2w8-16", ""},
		{"different bytes of one word", "1w0-4 2w4-8", ""},
		{"one byte in common", "1w0-5 2w4-8", "4+1 of n1"},
		{"the same word", "1w0-8 2w0-8", "0+1 of n1"},
		{"three words", "1w0-64 2w16-40", "16+3 of n1"},
		{"ordered by a lock", "1w0-8 1r7 2a7 2w0-8", ""},
		{"ordered by another lock", "1w0-8 1r7 2a8 2w0-8", "0+1 of n1"},
		{"written after the release", "1r7 1w0-8 2a7 2w0-8", "0+1 of n1"},
		{"through a third node", "1w0-8 1r7 3a7 3r8 2a8 2w0-8", ""},
		{"a third node that acquires too late", "1w0-8 3r8 1r7 3a7 2a8 2w0-8", "0+1 of n1"},
		{"the last writer counts", "1w0-8 1r7 2a7 2w0-8 2r8 3a8 3w0-8", ""},
		{"two others", "1w0-8 2w8-16 3w0-16", "0+1 of n1, 8+1 of n2"},
		{"once for each pair", "1w0-8 1w16-24 2w0-24", "0+2 of n1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRacyRun()
			for n := range pagetable.NodeID(3) {
				r.order(n + 1)
			}
			var got []string
			for _, s := range parseRacy(t, c.steps) {
				for _, f := range r.step(s) {
					got = append(got, fmt.Sprintf("%d+%d of %v", f.Offset, f.Words, f.Other.Node))
				}
			}
			if g := strings.Join(got, ", "); g != c.want {
				t.Errorf("races %q, want %q", g, c.want)
			}
		})
	}
}

// TestShadowLateDiffs: diffs that overtake each other on their way are in the order in which they were written.
func TestShadowLateDiffs(t *testing.T) {
	var r racyRun
	first := Stamp{Moment: Moment{1, 1}, Epoch: 1}
	second := Stamp{Moment: Moment{2, 1}, Epoch: 1, Before: VectorTime{{1, 1}}}
	third := Stamp{Moment: Moment{3, 1}, Epoch: 1, Before: VectorTime{{1, 1}}}
	for _, step := range []struct {
		st   Stamp
		want int
	}{{second, 0}, {first, 0}, {third, 1}} { // the third is in a race with the second, which is still there
		if got := r.write(step.st, 0, 8); len(got) != step.want {
			t.Errorf("%v: %d races %v, want %d", step.st.Moment, len(got), got, step.want)
		}
	}
}

// TestShadowEpochs: an epoch is a barrier, and what is late from the one before is nothing.
func TestShadowEpochs(t *testing.T) {
	var r racyRun
	for _, step := range []struct {
		st   Stamp
		want int
	}{
		{Stamp{Moment: Moment{1, 1}, Epoch: 1}, 0},
		{Stamp{Moment: Moment{2, 1}, Epoch: 2}, 0},
		{Stamp{Moment: Moment{3, 1}, Epoch: 1}, 0},
		{Stamp{Moment: Moment{4, 1}, Epoch: 2}, 1},
	} {
		if got := r.write(step.st, 0, 8); len(got) != step.want {
			t.Errorf("%v of epoch %d: races %v, want %d", step.st.Moment, step.st.Epoch, got, step.want)
		}
	}
}

// TestShadowForgets: what is kept depends on the size of the page, not on how often it is written.
func TestShadowForgets(t *testing.T) {
	r, rng := newRacyRun(), rand.New(rand.NewPCG(1, 1))
	for i := range 10_000 {
		n := pagetable.NodeID(1 + i%3)
		start := rng.IntN(64)
		r.step(racyStep{node: n, start: start, end: start + 1 + rng.IntN(64-start)})
		r.intervals[n]++
	}
	if n := len(r.shadow.kept); n > 10 {
		t.Errorf("%d stamps for a page of 8 words", n)
	}
}

// TestMomentsWrapAround: an interval's number is compared by what lies between.
func TestMomentsWrapAround(t *testing.T) {
	old, young := Moment{1, 1<<32 - 2}, Moment{1, 3}
	var v VectorTime
	v.Add(old)
	if v.Has(young) {
		t.Errorf("%v is taken for one before %v", young, old)
	}
	v.Add(young)
	v.Add(old)
	if !v.Has(young) || !v.Has(old) || len(v) != 1 {
		t.Errorf("%v lacks a moment", v)
	}
}

// naive is the twin of Order and Shadow: it keeps every step, and which came before which, one pair at a time.
type naive struct {
	steps  []racyStep
	before []map[int]bool // of each step: all that happened before
	last   map[pagetable.NodeID]int
	locked map[uint64][]int // releases of each lock
}

func (v *naive) step(s racyStep) (racy bool) {
	me, set := len(v.steps), map[int]bool{}
	after := func(i int) {
		set[i] = true
		maps.Copy(set, v.before[i])
	}
	if i, ok := v.last[s.node]; ok {
		after(i)
	}
	if s.acquire != 0 {
		for _, i := range v.locked[s.acquire] {
			after(i)
		}
	}
	for i, o := range v.steps {
		overlap := s.start < o.end && o.start < s.end
		racy = racy || overlap && o.node != s.node && !set[i]
	}
	v.steps, v.before, v.last[s.node] = append(v.steps, s), append(v.before, set), me
	if s.release != 0 {
		v.locked[s.release] = append(v.locked[s.release], me)
	}
	return racy
}

// TestShadowAgainstNaive compares random steps up to the first race, which both have to see at the same step.
// Each release of a lock joins what earlier ones told, as those of a semaphore do.
func TestShadowAgainstNaive(t *testing.T) {
	first, count := seeds(t, 2000, 100_000)
	races := 0
	for seed := first; seed < first+uint64(count); seed++ {
		rng := rand.New(rand.NewPCG(seed, 2))
		r, twin := newRacyRun(), &naive{last: map[pagetable.NodeID]int{}, locked: map[uint64][]int{}}
		nodes := 2 + rng.IntN(3)
		for n := range nodes {
			r.order(pagetable.NodeID(n + 1))
		}
		for i := range 60 {
			s := racyStep{node: pagetable.NodeID(1 + rng.IntN(nodes))}
			switch rng.IntN(5) {
			case 0:
				s.start = 8 * rng.IntN(8)
				s.end = s.start + 8
			case 1, 2:
				s.release = 1 + rng.Uint64N(3)
			default:
				s.acquire = 1 + rng.Uint64N(3)
			}
			got, want := len(r.step(s)) > 0, twin.step(s)
			if got != want {
				t.Fatalf("seed %d, step %d, %+v: race %v, want %v\nrepeat with: PAGEMESH_SEED=%d go test ./coherence -run '^%s$'",
					seed, i, s, got, want, seed, t.Name())
			}
			if want {
				races++
				break
			}
		}
	}
	if count > 10 && (races == 0 || races == count) {
		t.Errorf("%d races in %d runs", races, count)
	}
}

// BenchmarkShadow answers what it costs to look for races in a page of 4 KiB that is written as a whole by one node
// and by two in turn, beside what it costs to take the diff. The words differ in part, as those of floating-point
// numbers do.
func BenchmarkShadow(b *testing.B) {
	page, twin := make([]byte, 4096), make([]byte, 4096)
	for i := range page {
		if i%8 < 6 || i%24 < 8 {
			page[i] = byte(i) | 1
		}
	}
	diff := TakeDiff(nil, page, bytes.Clone(twin))
	b.Run("diff", func(b *testing.B) {
		b.SetBytes(4096)
		for b.Loop() {
			clear(twin)
			diff = TakeDiff(diff[:0], page, twin)
		}
	})
	for nodes := range 2 {
		b.Run(fmt.Sprintf("writers=%d", nodes+1), func(b *testing.B) {
			b.SetBytes(4096)
			var s Shadow
			for i := uint32(1); b.Loop(); i++ {
				m := Moment{pagetable.NodeID(1 + int(i)%(nodes+1)), i}
				s.Write(Stamp{Moment: m, Epoch: 1, Before: VectorTime{{1, i}, {2, i}}}, diff, 4096, nil)
			}
		})
	}
}
