package coherence

import (
	"testing"

	"pagemesh/pagetable"
)

// rsetting is a small space of release regions with a program for each of its threads, see parseProgram.
type rsetting struct {
	name    string
	homes   []pagetable.NodeID
	threads []string // first the number of the node
	racy    bool     // the program has a race in every run that is played to its end
	// watched: somebody looks for races.
	watched bool
	// leaves and crashes are how many nodes without threads may go.
	leaves, crashes int
}

var rsettings = []rsetting{
	{"handover by a lock", []pagetable.NodeID{1}, []string{"1 L0r00w00U0L0r00U0", "2 L0r00w00U0L0r00U0"}, false, false, 0, 0},
	{"home elsewhere", []pagetable.NodeID{3}, []string{"1 L0r00w00U0", "2 L0r00w00U0L0r00U0", "3"}, false, false, 0, 0},
	{"three in turn", []pagetable.NodeID{1}, []string{"1 L0r00w00U0", "2 L0r00w00U0", "3 L0r00w00U0"}, false, false, 0, 0},
	{"false sharing", []pagetable.NodeID{1}, []string{"1 w00Br00r01", "2 w01Br00r01"}, false, false, 0, 0},
	{"false sharing, home elsewhere", []pagetable.NodeID{3}, []string{"1 w00Br00r01", "2 w01Br00r01", "3 BL0U0"}, false, false, 0, 0},
	{"false sharing, two phases", []pagetable.NodeID{1}, []string{"1 w00Br01Bw00Br01", "2 w01Br00Bw01Br00"}, false, false, 0, 0},
	{"false sharing under two locks", []pagetable.NodeID{3}, []string{"1 L0r00w00U0L0w00U0", "2 L1w01U1L0r00U0L1r01U1", "3"}, false, false, 0, 0},
	{"a chain of two locks", []pagetable.NodeID{2, 3}, []string{"1 L0w00w10U0", "2 L0r00U0L1w01U1", "3 L1r01U1L0r00r10U0"}, false, false, 0, 0},
	{"written while noticed", []pagetable.NodeID{3}, []string{"1 w00L0w01U0r00w00Br00r01", "2 L0r01w01U0Br00r01", "3 B"}, false, false, 0, 0},
	{"a view across a lock", []pagetable.NodeID{1}, []string{"1 L0r01w01U0Br00r01", "2 p0k00L0r01w01U0k00q0Br00r01"}, false, false, 0, 0},
	{"a view of the home's", []pagetable.NodeID{1}, []string{"1 p0k00L0w01U0k00q0Br00r01", "2 L0r01w01U0Br00r01"}, false, false, 0, 0},
	{"a word that the home writes twice", []pagetable.NodeID{1}, []string{"1 w00Bw00w00Br00", "2 Br01Br00", "3 Br01Br00"}, false, false, 0, 0},
	{"a word that a view of the home's writes twice", []pagetable.NodeID{1}, []string{"1 w00Bp0k00k00q0B", "2 Br01Br00", "3 Br01Br00"}, false, false, 0, 0},
	{"two threads of one node", []pagetable.NodeID{2}, []string{"1 L0r00w00U0", "1 L1r01w01U1", "2 L0r00w00U0L1r01U1"}, false, false, 0, 0},
	{"two threads and a home", []pagetable.NodeID{3}, []string{"1 L0r00w00U0", "1 w01L1U1", "2 L0r00w00U0L1U1", "3"}, false, false, 0, 0},
	{"threads that synchronize unseen", []pagetable.NodeID{3, 2}, []string{"1 L2w00U2L1U1", "1 L2U2L0w10U0", "2 L0r00r10U0", "3"}, false, false, 0, 0},
	{"evicted", []pagetable.NodeID{1}, []string{"1 L0r00w00U0", "2 r01e0L0w00e0U0e0r01e0"}, false, false, 0, 0},
	{"home writes unnoticed", []pagetable.NodeID{1}, []string{"1 w00w01L0w00U0w01Bw00Br00", "2 L0r00U0Br01Br00r01"}, false, false, 0, 0},
	{"two pages", []pagetable.NodeID{1, 2}, []string{"1 w00w10Br01r11", "2 w01w11Br00r10"}, false, false, 0, 0},
	{"racy writes", []pagetable.NodeID{1}, []string{"1 w00Br00", "2 w00Br00"}, true, false, 0, 0},
	{"racy writes, watched", []pagetable.NodeID{1}, []string{"1 w00Br00", "2 w00Br00"}, true, true, 0, 0},
	{"racy writes, watched from elsewhere", []pagetable.NodeID{3}, []string{"1 w00L0w01U0B", "2 L0w01U0w00B", "3"}, false, true, 0, 0},
	{"written before an acquire, watched", []pagetable.NodeID{3}, []string{"1 w00L0U0B", "2 w00L0U0B", "3"}, true, true, 0, 0},
	{"two locks, watched", []pagetable.NodeID{1}, []string{"1 w00L0U0B", "2 L1U1w00B"}, true, true, 0, 0},
	{"racy read", []pagetable.NodeID{1}, []string{"1 L0w00U0", "2 r00L0U0"}, false, false, 0, 0},
	{"handover by a lock, watched", []pagetable.NodeID{1}, []string{"1 L0r00w00U0L0r00U0", "2 L0r00w00U0"}, false, true, 0, 0},
	{"a chain of two locks, watched", []pagetable.NodeID{3}, []string{"1 L0w00U0", "2 L0U0L1U1", "3 L1w00U1"}, false, true, 0, 0},
	{"a view of the home's, watched", []pagetable.NodeID{1}, []string{"1 p0k00L0w01U0k00q0B", "2 L0w01U0Br00"}, false, true, 0, 0},
	{"kept", []pagetable.NodeID{1}, []string{"1 L0r00w01U0Br00r01", "2 L0w00U0L0w00U0L0w00U0L1U1L0w01U0L1U1L1U1L1U1L1U1L0w00U0B"}, false, false, 0, 0},
	{"kept while noticed", []pagetable.NodeID{3}, []string{"1 L0r00w00U0L0r00w00U0", "2 w01L1U1w01L1U1L0r00U0L1U1w01L1U1", "3"}, false, false, 0, 0},
	{"kept at home", []pagetable.NodeID{1}, []string{"1 L0w00U0L0w00U0L0w00r01U0L0U0L1U1L1U1L1U1B", "2 L0r00w01U0L0r00U0L0r00U0Br00"}, false, false, 0, 0},
	{"kept at home, and followed by two", []pagetable.NodeID{1}, []string{"1 w00Bw00Bw00BBr01B", "2 r01BBBr00BB", "3 BBw01BBr00B"}, false, false, 0, 0},
	{"followed when half is written", []pagetable.NodeID{1}, []string{"1 Bw00BBw00B", "2 w01BBe0Br01B", "3 BBr01BBr00"}, false, false, 0, 0},
	{"kept and evicted", []pagetable.NodeID{1}, []string{"1 L0r00w00U0", "2 w01L0U0w01L0U0e0L0U0L0U0L0U0L0U0e0r01"}, false, false, 0, 0},
	{"kept after a view", []pagetable.NodeID{1}, []string{"1 L0r00w00U0Br01", "2 p0k01L0U0L0U0q0L0U0L0r00U0B"}, false, false, 0, 0},
	{"kept while the home leaves", []pagetable.NodeID{3}, []string{"1 L0w00U0L0w00U0L1U1L0w00U0", "2 L0r00w01U0", "3"}, false, false, 1, 0},
	{"kept while the home crashes", []pagetable.NodeID{3}, []string{"1 L0w00U0L0w00U0L0w00U0L1U1", "2 L0r00U0", "3"}, false, false, 0, 1},
	{"kept while somebody else crashes", []pagetable.NodeID{2}, []string{"1 L0w00U0L0w00U0L0w00U0L1U1", "2 L0r00w01U0", "3"}, false, false, 0, 1},
	{"the home leaves, watched", []pagetable.NodeID{3}, []string{"1 L0w00U0", "2 L0w00U0", "3"}, false, true, 1, 0},
	{"the home leaves", []pagetable.NodeID{3}, []string{"1 L0r00w00U0", "2 L0r00w00U0r01", "3"}, false, false, 1, 0},
	{"the home leaves a writer", []pagetable.NodeID{3}, []string{"1 L0w00U0w01Br00", "2 L0r00w00U0Br01", "3"}, false, false, 1, 0},
	{"the home leaves with its answer under way", []pagetable.NodeID{4}, []string{"1 L0w00U0", "2 r01", "3 L0r00w00U0", "4"}, false, false, 1, 0},
	{"the home of the barrier leaves", []pagetable.NodeID{1}, []string{"2 w00Br01", "3 w01Br00"}, false, false, 1, 0},
	{"the home crashes", []pagetable.NodeID{3}, []string{"1 L0r00w00U0", "2 L0r00w00U0", "3"}, false, false, 0, 1},
	{"the home leaves and crashes", []pagetable.NodeID{3}, []string{"1 L0r00w00U0", "2 L0r00w00U0", "3"}, false, false, 1, 1},
	{"a holder crashes with its notices", []pagetable.NodeID{1}, []string{"2 L0w00U0", "3 L0U0", "4 L0r00U0L0r00U0"}, false, false, 0, 1},
	{"somebody else crashes", []pagetable.NodeID{2}, []string{"1 L0r00w00U0", "2 L0r00w00U0", "3"}, false, false, 0, 1},
}

func (s rsetting) cluster() *rcluster {
	nodes := pagetable.NodeID(0)
	for _, text := range s.threads {
		nodes = max(nodes, pagetable.NodeID(text[0]-'0'))
	}
	c := newReleaseCluster(int(nodes), s.homes...)
	if s.watched {
		c.watch()
	}
	c.leaves, c.crashes = s.leaves, s.crashes
	for _, text := range s.threads {
		if program := parseProgram(text[1:]); len(program) > 0 {
			c.run(pagetable.NodeID(text[0]-'0'), program)
		}
	}
	return c
}

// TestExploreRelease plays every order of events of small spaces.
func TestExploreRelease(t *testing.T) {
	var total explored
	var seen rcensus
	for _, s := range rsettings {
		t.Run(s.name, func(t *testing.T) {
			c := s.cluster()
			x := explore(t, c)
			total.add(x)
			seen.add(c.census)
			if races := c.census.races; s.racy && races != x.ends {
				t.Errorf("%d of %d ends are reported as racy, want all", races, x.ends)
			}
		})
	}
	t.Logf("explored %v, %+v", total, seen)
}
