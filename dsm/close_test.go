package dsm_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/transport"
)

// TestBarrierThenClose: programs that are done meet at a barrier, close and go, each when it likes. The
// first to go may be the barrier's home, while others still wait to be released.
func TestBarrierThenClose(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { barrierThenClose(t, seed) })
		})
	}
}

func barrierThenClose(t *testing.T, seed uint64) {
	net := transport.NewMemoryNetwork(seed, transport.Faults{MaxDelay: 50 * time.Millisecond})
	nodes := openNodes(t, 4, dsm.OnMemory(net, dsm.Config{}))
	each(nodes, func(i int, s *dsm.Space) {
		if err := s.Barrier("end", len(nodes)).Wait(patient(t)); err != nil {
			t.Errorf("rank %d: %v", i, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("rank %d: %v", i, err)
		}
	})
	time.Sleep(time.Second) // a probe of memberlist ends with its timeout only
}
