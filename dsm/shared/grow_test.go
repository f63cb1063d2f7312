package shared

import (
	"math/bits"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// openOne opens a map of one stripe at a node of its own.
func openOne(t *testing.T, c pagetable.Consistency) *Map[uint64, uint64] {
	t.Helper()
	s, err := dsm.Open(t.Context(), dsm.Config{Cluster: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m, err := OpenMap[uint64, uint64](t.Context(), s, "map", MapOptions{Stripes: 1, Capacity: 1000, Consistency: c})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fill puts in the keys [lo, hi), each with itself as its value.
func fill(t *testing.T, m *Map[uint64, uint64], lo, hi uint64) {
	t.Helper()
	for key := lo; key < hi; key++ {
		if err := m.Put(t.Context(), key, key); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSplitCutOff: whatever was done of a split when its program died, all keys are found, each once, and others
// can be put in.
func TestSplitCutOff(t *testing.T) {
	for _, c := range []pagetable.Consistency{pagetable.Sequential, pagetable.Release} {
		for steps := range 4 {
			for _, use := range []func(*testing.T, *Map[uint64, uint64], uint64){get, put, count} {
				m := openOne(t, c)
				keys := uint64(m.slots - 1)
				fill(t, m, 0, keys)
				splitUpTo(t, m, steps)
				use(t, m, keys)
				fill(t, m, keys, 10*keys)
				get(t, m, 10*keys)
				count(t, m, 10*keys)
			}
		}
	}
}

// splitUpTo splits the only bucket of a map and takes all steps but the first ones back. What a sibling has got is
// of no meaning before its word says so.
func splitUpTo(t *testing.T, m *Map[uint64, uint64], steps int) {
	t.Helper()
	ctx := t.Context()
	x := m.begin(0)
	if err := m.locate(ctx, x); err != nil {
		t.Fatal(err)
	}
	before := x.b.word
	if err := m.split(ctx, x); err != nil {
		t.Fatal(err)
	}
	for step, undo := range []struct {
		off  int64
		word bucketWord
	}{{x.sibling.off + bucketNext, 0}, {x.b.off, before}, {x.sibling.off, 0}} {
		if step < steps {
			continue
		}
		if err := m.r.Store(ctx, undo.off, uint64(undo.word)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSplitHalfHome: of a split in a release region, the sibling's page has got home and the bucket's has not.
func TestSplitHalfHome(t *testing.T) {
	m := openOne(t, pagetable.Release)
	keys := uint64(m.slots - 1)
	fill(t, m, 0, keys)
	splitUpTo(t, m, 3)
	if err := m.r.Store(t.Context(), m.offset(0, 0), uint64(bucketWord(0).next(1<<keys-1, 0))); err != nil {
		t.Fatal(err)
	}
	if err := m.repair(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	m.stripes[0].depth.Store(0)
	for key := range keys {
		if _, err := m.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for key := range keys {
		m.stripes[0].depth.Store(1)
		if v, found, err := m.Get(t.Context(), key); found || err != nil {
			t.Errorf("key %d: %d, %v, %v", key, v, found, err)
		}
	}
}

func get(t *testing.T, m *Map[uint64, uint64], keys uint64) {
	t.Helper()
	for key := range keys {
		if v, found, err := m.Get(t.Context(), key); v != key || !found || err != nil {
			t.Errorf("key %d: %d, %v, %v", key, v, found, err)
		}
	}
}

func put(t *testing.T, m *Map[uint64, uint64], keys uint64) {
	t.Helper()
	fill(t, m, 0, keys)
	get(t, m, keys)
}

func count(t *testing.T, m *Map[uint64, uint64], keys uint64) {
	t.Helper()
	seen := map[uint64]bool{}
	err := m.Range(t.Context(), func(key, _ uint64) bool {
		if seen[key] {
			t.Errorf("key %d comes twice", key)
		}
		seen[key] = true
		return true
	})
	if n, lenErr := m.Len(t.Context()); n != int(keys) || len(seen) != int(keys) || err != nil || lenErr != nil {
		t.Errorf("length %d, %d keys, want %d, %v, %v", n, len(seen), keys, err, lenErr)
	}
}

// TestHashSpreads: keys that are numbers in a row fill buckets as evenly as random ones would.
func TestHashSpreads(t *testing.T) {
	const n, buckets = 1 << 16, 1 << 10
	for _, step := range []uint64{1, 8, 1 << 12, 1 << 32, 1 << 48} {
		h := newHasher[[2]uint64]()
		var low, middle [buckets]int
		for i := range uint64(n) {
			sum := h.hash([2]uint64{i * step, step})
			low[sum%buckets]++
			middle[sum>>32%buckets]++
		}
		for _, counts := range [][buckets]int{low, middle} {
			squares := 0.0
			for _, c := range counts {
				d := float64(c - n/buckets)
				squares += d * d / (n / buckets)
			}
			if squares > 1.25*buckets { // it is buckets-1 on average, 45 its standard deviation
				t.Errorf("step %d: chi squared is %.0f for %d buckets", step, squares, buckets)
			}
		}
	}
}

// TestGeometry: every bucket lies in one page, and in one stripe.
func TestGeometry(t *testing.T) {
	for entry := 1; entry < pagetable.MaxPageSize/leastSlots; entry = entry*5/4 + 1 {
		for _, o := range []MapOptions{{}, {Stripes: 1}, {Stripes: 33, PageSize: 16384}, {Capacity: 1}, {Capacity: 1 << 30, PageSize: 256}} {
			g, err := o.geometry(entry)
			if err != nil {
				t.Fatal(entry, o, err)
			}
			end := g.offset(g.count-1, 1<<g.levels)
			switch {
			case g.slots < leastSlots || g.slots > maxSlots || bucketSlots+g.slots*entry > g.bucket:
				t.Errorf("%d bytes, %+v: %d slots in %d bytes", entry, o, g.slots, g.bucket)
			case g.page%g.bucket != 0 || bits.OnesCount(uint(g.page)) != 1 || g.bucket<<g.levels%g.page != 0:
				t.Errorf("%d bytes, %+v: %d buckets of %d bytes in pages of %d", entry, o, 1<<g.levels, g.bucket, g.page)
			case uint64(end) != g.size() || g.offset(0, 0) != int64(g.page):
				t.Errorf("%d bytes, %+v: buckets from %d to %d in %d bytes", entry, o, g.offset(0, 0), end, g.size())
			}
		}
	}
}

// TestStripesShareNothing: two nodes that change keys of different stripes don't disturb each other.
func TestStripesShareNothing(t *testing.T) {
	const keys, rounds = 200, 10
	var maps []*Map[uint64, uint64]
	var nodes []*dsm.Space
	var seeds []string
	for range 2 {
		s, err := dsm.Open(t.Context(), dsm.Config{Cluster: t.Name(), Seeds: seeds})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		m, err := OpenMap[uint64, uint64](t.Context(), s, "map", MapOptions{Stripes: 8})
		if err != nil {
			t.Fatal(err)
		}
		nodes, seeds, maps = append(nodes, s), []string{s.Addr()}, append(maps, m)
	}
	change := func(i int) {
		for key := range uint64(keys) {
			if maps[i].begin(key).stripe%2 == i {
				fill(t, maps[i], key, key+1)
			}
		}
	}
	change(0)
	change(1)
	before := nodes[0].Stats().Counts
	for range rounds {
		change(0)
		change(1)
	}
	if after := nodes[0].Stats().Counts; after != before {
		t.Errorf("what has happened to pages grew from %+v to %+v", before, after)
	}
}
