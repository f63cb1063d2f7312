package dsm_test

import (
	"cmp"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// TestPagesOfManyRuns: what nodes tell about pages fits their packets, however scattered the writes.
func TestPagesOfManyRuns(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	const pages, size = 40, 1 << 17
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: pages * size, PageSize: size, Placement: homed(nodes[0])})
	for _, r := range regions {
		v, err := dsm.ViewOf[uint64](patient(t), r, 0, pages*size/8, pagetable.WriteAccess)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(v.Slice()); i += 2 {
			v.Slice()[i]++
		}
		v.Release()
	}
	for _, q := range []dsm.PageQuery{{Page: -1}, {Page: -1, Top: 7}, {Region: "r", Page: -1, Top: 7}} {
		got, err := nodes[0].Pages(patient(t), q)
		if err != nil {
			t.Fatal(err)
		}
		if want := cmp.Or(q.Top, pages); len(got) != want {
			t.Errorf("%+v: %d pages, want %d", q, len(got), want)
		}
		for _, p := range got {
			if len(p.Writers) != 2 || p.Writers[0].Words != size/16 || p.WriteFaults != 1 {
				t.Fatalf("%+v: page %d has %d write faults and writers %.200v", q, p.Page, p.WriteFaults, p.Writers)
			}
		}
	}
}

// TestPagesAreCountedToTheLast: more pages than fit one answer.
func TestPagesAreCountedToTheLast(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	const pages, size = 1<<15 + 100, pagetable.MinPageSize
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: pages * size, PageSize: size, Placement: homed(nodes[0])})
	if err := regions[1].Prefetch(patient(t), 0, pages*size, pagetable.WriteAccess); err != nil {
		t.Fatal(err)
	}
	got, err := nodes[0].Pages(patient(t), dsm.PageQuery{Page: -1})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for _, p := range got {
		seen[p.Page] = true
	}
	if len(got) != pages || len(seen) != pages {
		t.Errorf("%d pages, %d different ones, want %d", len(got), len(seen), pages)
	}
}
