package dsm_test

import (
	"context"
	"fmt"
	"testing"

	"pagemesh/dsm"
	"pagemesh/dsm/layout"
)

type odd [3]int32

// named returns what reports call a byte of a region.
func named(t *testing.T, s *dsm.Space, region string, off int64) string {
	t.Helper()
	pages, err := s.Pages(patient(t), dsm.PageQuery{Region: region, Page: off / 4096})
	if err != nil || len(pages) != 1 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	return layout.NamesOf(pages[0].Types).At(uint64(off))
}

// TestPagesKnowTypes: what one node says is known to whoever asks another one.
func TestPagesKnowTypes(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	ctx := patient(t)
	view := func(region, other *dsm.Region) { // which has to fetch the page from the other one
		if err := other.Store(ctx, 0, 1); err != nil {
			t.Fatal(err)
		}
		v, err := dsm.ViewOf[stats](ctx, region, 0, 1, write)
		if err != nil {
			t.Fatal(err)
		}
		v.Release()
	}
	for _, test := range []struct {
		name string
		say  func(r []*dsm.Region)
		off  int64
		want string
	}{
		{"nobody", func([]*dsm.Region) {}, 32, ""},
		{"a typed view", func(r []*dsm.Region) { view(r[1], r[0]) }, 24 + 8, "[]stats[1].Misses"},
		{"a declaration", func(r []*dsm.Region) { _ = dsm.Declare[stats](r[1]) }, 48 + 20, "[]stats[2].Last[1].At"},
		{"both", func(r []*dsm.Region) { _ = dsm.Declare[stats](r[0]); view(r[1], r[0]) }, 0, "[]stats[0].Hits"},
		{"an element across pages", func(r []*dsm.Region) { _ = dsm.Declare[odd](r[0]) }, 4096 + 2, "[][3]int32[341][1]"},
		{"what contradicts itself", func(r []*dsm.Region) { view(r[1], r[0]); _ = dsm.Declare[odd](r[1]) }, 0, ""},
		{"nodes that contradict each other", func(r []*dsm.Region) { view(r[0], r[1]); _ = dsm.Declare[odd](r[1]) }, 0, ""},
		{"no size", func(r []*dsm.Region) { _ = dsm.Declare[struct{}](r[1]) }, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			regions := openRegions(t, nodes, test.name, dsm.RegionOptions{Size: 1 << 14, Placement: homed(nodes[0])})
			for _, r := range regions { // so that there is something to know
				for off := int64(0); off < 1<<14; off += 4096 {
					if err := r.Store(ctx, off, 1); err != nil {
						t.Fatal(err)
					}
				}
			}
			test.say(regions)
			if got := named(t, nodes[0], test.name, test.off); got != test.want {
				t.Errorf("byte %d is %q, want %q", test.off, got, test.want)
			}
		})
	}
	if err := dsm.Declare[*int](openRegions(t, nodes, "pointers", dsm.RegionOptions{Size: 8})[0]); err == nil {
		t.Error("pointers may be declared")
	}
}

type counter struct{ _, N int64 }

// allocateTyped allocates objects of several types, the last ones in a heap that is full, and returns the offsets of
// bytes in them.
func allocateTyped(ctx context.Context, s *dsm.Space, r *dsm.Region) (offs []int64, err error) {
	h, err := dsm.NewHeap(s, r)
	if err != nil {
		return nil, err
	}
	for range 2 {
		c, err := dsm.New[counter](ctx, h)
		if err != nil {
			return nil, err
		}
		offs = append(offs, c.Offset(r)+8)
	}
	list, err := dsm.MakeSlice[stats](ctx, h, 5)
	if err != nil {
		return nil, err
	}
	large, err := dsm.MakeSlice[stats](ctx, h, 3000)
	if err != nil {
		return nil, err
	}
	return append(offs, list.Index(3).Offset(r), large.Index(2999).Offset(r)+8), nil
}

// heapSize has room for two chunks and a run of two.
const heapSize = 5 << 16

var heapNames = fmt.Sprint([]string{
	"counter@65600.N", "counter@65616.N", "[]stats@131136[3].Hits", "[]stats@196672[2999].Misses",
})

func TestHeapsKnowTypes(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "heap", dsm.RegionOptions{Size: heapSize})
	offs, err := allocateTyped(patient(t), nodes[1], regions[1])
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, off := range offs {
		names = append(names, named(t, nodes[0], "heap", off))
	}
	if got := fmt.Sprint(names); got != heapNames {
		t.Errorf("names %s, want %s", got, heapNames)
	}
}

// TestFullHeapTakesAnyType: a heap without another chunk gives what it has, and no name to it.
func TestFullHeapTakesAnyType(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	r := openRegions(t, nodes, "heap", dsm.RegionOptions{Size: 2 << 16})[0]
	h, err := dsm.NewHeap(nodes[0], r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dsm.New[counter](patient(t), h); err != nil {
		t.Fatal(err)
	}
	p, err := dsm.New[[2]float64](patient(t), h)
	if err != nil {
		t.Fatalf("another type of the same size: %v", err)
	}
	if got := named(t, nodes[0], "heap", p.Offset(r)); got != "" {
		t.Errorf("it is called %s", got)
	}
	if _, err := dsm.New[[40]float64](patient(t), h); err == nil {
		t.Error("there was room for another size")
	}
}

func init() {
	programs["types"] = func(ctx context.Context, p *testProgram) error {
		heap, err := p.Region(ctx, "heap", dsm.RegionOptions{Size: heapSize})
		if err != nil {
			return err
		}
		if p.rank == 0 {
			_, err = allocateTyped(ctx, p.Space, heap)
		}
		if err != nil {
			return err
		}
		viewed, err := p.Region(ctx, "viewed", dsm.RegionOptions{Size: 4096})
		if err != nil {
			return err
		}
		v, err := dsm.ViewOf[stats](ctx, viewed, 0, 1, write)
		if err != nil {
			return err
		}
		v.Release()
		return p.barrier(ctx, "said")
	}
}

// TestProgramsSayTypes: a node knows the types of the programs that are attached to it.
func TestProgramsSayTypes(t *testing.T) {
	nodes, sockets := serving(t, 2)
	runPrograms(t, "types", sockets, 0)
	var names []string
	for _, off := range []int64{65600 + 8, 65616 + 8, 131136 + 72, 196672 + 2999*24 + 8} {
		names = append(names, named(t, nodes[0], "heap", off))
	}
	if got := fmt.Sprint(names); got != heapNames {
		t.Errorf("names %s, want %s", got, heapNames)
	}
	if got := named(t, nodes[1], "viewed", 8); got != "[]stats[0].Misses" {
		t.Errorf("viewed is called %q", got)
	}
}
