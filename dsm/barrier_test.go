package dsm_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"pagemesh/dsm"
)

// TestBarrierEndsWithItsHome: who waits at a barrier whose home closes, after having taken part in it,
// is told, and who has gone, wherever the barrier was homed.
func TestBarrierEndsWithItsHome(t *testing.T) {
	inMemory(t, 4, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		const barriers = 12 // some of them are homed at the node that closes
		name := func(i int) string { return fmt.Sprintf("barrier %d", i) }
		for i := range barriers {
			each(nodes, func(_ int, s *dsm.Space) {
				if err := s.Barrier(name(i), len(nodes)).Wait(patient(t)); err != nil {
					t.Error(err)
				}
			})
		}
		ends := make([]error, barriers)
		for i := range ends {
			go func() { ends[i] = nodes[3].Barrier(name(i), len(nodes)).Wait(patient(t)) }()
		}
		synctest.Wait()
		if err := nodes[1].Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for i, err := range ends {
			wantError(t, name(i), err, dsm.ErrNodeLost)
			if gone := nodes[1].Self().String(); err != nil && !contains(err, gone) {
				t.Errorf("%s: error is %v, want one that names %s", name(i), err, gone)
			}
		}
	})
}
