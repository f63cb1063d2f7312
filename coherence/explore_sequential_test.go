package coherence

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// setting is a small cluster and what may happen in it.
type setting struct {
	name  string
	homes []pagetable.NodeID // of page 0, page 1
	// programs are those of the nodes from the start on, joins those of nodes that join at any time. See
	// cluster.give.
	programs, joins []string
	// crashes and leaves happen at any time to any node.
	crashes, leaves int
	// small: it is explored under the race detector too.
	small bool
}

// explore logs the first line of the scenario that a failure goes on with.
func (s setting) explore(t *testing.T) (explored, census) {
	t.Helper()
	c := s.cluster()
	t.Logf("nodes %d homes %v", len(s.programs), strings.Trim(fmt.Sprint(s.homes), "[]"))
	x := explore(t, c)
	return x, c.census
}

func (s setting) cluster() *cluster {
	c := newCluster(len(s.programs), s.homes...)
	c.crashes, c.leaves, c.joins = s.crashes, s.leaves, s.joins
	for i, program := range s.programs {
		c.give(pagetable.NodeID(i+1), program)
	}
	return c
}

type homes = []pagetable.NodeID

// settings are explored in each run. Together they come through every transition of the protocol.
var settings = []setting{
	{name: "three nodes", homes: homes{1}, programs: []string{"rw", "rrw", "rww"}},
	{name: "four nodes", homes: homes{1}, programs: []string{"w", "rw", "rw", "r"}, small: true},
	{name: "pins", homes: homes{1}, programs: []string{"RW", "rW", "Rw"}},
	{name: "two pages", homes: homes{1, 2}, programs: []string{"rw|rw", "rw|rw"}},
	{name: "two pages, pins", homes: homes{1, 2}, programs: []string{"W|R", "w|W"}, small: true},
	{name: "evictions", homes: homes{1}, programs: []string{"rw", "rwe", "wee"}},
	{name: "evictions, pins", homes: homes{1}, programs: []string{"w", "Re", "We"}, small: true},
	{name: "evictions and a crash", homes: homes{1}, programs: []string{"r", "we", "re"}, crashes: 1},
	{name: "evictions and a leave", homes: homes{1}, programs: []string{"w", "re", "we"}, leaves: 1, small: true},
	{name: "a crash", homes: homes{1}, programs: []string{"rw", "rw", "rw"}, crashes: 1},
	{name: "a crash, pins", homes: homes{1}, programs: []string{"W", "RW", "rW"}, crashes: 1, small: true},
	{name: "a crash of four", homes: homes{1}, programs: []string{"", "r", "W", "rw"}, crashes: 1},
	{name: "a crash, two pages", homes: homes{1, 2}, programs: []string{"w|r", "r|w"}, crashes: 1},
	{name: "two crashes", homes: homes{1}, programs: []string{"w", "rw", "rw"}, crashes: 2, small: true},
	{name: "a leave", homes: homes{1}, programs: []string{"w", "rw", "rw"}, leaves: 1},
	{name: "a leave, pins", homes: homes{1}, programs: []string{"", "RW", "W"}, leaves: 1, small: true},
	{name: "a leave, two pages", homes: homes{1, 2}, programs: []string{"w|r", "w|w"}, leaves: 1, small: true},
	{name: "a join and a crash", homes: homes{1}, programs: []string{"w", "r"}, joins: []string{"rw"}, crashes: 1},
	{name: "a join and two crashes", homes: homes{1}, programs: []string{"w", "", ""}, joins: []string{"w"}, crashes: 2},
	{name: "a join and a leave", homes: homes{1}, programs: []string{"w", "w"}, joins: []string{"rw"}, leaves: 1},
	{name: "two leaves", homes: homes{1}, programs: []string{"w", "w", "rw"}, leaves: 2},
	{name: "a crash and a leave", homes: homes{1}, programs: []string{"w", "rw", "w"}, crashes: 1, leaves: 1},
	{name: "a crash and a leave, pins", homes: homes{1}, programs: []string{"w", "W", "R"}, crashes: 1, leaves: 1},
}

// longSettings take minutes and up to a few GiB.
var longSettings = []setting{
	{name: "three nodes", homes: homes{1}, programs: []string{"rrww", "rrww", "rrww"}},
	{name: "evictions", homes: homes{1}, programs: []string{"rw", "rwwe", "rwee"}},
	{name: "evictions, a crash and a leave", homes: homes{1}, programs: []string{"w", "re", "we"}, crashes: 1, leaves: 1},
	{name: "five nodes", homes: homes{1}, programs: []string{"r", "rw", "w", "w", "r"}},
	{name: "pins", homes: homes{1}, programs: []string{"rwR", "rW", "wRW"}},
	{name: "three nodes, two pages", homes: homes{1, 2}, programs: []string{"r|w", "w|r", "w|w"}},
	{name: "a crash of four", homes: homes{1}, programs: []string{"w", "rw", "rw", "rw"}, crashes: 1},
	{name: "two crashes of four", homes: homes{1}, programs: []string{"", "rw", "W", "rw"}, crashes: 2},
	{name: "a leave", homes: homes{1}, programs: []string{"rw", "rw", "rw"}, leaves: 1},
	{name: "a leave, two pages", homes: homes{1, 2}, programs: []string{"w|r", "w|w", "w|"}, leaves: 1},
	{name: "a crash and a leave", homes: homes{1}, programs: []string{"w", "rw", "rw"}, crashes: 1, leaves: 1},
	{name: "a crash and a leave of four", homes: homes{1}, programs: []string{"", "w", "W", "r"}, crashes: 1, leaves: 1},
	{name: "two crashes and a leave", homes: homes{1}, programs: []string{"w", "rw", "w"}, crashes: 2, leaves: 1},
}

// TestExplore walks through everything that can happen in small clusters.
func TestExplore(t *testing.T) {
	var total explored
	var seen census
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			if raceOn && !s.small {
				t.Skip("it has no goroutine, so the race detector only slows it down")
			}
			x, n := s.explore(t)
			total.add(x)
			seen.add(n)
		})
	}
	t.Logf("explored %v", total)
	if !t.Failed() {
		t.Run("reach", func(t *testing.T) { seen.checkReach(t) })
	}
}

// checkReach fails if a part of the protocol was not come through.
func (n *census) checkReach(t *testing.T) {
	for k := Request; k < kindEnd; k++ {
		if n.kinds[k] == 0 && (Message{Kind: k}).Fits(false) {
			t.Errorf("no %v was handled", k)
		}
	}
	if n.deferred == 0 || n.lost == 0 {
		t.Errorf("%d messages waited for a pin and %d accesses lost their page", n.deferred, n.lost)
	}
}

func TestExploreLong(t *testing.T) {
	if os.Getenv("PAGEMESH_LONG") == "" {
		t.Skip("takes minutes: set PAGEMESH_LONG=1")
	}
	var total explored
	for _, s := range longSettings {
		t.Run(s.name, func(t *testing.T) {
			x, _ := s.explore(t)
			total.add(x)
		})
	}
	t.Logf("explored %v", total)
}
