package dsm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// patience turns a hang into a failure. Nothing in these tests takes a tenth of it.
const patience = 30 * time.Second

// openNodes opens a space of n nodes in this process, each with a TCP endpoint of its own, and closes
// them after the test. Node i has rank i and otherwise the configuration cfg.
func openNodes(t testing.TB, n int, cfg dsm.Config) []*dsm.Space {
	t.Helper()
	var nodes []*dsm.Space
	t.Cleanup(func() { closeNodes(t, nodes) })
	for rank := range n {
		cfg.Rank = rank
		nodes = append(nodes, openNode(t, cfg))
		cfg.Seeds = []string{nodes[0].Addr()}
	}
	return nodes
}

func openNode(t testing.TB, cfg dsm.Config) *dsm.Space {
	t.Helper()
	s, err := dsm.Open(patient(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closeNodes closes nodes that a test may have closed already.
func closeNodes(t testing.TB, nodes []*dsm.Space) {
	t.Helper()
	for _, s := range nodes {
		if err := s.Close(); err != nil {
			t.Errorf("close %v: %v", s.Self(), err)
		}
	}
}

// openRegions opens a region at each node.
func openRegions(t testing.TB, nodes []*dsm.Space, name string, o dsm.RegionOptions) []*dsm.Region {
	t.Helper()
	var regions []*dsm.Region
	for _, s := range nodes {
		r, err := s.Region(patient(t), name, o)
		if err != nil {
			t.Fatal(err)
		}
		regions = append(regions, r)
	}
	return regions
}

// homed is the placement of a whole region at one node.
func homed(s *dsm.Space) dsm.Placement {
	return dsm.Placement{Nodes: []pagetable.NodeID{s.Self()}}
}

// patient returns a context that ends with the test's patience.
func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// each runs fn for every node at once.
func each(nodes []*dsm.Space, fn func(i int, s *dsm.Space)) {
	var wg sync.WaitGroup
	for i, s := range nodes {
		wg.Go(func() { fn(i, s) })
	}
	wg.Wait()
}

// inMemory runs a test of n nodes on a network in memory, in a bubble whose clock stands still while
// anything is going on: synctest.Wait returns when no message is on its way.
func inMemory(t *testing.T, n int, cfg dsm.Config, test func(t *testing.T, nodes []*dsm.Space)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(awaitProbes)
		net := transport.NewMemoryNetwork(1, transport.Faults{})
		test(t, openNodes(t, n, dsm.OnMemory(net, cfg)))
	})
}

// awaitProbes lets the last probes of memberlist end: they do so with their timeout only.
func awaitProbes() { time.Sleep(2 * time.Second) }

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
}

// contains reports whether err is one line with a certain text.
func contains(err error, text string) bool {
	return strings.Contains(err.Error(), text) && !strings.Contains(err.Error(), "\n")
}
