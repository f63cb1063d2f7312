package dsm_test

import (
	"errors"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// TestGuardedRange: nodes that lock a mutex in turn fault on nothing that it guards, and in a release region not even
// Lock has to ask for it after a while.
func TestGuardedRange(t *testing.T) {
	for _, c := range []pagetable.Consistency{pagetable.Sequential, pagetable.Release} {
		t.Run(c.String(), func(t *testing.T) {
			const size, rounds = 16 * 256, 20
			nodes := openNodes(t, 2, dsm.Config{})
			regions := openRegions(t, nodes, "shared", dsm.RegionOptions{Size: size, PageSize: 256, Consistency: c})
			var mutexes []*dsm.Mutex
			for i, s := range nodes {
				mutexes = append(mutexes, s.Mutex("m"))
				if err := mutexes[i].Guards(regions[i], 0, size); err != nil {
					t.Fatal(err)
				}
			}
			for round := range rounds {
				for i, s := range nodes {
					before := faults(t, s)
					if _, err := mutexes[i].Lock(patient(t)); err != nil {
						t.Fatal(err)
					}
					asked := faults(t, s)
					if c == pagetable.Release && round > 0 && asked != before {
						t.Errorf("round %d: Lock at node %d asks for %d pages", round, i, asked-before)
					}
					for at := int64(0); at < size; at += 128 {
						if b := get(t, regions[i], at); b != byte(2*round+i) {
							t.Errorf("round %d, node %d: byte %d is %d", round, i, at, b)
						}
						put(t, regions[i], at, byte(2*round+i+1))
					}
					if more := faults(t, s) - asked; more != 0 {
						t.Errorf("round %d: %d faults of node %d under the mutex", round, more, i)
					}
					if err := mutexes[i].Unlock(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// faults returns how many accesses of a node had to wait for another one.
func faults(t testing.TB, s *dsm.Space) uint64 {
	t.Helper()
	c := pageCounts(t, s)
	return c.ReadFaults + c.WriteFaults + c.Upgrades
}

func TestGuardsAreChecked(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	r := openRegions(t, nodes, "large", dsm.RegionOptions{Size: 2 * dsm.MaxGuarded})[0]
	m := nodes[0].Mutex("m")
	for _, bad := range []struct{ off, n int64 }{{0, dsm.MaxGuarded + 1}, {-1, 1}, {2 * dsm.MaxGuarded, 1}} {
		if err := m.Guards(r, bad.off, bad.n); !errors.Is(err, dsm.ErrRange) {
			t.Errorf("guards %d bytes at %d: %v, want ErrRange", bad.n, bad.off, err)
		}
	}
	if err := errors.Join(m.Guards(r, 0, dsm.MaxGuarded-1), m.Guards(r, dsm.MaxGuarded, 1)); err != nil {
		t.Error(err)
	}
	if err := m.Guards(r, 0, 1); !errors.Is(err, dsm.ErrRange) {
		t.Errorf("one byte more than MaxGuarded: %v, want ErrRange", err)
	}
}
