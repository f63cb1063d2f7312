package pagetable_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

func TestHashedPlacementIsFair(t *testing.T) {
	const pages, slots = 1 << 16, 7
	p := pagetable.Placement{Kind: pagetable.Hashed, Nodes: []pagetable.NodeID{1, 2, 3, 4, 5, 6, 7}}
	count := map[pagetable.NodeID]int{}
	same := 0 // neighbours with the same home
	for i := range uint64(pages) {
		count[p.Home(i, pages)]++
		if i > 0 && p.Home(i-1, pages) == p.Home(i, pages) {
			same++
		}
	}
	const fair = pages / slots
	for n, c := range count {
		if c < fair*95/100 || c > fair*105/100 {
			t.Errorf("%v is the home of %d pages, want %d within 5%%", n, c, fair)
		}
	}
	if same < fair*95/100 || same > fair*105/100 {
		t.Errorf("%d neighbours share a home, want %d within 5%%", same, fair)
	}
}

// Nodes of different builds must find the same homes, so the mapping is pinned.
func TestHashedPlacementNeverChanges(t *testing.T) {
	p := pagetable.Placement{Kind: pagetable.Hashed, Nodes: []pagetable.NodeID{1, 2, 3, 4}}
	var got []pagetable.NodeID
	for _, i := range []uint64{0, 1, 2, 3, 4, 1000, pagetable.MaxPageIndex} {
		got = append(got, p.Home(i, pagetable.MaxPageIndex+1))
	}
	if want := []pagetable.NodeID{4, 3, 3, 1, 2, 1, 4}; !slices.Equal(got, want) {
		t.Errorf("homes %v, want %v", got, want)
	}
}

func TestBlockedPlacementGivesEqualRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 20).Draw(t, "slots")
		pages := rapid.Uint64Range(1, 300).Draw(t, "pages")
		p := pagetable.Placement{Kind: pagetable.Blocked}
		for i := range slots {
			p.Nodes = append(p.Nodes, pagetable.NodeID(100-i))
		}
		runs := make([]uint64, slots)
		last := 0
		for i := range pages {
			slot := slices.Index(p.Nodes, p.Home(i, pages))
			if slot < last {
				t.Fatalf("page %d is in slot %d, its predecessor in %d", i, slot, last)
			}
			last = slot
			runs[slot]++
		}
		if slices.Max(runs)-slices.Min(runs) > 1 {
			t.Fatalf("runs of %v pages", runs)
		}
	})
}

func TestBlockedPlacementOfTheLargestRegion(t *testing.T) {
	const pages = pagetable.MaxPageIndex + 1
	p := pagetable.Placement{Kind: pagetable.Blocked}
	for n := range pagetable.NodeID(1 << 16) {
		p.Nodes = append(p.Nodes, n+1)
	}
	if got := p.Home(pages-1, pages); got != 1<<16 {
		t.Errorf("the last page's home is %v", got)
	}
}

func TestReplaceKeepsSlots(t *testing.T) {
	p := pagetable.Placement{Kind: pagetable.Blocked, Nodes: []pagetable.NodeID{1, 2, 1, 3}}
	q := p.Replace(1, 9)
	if want := []pagetable.NodeID{9, 2, 9, 3}; q.Kind != p.Kind || !slices.Equal(q.Nodes, want) {
		t.Errorf("Replace(1, 9) = %v, want nodes %v", q, want)
	}
	if !slices.Equal(p.Nodes, []pagetable.NodeID{1, 2, 1, 3}) {
		t.Errorf("Replace changed the original to %v", p)
	}
}

func TestPlacementValidate(t *testing.T) {
	nodes := []pagetable.NodeID{1, 2}
	tests := []struct {
		p    pagetable.Placement
		want string
	}{
		{pagetable.Placement{Kind: pagetable.Hashed, Nodes: nodes}, ""},
		{pagetable.Placement{Kind: pagetable.Blocked, Nodes: nodes}, ""},
		{pagetable.Placement{Kind: 2, Nodes: nodes}, "want hashed or blocked"},
		{pagetable.Placement{}, "name at least one"},
		{pagetable.Placement{Nodes: []pagetable.NodeID{1, 0}}, "0 is no node"},
	}
	for _, test := range tests {
		wantError(t, test.p.Validate(), test.want)
	}
}

func TestHomePreconditions(t *testing.T) {
	p := pagetable.Placement{Nodes: []pagetable.NodeID{1}}
	wantPanic(t, "page 8 of a region of 8 pages", func() { p.Home(8, 8) })
	wantPanic(t, "without nodes", func() { pagetable.Placement{}.Home(0, 8) })
}
