package report_test

import (
	"context"
	"fmt"

	"pagemesh/dsm"
	"pagemesh/dsm/report"
	"pagemesh/pagetable"
)

// Two nodes count in neighbouring fields of one struct, in turn. The report names the fields, and what to do.
func ExampleOf() {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	first, err := dsm.Open(ctx, dsm.Config{})
	check(err)
	defer first.Close()
	second, err := dsm.Open(ctx, dsm.Config{Seeds: []string{first.Addr()}, Rank: 1})
	check(err)
	defer second.Close()

	type stats struct{ Hits, Misses uint64 }
	var regions []*dsm.Region
	for _, s := range []*dsm.Space{first, second} {
		r, err := s.Region(ctx, "stats", dsm.RegionOptions{Size: 16, Placement: dsm.Placement{Nodes: []pagetable.NodeID{first.Self()}}})
		check(err)
		check(dsm.Declare[stats](r))
		regions = append(regions, r)
	}
	check(first.ResetStats(ctx))
	for i := range 2000 {
		_, err := regions[i%2].Add(ctx, int64(8*(i%2)), 1)
		check(err)
	}

	found, err := report.Of(ctx, first)
	check(err)
	f := found.Findings[0]
	fmt.Println(f.Class, f.Title)
	for _, name := range []string{f.Parts[0].Uses[0].Name, f.Parts[1].Uses[0].Name} {
		if name == "[]stats[0].Hits" || name == "[]stats[0].Misses" {
			fmt.Println("a field is named")
		}
	}
	fmt.Println(f.Cures[0].Kind)
	// Output:
	// falsely-shared 2 nodes write different words of this page.
	// a field is named
	// a field is named
	// split
}
