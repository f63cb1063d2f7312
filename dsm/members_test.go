package dsm_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/transport"
)

// TestNewMemberIsReached: what members send to a node right after it joined must not get lost because
// they don't have its connection yet.
func TestNewMemberIsReached(t *testing.T) {
	for range 40 {
		nodes := openNodes(t, 3, dsm.Config{})
		regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096, Placement: homed(nodes[0])})
		for _, r := range regions {
			if _, err := r.Add(patient(t), 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		closeNodes(t, nodes)
	}
}

// TestLeavesInARow: one node after the other leaves, as fast as it can, over a network on which the view
// that tells of it may be overtaken by the next. Those who stay notice nothing of it in their locks.
func TestLeavesInARow(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { leavesInARow(t, seed) })
		})
	}
}

func leavesInARow(t *testing.T, seed uint64) {
	t.Cleanup(awaitProbes)
	net := transport.NewMemoryNetwork(seed, transport.Faults{MaxDelay: 300 * time.Millisecond})
	var log logged
	cfg := dsm.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	nodes := openNodes(t, 8, dsm.OnMemory(net, cfg))
	const many = 6 // locks of a kind, so that every node is home of some
	each(nodes, func(_ int, s *dsm.Space) {
		for i := range many {
			if err := s.Barrier(fmt.Sprint("all ", i), len(nodes)).Wait(patient(t)); err != nil {
				t.Error(err)
			}
		}
	})
	each(nodes, func(rank int, s *dsm.Space) {
		if rank < 6 {
			if err := s.Leave(patient(t)); err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
			return
		}
		for k := range 30 {
			name := fmt.Sprint(k % many)
			mu := s.Mutex("m" + name)
			_, err1 := mu.Lock(patient(t))
			err := errors.Join(err1, mu.Unlock(), s.Barrier("stay "+name, 2).Wait(patient(t)))
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
	})
	list, err := nodes[7].Locks(patient(t))
	if err != nil {
		t.Error(err)
	}
	for _, l := range list {
		if l.OwnerDied || l.Broken {
			t.Errorf("nobody was lost: %+v", l)
		}
	}
	if w := log.lines("lost"); len(w) > 0 {
		t.Errorf("nobody was lost: %s", w)
	}
}
