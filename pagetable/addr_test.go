package pagetable_test

import (
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// addresses returns the members of r, one by one; ranges in these tests are small.
func addresses(r pagetable.Range) map[pagetable.Addr]bool {
	set := map[pagetable.Addr]bool{}
	for a := r.Start; a < r.End; a++ {
		set[a] = true
	}
	return set
}

func TestRangeIsASetOfAddresses(t *testing.T) {
	addr := rapid.Map(rapid.Uint64Max(12), func(a uint64) pagetable.Addr { return pagetable.Addr(a) })
	rapid.Check(t, func(t *rapid.T) {
		r := pagetable.Range{Start: addr.Draw(t, "r.Start"), End: addr.Draw(t, "r.End")}
		s := pagetable.Range{Start: addr.Draw(t, "s.Start"), End: addr.Draw(t, "s.End")}
		inR, inS, inBoth := addresses(r), addresses(s), addresses(r.Intersect(s))
		covers, overlaps := true, false
		for a := range pagetable.Addr(14) {
			if r.Contains(a) != inR[a] {
				t.Errorf("%v.Contains(%v) = %v", r, a, r.Contains(a))
			}
			if inBoth[a] != (inR[a] && inS[a]) {
				t.Errorf("%v.Intersect(%v) = %v: wrong for %v", r, s, r.Intersect(s), a)
			}
			covers = covers && (inR[a] || !inS[a])
			overlaps = overlaps || inR[a] && inS[a]
		}
		if r.Len() != uint64(len(inR)) || r.Empty() != (len(inR) == 0) {
			t.Errorf("%v has length %d, empty %v, want %d", r, r.Len(), r.Empty(), len(inR))
		}
		if r.Covers(s) != covers || r.Overlaps(s) != overlaps {
			t.Errorf("%v and %v: covers %v, overlaps %v, want %v, %v",
				r, s, r.Covers(s), r.Overlaps(s), covers, overlaps)
		}
	})
}
