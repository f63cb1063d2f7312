package pagetable_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

func setOf(nodes ...pagetable.NodeID) (s pagetable.CopySet) {
	for _, n := range nodes {
		s.Add(n)
	}
	return s
}

// nodeIDs favours the border between the two representations.
func nodeIDs() *rapid.Generator[pagetable.NodeID] {
	return rapid.Map(rapid.OneOf(rapid.Uint32Range(1, 4), rapid.Uint32Range(60, 70), rapid.Uint32Min(1)),
		func(n uint32) pagetable.NodeID { return pagetable.NodeID(n) })
}

func checkCopySet(t *rapid.T, s pagetable.CopySet, want map[pagetable.NodeID]bool) {
	t.Helper()
	nodes := slices.Sorted(maps.Keys(want))
	if got := slices.Collect(s.All()); !slices.Equal(got, nodes) {
		t.Fatalf("All() = %v, want %v", got, nodes)
	}
	first := append(nodes, 0)[0]
	if s.Len() != len(nodes) || s.Empty() != (len(nodes) == 0) || s.First() != first {
		t.Fatalf("%v: Len %d, Empty %v, First %v, want those of %v", s, s.Len(), s.Empty(), s.First(), nodes)
	}
}

func TestCopySetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s pagetable.CopySet
		want := map[pagetable.NodeID]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { checkCopySet(t, s, want) },
			"add": func(t *rapid.T) {
				n := nodeIDs().Draw(t, "node")
				s.Add(n)
				want[n] = true
			},
			"remove": func(t *rapid.T) {
				n := nodeIDs().Draw(t, "node")
				s.Remove(n)
				delete(want, n)
			},
			"has": func(t *rapid.T) {
				if n := nodeIDs().Draw(t, "node"); s.Has(n) != want[n] {
					t.Fatalf("%v.Has(%v) = %v", s, n, s.Has(n))
				}
			},
		})
	})
}

func TestCopySetCopiesAreIndependent(t *testing.T) {
	ids := rapid.SliceOfN(nodeIDs(), 0, 12)
	rapid.Check(t, func(t *rapid.T) {
		original := setOf(ids.Draw(t, "nodes")...)
		want := maps.Collect(func(yield func(pagetable.NodeID, bool) bool) {
			for n := range original.All() {
				if !yield(n, true) {
					return
				}
			}
		})
		assigned, cloned := original, original.Clone()
		for _, n := range ids.Draw(t, "added to copies") {
			assigned.Add(n)
			cloned.Add(n)
		}
		for _, n := range ids.Draw(t, "removed from copies") {
			assigned.Remove(n)
			cloned.Remove(n)
		}
		checkCopySet(t, original, want)
		if !assigned.Equal(cloned) {
			t.Fatalf("same changes, but %v and %v differ", assigned, cloned)
		}
	})
}

func TestCopySetEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(nodeIDs(), 0, 4)
		a, b := ids.Draw(t, "a"), ids.Draw(t, "b")
		want := slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))),
			slices.Compact(slices.Sorted(slices.Values(b))))
		if got := setOf(a...).Equal(setOf(b...)); got != want {
			t.Fatalf("%v.Equal(%v) = %v", a, b, got)
		}
	})
}

func TestCopySetLoopMayStopAndChangeTheSet(t *testing.T) {
	s := setOf(1, 2, 70, 71)
	var seen []pagetable.NodeID
	for n := range s.All() {
		s.Remove(n)
		if n == 2 {
			s.Remove(70)
		}
		if seen = append(seen, n); n == 70 {
			break
		}
	}
	if !slices.Equal(seen, []pagetable.NodeID{1, 2, 70}) || !s.Equal(setOf(71)) {
		t.Errorf("saw %v and left %v", seen, s)
	}
}

func TestCopySetNodeZero(t *testing.T) {
	s := setOf(1, 64)
	s.Remove(0)
	if s.Has(0) || !s.Equal(setOf(1, 64)) {
		t.Errorf("node 0 changed the set to %v, Has(0) = %v", s, s.Has(0))
	}
	wantPanic(t, "0 is no node", func() { s.Add(0) })
}

func TestCopySetOfSmallIDsDoesNotAllocate(t *testing.T) {
	var sum pagetable.NodeID
	allocs := testing.AllocsPerRun(100, func() {
		var s pagetable.CopySet
		for n := pagetable.NodeID(1); n <= 64; n++ {
			s.Add(n)
		}
		for n := range s.All() {
			sum += n
		}
		s.Remove(64)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
