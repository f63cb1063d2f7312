package dsm

import (
	"fmt"
	"testing"

	"pagemesh/pagetable"
)

// testRegion returns a region without memory, of which only the shape matters.
func testRegion(pages uint64) *region {
	r := &region{shift: 12}
	r.meta.Store(&pagetable.Region{Name: "r", Size: pages << 12, PageSize: 4096})
	return r
}

func TestFaultsInARowAreReadAhead(t *testing.T) {
	for _, test := range []struct {
		name   string
		access pagetable.Access
		faults []uint64
		want   string
	}{
		{"front to back", pagetable.ReadAccess, []uint64{0, 1, 4, 9}, "[] [2,4) [5,9) [10,18)"},
		{"the pages are slower", pagetable.ReadAccess, []uint64{0, 1, 2, 3, 4, 7}, "[] [2,4) [] [4,8) [] [8,16)"},
		{"far apart", pagetable.ReadAccess, []uint64{0, 10, 20, 30}, "[] [] [] []"},
		{"two streams", pagetable.ReadAccess, []uint64{0, 50, 1, 51, 4}, "[] [] [2,4) [52,54) [5,9)"},
		{"to the end", pagetable.ReadAccess, []uint64{96, 97, 99}, "[] [98,100) []"},
		{"the last page", pagetable.ReadAccess, []uint64{99, 98, 99}, "[] [] []"},
		{"writes ask for less", pagetable.WriteAccess, []uint64{0, 1, 4, 9, 18, 35}, "[] [2,4) [5,9) [10,18) [19,35) [36,52)"},
	} {
		r, ss := testRegion(100), &streams{}
		var got []string
		for _, index := range test.faults {
			from, to := ss.follow(r, index, test.access)
			if from == to {
				got = append(got, "[]")
			} else {
				got = append(got, fmt.Sprintf("[%d,%d)", from, to))
			}
		}
		if s := fmt.Sprint(got); s != "["+test.want+"]" {
			t.Errorf("%s: %s, want %s", test.name, s, test.want)
		}
	}
}
