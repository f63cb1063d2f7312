package pagetable_test

import (
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

func TestPageIDCarriesRegionAndIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		region := pagetable.RegionID(rapid.Uint32Max(uint32(pagetable.MaxRegionID)).Draw(t, "region"))
		index := rapid.Uint64Max(pagetable.MaxPageIndex).Draw(t, "index")
		id := pagetable.MakePageID(region, index)
		if id.Region() != region || id.Index() != index {
			t.Fatalf("MakePageID(%d, %d) = %d, region %d, index %d",
				region, index, uint64(id), id.Region(), id.Index())
		}
	})
}

func TestPageIDRefusesWhatDoesNotFit(t *testing.T) {
	wantPanic(t, "too many bits", func() { pagetable.MakePageID(pagetable.MaxRegionID+1, 0) })
	wantPanic(t, "too many bits", func() { pagetable.MakePageID(1, pagetable.MaxPageIndex+1) })
}

func TestTraceForms(t *testing.T) {
	tests := []struct {
		got, want string
	}{
		{pagetable.NodeID(0).String(), "-"},
		{pagetable.NodeID(3).String(), "n3"},
		{pagetable.MakePageID(2, 17).String(), "r2:17"},
		{pagetable.NoAccess.String(), "none"},
		{pagetable.ReadAccess.String(), "read"},
		{pagetable.WriteAccess.String(), "write"},
		{pagetable.Access(9).String(), "access(9)"},
		{pagetable.Hashed.String(), "hashed"},
		{pagetable.Blocked.String(), "blocked"},
		{pagetable.PlacementKind(9).String(), "placement(9)"},
		{pagetable.WindowStart.String(), "0x400000000000"},
		{pagetable.Window().String(), "[0x400000000000, 0x500000000000)"},
		{setOf().String(), "{}"},
		{setOf(70, 3, 1).String(), "{n1 n3 n70}"},
		{testRegion(2, "grid", pagetable.WindowStart, 4000).String(),
			`r2 "grid" [0x400000000000, 0x400000001000)`},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("String() = %s, want %s", test.got, test.want)
		}
	}
}
