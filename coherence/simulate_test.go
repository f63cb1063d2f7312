package coherence

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pagemesh/pagetable"
)

// size says how large a simulation is. The numbers are upper bounds from which a seed chooses, but for
// accesses.
type size struct {
	nodes, pages, accesses, crashes, leaves, joins int
	// writes is how many of 1000 accesses write; 0 leaves that to the seed.
	writes int
}

// usual is the size of most simulations, wide the one that shows that the protocol does not care about
// the number of nodes.
var (
	usual = size{nodes: 9, pages: 40, accesses: 3000, crashes: 3, leaves: 3, joins: 2}
	wide  = size{nodes: MaxMembers, pages: 8, accesses: 12_000, crashes: 2, leaves: 1, writes: 3}
)

// simulation is a cluster in which a seed picks the events.
type simulation struct {
	*cluster
	rng *rand.Rand
	// plan holds the accesses, crashes, leaves and joins that are still to come, within about span
	// events, and the share of writes.
	plan size
	span int
	// slow links are chosen rarely, so that what was sent much later on others overtakes them.
	slow     func(l link) bool
	pins     []event // those that have not ended, by their ends
	happened int     // events
}

func newSimulation(seed uint64, sz size) *simulation {
	rng := rand.New(rand.NewPCG(seed, 0))
	nodes := 3 + rng.IntN(sz.nodes-2)
	if sz.nodes > 100 {
		nodes = sz.nodes
	}
	homes := make([]pagetable.NodeID, 1+rng.IntN(sz.pages))
	for i := range homes {
		homes[i] = pagetable.NodeID(1 + rng.IntN(nodes))
	}
	s := &simulation{cluster: newCluster(nodes, homes...), rng: rng, plan: size{
		accesses: sz.accesses, crashes: rng.IntN(sz.crashes + 1), leaves: rng.IntN(sz.leaves + 1),
		joins: rng.IntN(sz.joins + 1), writes: sz.writes,
	}}
	if sz.writes == 0 {
		s.plan.writes = [...]int{500, 200, 50, 10}[rng.IntN(4)]
	}
	s.span = 4 * sz.accesses
	s.pinned = func(end event) { s.pins = append(s.pins, end) }
	s.shuffleSpeeds()
	return s
}

// shuffleSpeeds makes other links slow.
func (s *simulation) shuffleSpeeds() {
	salt, share := s.rng.Uint32(), s.rng.Uint32N(8)
	s.slow = func(l link) bool {
		h := (uint32(l.from)*31+uint32(l.to))*2654435761 ^ salt
		return h>>13&7 < share
	}
}

// run returns the first broken promise.
func (s *simulation) run() error {
	for s.plan.accesses > 0 {
		if s.happened%500 == 0 {
			s.shuffleSpeeds()
		}
		if e, ok := s.pick(); ok {
			if err := s.happen(e); err != nil {
				return err
			}
		}
	}
	return s.comeToRest()
}

func (s *simulation) happen(e event) error {
	s.happened++
	s.suspect = e.page
	s.note("%v", e)
	if e.kind == unpin {
		i := slices.Index(s.pins, e)
		s.pins = slices.Delete(s.pins, i, i+1)
	}
	return s.do(e)
}

// pick chooses the next event. It may find none of the kind that it looked for.
func (s *simulation) pick() (event, bool) {
	if s.rng.IntN(s.span) < s.plan.crashes+s.plan.leaves+s.plan.joins {
		return s.pickChange()
	}
	switch r := s.rng.IntN(100); {
	case r < 60:
		return s.pickDelivery()
	case r < 85:
		return s.pickAccess()
	case r < 95:
		return s.pickUnpin()
	}
	return s.pickViewStep()
}

func (s *simulation) pickDelivery() (event, bool) {
	if len(s.links) == 0 {
		return event{}, false
	}
	l := &s.links[s.rng.IntN(len(s.links))]
	if !s.canDeliver(l) || s.slow(*l) && s.rng.IntN(30) > 0 {
		return event{}, false
	}
	return l.delivery(), true
}

// maxWaiting bounds the faults of one kind that wait at one node for one page.
const maxWaiting = 4

// pickAccess prefers low pages, so that some are hot.
func (s *simulation) pickAccess() (event, bool) {
	n := s.anyNode()
	page := min(s.rng.IntN(s.pages), s.rng.IntN(s.pages))
	e := event{kind: access, node: n, page: page, op: [...]op{read, read, pinRead}[s.rng.IntN(3)]}
	switch {
	case s.rng.IntN(1000) < s.plan.writes:
		e.op = [...]op{write, write, pinWrite}[s.rng.IntN(3)]
	case s.rng.IntN(20) == 0:
		e.op = evict
	}
	if !s.isRunning(n) || s.node(n).leaving || s.look(n, page).waiting[e.op] == maxWaiting {
		return event{}, false
	}
	s.plan.accesses--
	return e, true
}

func (s *simulation) anyNode() pagetable.NodeID {
	return pagetable.NodeID(1 + s.rng.IntN(len(s.nodes)))
}

// pickUnpin ends a pin, and forgets those of nodes that crashed.
func (s *simulation) pickUnpin() (event, bool) {
	if len(s.pins) == 0 {
		return event{}, false
	}
	i := s.rng.IntN(len(s.pins))
	e := s.pins[i]
	if !s.isRunning(e.node) {
		s.pins = slices.Delete(s.pins, i, i+1)
		return event{}, false
	}
	return e, true
}

// pickViewStep brings one node or one change of the view a step further.
func (s *simulation) pickViewStep() (event, bool) {
	n := s.anyNode()
	switch nd := s.node(n); {
	case nd.status == crashed && s.canLose(n):
		return event{kind: lose, node: n}, true
	case nd.status != running:
	case nd.view < len(s.views)-1:
		return event{kind: install, node: n, view: nd.view + 1 + s.rng.IntN(len(s.views)-1-nd.view)}, true
	case nd.leaving:
		if es := s.enabledLeaving(n, nil); len(es) > 0 {
			return es[s.rng.IntN(len(es))], true
		}
	}
	return event{}, false
}

// pickChange has a node crash, leave or join.
func (s *simulation) pickChange() (event, bool) {
	n := s.anyNode()
	switch r := s.rng.IntN(s.plan.crashes + s.plan.leaves + s.plan.joins); {
	case r < s.plan.joins:
		s.plan.joins--
		return event{kind: join, node: pagetable.NodeID(len(s.nodes) + 1)}, true
	case !s.isRunning(n) || s.staying() < 3:
	case r < s.plan.joins+s.plan.leaves:
		if !s.node(n).leaving && s.canLeave(n) {
			s.plan.leaves--
			return event{kind: leave, node: n}, true
		}
	default:
		s.plan.crashes--
		return event{kind: crash, node: n}, true
	}
	return event{}, false
}

// staying counts the nodes that run and do not leave.
func (s *simulation) staying() (count int) {
	for _, n := range s.nodes {
		if n.status == running && !n.leaving {
			count++
		}
	}
	return count
}

// comeToRest lets everything end that can, and then looks at what is left.
func (s *simulation) comeToRest() error {
	s.crashes, s.leaves = 0, 0 // enabled causes no more
	for range 100 * s.span {
		e, ok := s.pickEnding()
		if !ok {
			continue
		}
		if e == (event{}) {
			return s.atRest()
		}
		if err := s.happen(e); err != nil {
			return err
		}
	}
	return fmt.Errorf("it does not come to rest within %d events", 100*s.span)
}

// pickEnding chooses an event that begins nothing new; no event at all if there is none left. It looks
// through the whole cluster, which takes long, only now and then.
func (s *simulation) pickEnding() (event, bool) {
	switch r := s.rng.IntN(100); {
	case r < 60:
		return s.pickDelivery()
	case r < 80:
		return s.pickUnpin()
	case r < 99:
		return s.pickViewStep()
	}
	es := s.enabled(nil)
	if len(es) == 0 {
		return event{}, true
	}
	return es[s.rng.IntN(len(es))], true
}

// simulate fails t with the seed, the command that repeats it and the end of the run, if a promise was
// broken.
func simulate(t *testing.T, seed uint64, sz size) *simulation {
	t.Helper()
	s := newSimulation(seed, sz)
	if err := s.run(); err != nil {
		t.Fatalf("seed %d, after %d events: %v\nrepeat with: PAGEMESH_SEED=%d go test ./coherence -run '^%s$'\nthe last events on that page:\n%s",
			seed, s.happened, err, seed, t.Name(), s.retell(seed, sz))
	}
	return s
}

// retell runs a seed again and returns the last of what happened to the page that a promise was broken
// for.
func (s *simulation) retell(seed uint64, sz size) string {
	const keep = 80
	again := newSimulation(seed, sz)
	var lines []string
	again.log = func(format string, args ...any) {
		if again.suspect == s.suspect {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	_ = again.run() // it fails as before
	return strings.Join(lines[max(0, len(lines)-keep):], "\n")
}

// seeds returns the first seed and how many to run: a fixed few by default, the one of PAGEMESH_SEED if
// it is set, and with PAGEMESH_LONG many, from PAGEMESH_SEED or a fresh one on.
func seeds(t *testing.T, few, many int) (first uint64, count int) {
	t.Helper()
	long := os.Getenv("PAGEMESH_LONG") != ""
	text, given := os.LookupEnv("PAGEMESH_SEED")
	first, count = 1, few
	if given {
		var err error
		if first, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("PAGEMESH_SEED: %v", err)
		}
		count = 1
	}
	if long {
		count = many
		if !given {
			first = rand.Uint64() >> 32
		}
	}
	if raceOn {
		count = min(count, 10)
	}
	return first, count
}

// TestSimulate runs whole clusters with pins, crashes, leaves and joins, each by its seed.
func TestSimulate(t *testing.T) {
	simulate(t, 2449568159, usual) // a node asked for what it had got, when there was no home any more
	first, count := seeds(t, 200, 10_000)
	began := time.Now()
	var events int
	var seen census
	for seed := first; seed < first+uint64(count); seed++ {
		s := simulate(t, seed, usual)
		events += s.happened
		seen.add(s.census)
	}
	t.Logf("seeds %d to %d: %d events in %v", first, first+uint64(count)-1, events, time.Since(began).Round(time.Millisecond))
	if count >= 10 {
		seen.checkReach(t)
	}
}

// TestSimulateWide runs the same protocol with as many nodes as a space can have.
func TestSimulateWide(t *testing.T) {
	if raceOn {
		t.Skip("it has no goroutine, so the race detector only slows it down")
	}
	first, count := seeds(t, 1, 10)
	for seed := first; seed < first+uint64(count); seed++ {
		s := simulate(t, seed, wide)
		t.Logf("seed %d: %d nodes, %d events, up to %d copies", seed, len(s.nodes), s.happened, s.census.holders)
		if s.census.holders < 100 {
			t.Errorf("seed %d: at most %d nodes had a page at once, too few to be wide", seed, s.census.holders)
		}
	}
}

// TestSimulationRepeats fails if a seed does not decide everything.
func TestSimulationRepeats(t *testing.T) {
	var tales [2][]string
	for i := range tales {
		s := newSimulation(7, size{nodes: 5, pages: 3, accesses: 300, crashes: 1, leaves: 1, joins: 1})
		s.log = func(format string, args ...any) { tales[i] = append(tales[i], fmt.Sprintf(format, args...)) }
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(tales[0], tales[1]) {
		t.Error("the same seed told two tales")
	}
}
