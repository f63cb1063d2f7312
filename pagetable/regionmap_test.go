package pagetable_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// regionList is the naive twin of a RegionMap: regions in the order of their insertion.
type regionList []pagetable.Region

func (l regionList) find(match func(pagetable.Region) bool) (pagetable.Region, bool) {
	if i := slices.IndexFunc(l, match); i >= 0 {
		return l[i], true
	}
	return pagetable.Region{}, false
}

func (l regionList) accepts(r pagetable.Region) bool {
	return !slices.ContainsFunc(l, func(o pagetable.Region) bool {
		return o.Name == r.Name || o.ID == r.ID || o.Range().Overlaps(r.Range())
	})
}

func (l regionList) firstFit(size, align uint64) pagetable.Addr {
	start := pagetable.WindowStart
	for ; ; start += pagetable.Addr(align) {
		want := pagetable.Range{Start: start, End: start + pagetable.Addr((size+align-1)/align*align)}
		if _, taken := l.find(func(o pagetable.Region) bool { return o.Range().Overlaps(want) }); !taken {
			return start
		}
	}
}

// drawRegion returns a valid region in the first 64 KiB or so of the window, so that many collide.
func drawRegion(t *rapid.T) pagetable.Region {
	pageSize := rapid.SampledFrom([]int{256, 512, 4096}).Draw(t, "page size")
	offset := rapid.IntRange(0, 1<<16/pageSize).Draw(t, "page") * pageSize
	r := testRegion(
		pagetable.RegionID(rapid.Uint32Range(1, 30).Draw(t, "id")),
		fmt.Sprintf("region %d", rapid.IntRange(1, 30).Draw(t, "name")),
		pagetable.WindowStart+pagetable.Addr(offset),
		rapid.Uint64Range(1, 10_000).Draw(t, "size"))
	r.PageSize = pageSize
	return r
}

func checkRegionMap(t *rapid.T, m *pagetable.RegionMap, want regionList) {
	t.Helper()
	sorted := slices.SortedFunc(slices.Values(want), func(a, b pagetable.Region) int {
		return int(int64(a.Base) - int64(b.Base))
	})
	got := slices.Collect(m.All())
	if m.Len() != len(want) || !slices.EqualFunc(got, sorted, sameRegion) {
		t.Fatalf("map holds %d regions %v, want %v", m.Len(), got, sorted)
	}
}

func sameRegion(a, b pagetable.Region) bool {
	return fmt.Sprint(a) == fmt.Sprint(b) && a.Size == b.Size
}

func checkLookup(t *rapid.T, got pagetable.Region, found bool, want pagetable.Region, exists bool) {
	t.Helper()
	if found != exists || !sameRegion(got, want) {
		t.Fatalf("found %v %v, want %v %v", found, got, exists, want)
	}
}

func TestRegionMapAgreesWithAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, list := pagetable.NewRegionMap(), regionList{}
		other, otherList := m.Clone(), slices.Clone(list)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				checkRegionMap(t, m, list)
				checkRegionMap(t, other, otherList)
			},
			"insert": func(t *rapid.T) {
				r := drawRegion(t)
				ok := list.accepts(r)
				if err := m.Insert(r); (err == nil) != ok {
					t.Fatalf("Insert(%v) = %v, want success %v in %v", r, err, ok, list)
				}
				if ok {
					list = append(list, r)
				}
			},
			"clone": func(t *rapid.T) { other, otherList = m.Clone(), slices.Clone(list) },
			"swap": func(t *rapid.T) {
				m, other = other, m
				list, otherList = otherList, list
			},
			"lookup": func(t *rapid.T) {
				name := fmt.Sprintf("region %d", rapid.IntRange(1, 30).Draw(t, "name"))
				r, found := m.ByName(name)
				want, exists := list.find(func(r pagetable.Region) bool { return r.Name == name })
				checkLookup(t, r, found, want, exists)

				id := pagetable.RegionID(rapid.Uint32Range(0, 30).Draw(t, "id"))
				r, found = m.ByID(id)
				want, exists = list.find(func(r pagetable.Region) bool { return r.ID == id })
				checkLookup(t, r, found, want, exists)

				a := pagetable.WindowStart - 1 + pagetable.Addr(rapid.Uint64Max(80_000).Draw(t, "addr"))
				r, found = m.At(a)
				want, exists = list.find(func(r pagetable.Region) bool { return r.Range().Contains(a) })
				checkLookup(t, r, found, want, exists)
			},
			"first fit": func(t *rapid.T) {
				size := rapid.Uint64Range(1, 20_000).Draw(t, "size")
				align := uint64(256) << rapid.IntRange(0, 8).Draw(t, "align")
				got, err := m.FirstFit(size, align)
				if want := list.firstFit(size, align); err != nil || got != want {
					t.Fatalf("FirstFit(%d, %d) = %v, %v, want %v in %v", size, align, got, err, want, list)
				}
			},
		})
	})
}

func TestRegionMapRefuses(t *testing.T) {
	m := pagetable.NewRegionMap()
	if err := m.Insert(testRegion(1, "first", pagetable.WindowStart+4096, 4097)); err != nil {
		t.Fatal(err)
	}
	at := func(base pagetable.Addr, size uint64) pagetable.Region { return testRegion(2, "second", base, size) }
	tests := []struct {
		r    pagetable.Region
		want string
	}{
		{at(pagetable.WindowStart, 0), "give it at least one byte"},
		{pagetable.Region{ID: 2, Name: "second", Base: pagetable.WindowStart, Size: 1, PageSize: 256},
			`region "second": hashed placement without nodes`},
		{testRegion(0, "second", pagetable.WindowStart, 1), "id 0"},
		{testRegion(1<<24, "second", pagetable.WindowStart, 1), "id 16777216"},
		{at(pagetable.WindowStart+256, 1), "not a multiple of the page size"},
		{at(pagetable.WindowStart-4096, 1), "outside the address window"},
		{at(pagetable.WindowEnd-4096, 4097), "outside the address window"},
		{at(0, 1), "outside the address window"},
		{testRegion(2, "first", pagetable.WindowStart, 1), `the name is taken by r1 "first"`},
		{testRegion(1, "second", pagetable.WindowStart, 1), `the id is taken by r1 "first"`},
		{at(pagetable.WindowStart, 4097), `overlaps r1 "first"`},
		{at(pagetable.WindowStart+2*4096, 1), `overlaps r1 "first"`},
		{at(pagetable.WindowStart, 1<<30), `overlaps r1 "first"`},
	}
	for _, test := range tests {
		wantError(t, m.Insert(test.r), test.want)
	}
	if m.Len() != 1 {
		t.Errorf("%d regions after errors", m.Len())
	}
	wantError(t, m.Insert(at(pagetable.WindowStart, 4096)), "")
}

func TestFirstFitWhenTheWindowIsFull(t *testing.T) {
	m := pagetable.NewRegionMap()
	const rest = 4096
	if err := m.Insert(testRegion(1, "huge", pagetable.WindowStart, pagetable.MaxRegionSize-rest)); err != nil {
		t.Fatal(err)
	}
	if got, err := m.FirstFit(rest, 4096); err != nil || got != pagetable.WindowEnd-rest {
		t.Errorf("FirstFit(the rest) = %v, %v", got, err)
	}
	for _, size := range []uint64{rest + 1, pagetable.MaxRegionSize + 1, 1<<64 - 1} {
		_, err := m.FirstFit(size, 4096)
		wantError(t, err, fmt.Sprintf("no free run of %d bytes", size))
	}
	_, err := m.FirstFit(1, 1<<63)
	wantError(t, err, "no free run")
	wantPanic(t, "size 0, align 4096", func() { m.FirstFit(0, 4096) })
	wantPanic(t, "size 1, align 3", func() { m.FirstFit(1, 3) })
}

func TestTerabyteRegionCostsNothing(t *testing.T) {
	m := pagetable.NewRegionMap()
	r := testRegion(1, "big", pagetable.WindowStart, 1<<40)
	if got := allocatedBytes(func() {
		if err := m.Insert(r); err != nil {
			t.Error(err)
		}
	}); got > 16<<10 {
		t.Errorf("a region of 1 TiB took %d bytes", got)
	}
	clone := func() { m.Clone() }
	few := allocatedBytes(clone)
	for i := range 1000 {
		id := pagetable.RegionID(i + 2)
		if err := m.Insert(testRegion(id, id2name(id), r.Range().End+pagetable.Addr(i*4096), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if many := allocatedBytes(clone); many > few+256 {
		t.Errorf("a clone of 1001 regions took %d bytes, of one %d", many, few)
	}
}

func id2name(id pagetable.RegionID) string { return fmt.Sprintf("region %d", id) }

func TestRegionLoopMayStop(t *testing.T) {
	m := pagetable.NewRegionMap()
	for i := range 3 {
		id := pagetable.RegionID(i + 1)
		if err := m.Insert(testRegion(id, id2name(id), pagetable.WindowStart+pagetable.Addr(i*4096), 1)); err != nil {
			t.Fatal(err)
		}
	}
	for r := range m.All() {
		if r.ID == 2 {
			break
		}
		if r.ID > 2 {
			t.Error("the loop went on after break")
		}
	}
}
