package pagetable_test

import (
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// testRegion returns a valid region with pages of 4 KiB, homed at node 1.
func testRegion(id pagetable.RegionID, name string, base pagetable.Addr, size uint64) pagetable.Region {
	return pagetable.Region{
		ID: id, Name: name, Base: base, Size: size, PageSize: pagetable.DefaultPageSize,
		Placement: pagetable.Placement{Nodes: []pagetable.NodeID{1}},
	}
}

func TestRegionPages(t *testing.T) {
	tests := []struct {
		size     uint64
		pageSize int
		pages    uint64
	}{
		{1, 4096, 1}, {4095, 4096, 1}, {4096, 4096, 1}, {4097, 4096, 2},
		{1 << 40, 4096, 1 << 28}, {1 << 40, 256, 1 << 32},
		{pagetable.MaxRegionSize, pagetable.MinPageSize, 1 << 36},
	}
	for _, test := range tests {
		r := pagetable.Region{Base: pagetable.WindowStart, Size: test.size, PageSize: test.pageSize}
		if got := r.Pages(); got != test.pages {
			t.Errorf("%d bytes in pages of %d: %d pages, want %d", test.size, test.pageSize, got, test.pages)
		}
		if got, want := r.Range().Len(), test.pages*uint64(test.pageSize); got != want {
			t.Errorf("%v has %d bytes, want whole pages: %d", r.Range(), got, want)
		}
	}
}

func TestRegionHome(t *testing.T) {
	r := testRegion(1, "a", pagetable.WindowStart, 4*4096+1)
	r.Placement = pagetable.Placement{Kind: pagetable.Blocked, Nodes: []pagetable.NodeID{1, 2, 3, 4, 5}}
	for i := range r.Pages() {
		if got, want := r.Home(i), pagetable.NodeID(i+1); got != want {
			t.Errorf("Home(%d) = %v, want %v", i, got, want)
		}
	}
}

func TestRegionValidate(t *testing.T) {
	tests := []struct {
		change func(r *pagetable.Region)
		want   string
	}{
		{func(r *pagetable.Region) {}, ""},
		{func(r *pagetable.Region) { r.Name = strings.Repeat("x", 128) }, ""},
		{func(r *pagetable.Region) { r.Name = strings.Repeat("x", 129) }, "of 129 bytes: choose one of 1 to 128"},
		{func(r *pagetable.Region) { r.Name = "" }, "of 0 bytes: choose one"},
		{func(r *pagetable.Region) { r.Size = 0 }, "give it at least one byte"},
		{func(r *pagetable.Region) { r.Size = pagetable.MaxRegionSize }, ""},
		{func(r *pagetable.Region) { r.Size = pagetable.MaxRegionSize + 1 }, "fit the address window"},
		{func(r *pagetable.Region) { r.PageSize = 256 }, ""},
		{func(r *pagetable.Region) { r.PageSize = 2 << 20 }, ""},
		{func(r *pagetable.Region) { r.PageSize = 0 }, "power of two from 256 to 2097152"},
		{func(r *pagetable.Region) { r.PageSize = -4096 }, "power of two"},
		{func(r *pagetable.Region) { r.PageSize = 128 }, "power of two"},
		{func(r *pagetable.Region) { r.PageSize = 4 << 20 }, "power of two"},
		{func(r *pagetable.Region) { r.PageSize = 5000 }, "power of two"},
	}
	for _, test := range tests {
		r := testRegion(1, "a", pagetable.WindowStart, 100)
		test.change(&r)
		wantError(t, r.Validate(), test.want)
	}
}
