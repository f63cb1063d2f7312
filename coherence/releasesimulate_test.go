package coherence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// rsize bounds a simulation of release regions.
type rsize struct{ nodes, threads, pages, phases, steps int }

var rusual = rsize{nodes: 6, threads: 8, pages: 5, phases: 5, steps: 30}

// rsimulation is an rcluster with programs that a seed has written, in which the seed picks the events.
type rsimulation struct {
	*rcluster
	rng      *rand.Rand
	slow     uint32 // bits of links that are chosen rarely
	happened int
}

// newReleaseSimulation returns one whose programs have no race, unless racy: then there is exactly one.
func newReleaseSimulation(seed uint64, sz rsize, racy bool) *rsimulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	busy := 2 + rng.IntN(sz.nodes-1) // nodes with threads
	nodes := busy + rng.IntN(3)
	homes := make([]pagetable.NodeID, 1+rng.IntN(sz.pages))
	for i := range homes {
		homes[i] = pagetable.NodeID(1 + rng.IntN(nodes))
	}
	s := &rsimulation{rcluster: newReleaseCluster(nodes, homes...), rng: rng}
	w := writer{rng: rng, pages: len(homes), locks: ownLock, programs: make([][]rop, 2+rng.IntN(sz.threads-1))}
	racyPhase := -1
	phases := 1 + rng.IntN(sz.phases)
	if racy {
		racyPhase = rng.IntN(phases)
	}
	for i := range phases {
		w.phase(sz.steps, i == racyPhase)
	}
	for i, program := range w.programs {
		s.run(pagetable.NodeID(1+(i+rng.IntN(2))%busy), program)
	}
	if seed%2 == 1 {
		s.watch()
	}
	s.crashes, s.leaves = rng.IntN(2), rng.IntN(3)
	if racy {
		s.crashes = 0 // the race must not be lost
	}
	return s
}

// writer writes programs. Between two barriers each word belongs to one thread, or is read by all, or is
// guarded by a lock.
type writer struct {
	rng      *rand.Rand
	pages    int
	locks    int
	programs [][]rop
	owners   []int // of each word, in this phase: a thread, or readOnly, or guarded-l for lock l
}

const (
	readOnly = -1
	guarded  = -2
)

func (w *writer) phase(steps int, racy bool) {
	w.owners = make([]int, w.pages*pageWords)
	for i := range w.owners {
		switch w.rng.IntN(4) {
		case 0:
			w.owners[i] = readOnly
		case 1:
			w.owners[i] = guarded - w.rng.IntN(w.locks)
		default:
			w.owners[i] = w.rng.IntN(len(w.programs))
		}
	}
	for i := range w.programs {
		for range w.rng.IntN(steps) {
			w.section(i)
		}
	}
	if racy {
		for i := range 2 {
			w.programs[i] = append(w.programs[i], rop{kind: rwrite})
		}
	}
	for i := range w.programs {
		w.programs[i] = append(w.programs[i], rop{kind: rbarrier})
	}
}

// section adds a few steps to a thread's program: under a lock, through a view, or just so.
func (w *writer) section(thread int) {
	p := &w.programs[thread]
	lock := -1
	if w.rng.IntN(3) == 0 {
		lock = w.rng.IntN(w.locks)
		*p = append(*p, rop{kind: rlockOp, word: lock})
	}
	view := -1
	if w.rng.IntN(4) == 0 {
		view = w.rng.IntN(w.pages)
		*p = append(*p, rop{kind: rpin, page: view})
	}
	for range w.rng.IntN(4) {
		w.access(thread, lock, view)
	}
	if lock >= 0 {
		*p = append(*p, rop{kind: runlock, word: lock})
	}
	if view >= 0 {
		w.access(thread, -1, view)
		*p = append(*p, rop{kind: runpin, page: view})
	}
	if w.rng.IntN(8) == 0 {
		*p = append(*p, rop{kind: revict, page: w.rng.IntN(w.pages)})
	}
}

func (w *writer) access(thread, lock, view int) {
	page, word := w.rng.IntN(w.pages), w.rng.IntN(pageWords)
	op := rop{kind: rread, page: page, word: word}
	switch owner := w.owners[page*pageWords+word]; {
	case owner == readOnly:
	case owner == thread || lock >= 0 && owner == guarded-lock:
		op.kind = []rkind{rread, rwrite}[w.rng.IntN(2)]
		if page == view && op.kind == rwrite {
			op.kind = rpoke
		}
	default:
		return
	}
	w.programs[thread] = append(w.programs[thread], op)
}

// play returns the first broken promise.
func (s *rsimulation) play() error {
	var es []revent
	for {
		if es = s.enabled(es[:0]); len(es) == 0 {
			return s.finish()
		}
		if s.happened%100 == 0 {
			s.slow = s.rng.Uint32()
		}
		e := es[s.rng.IntN(len(es))]
		if e.thread < 0 && s.slow>>((uint(e.from)*5+uint(e.to))%32)&1 != 0 && s.rng.IntN(20) > 0 {
			continue
		}
		if (e.change == rcrash || e.change == rleave) && s.rng.IntN(50) > 0 && len(es) > 1 {
			continue
		}
		s.happened++
		if err := s.do(e); err != nil {
			return err
		}
	}
}

// finish looks at what is left.
func (s *rsimulation) finish() error {
	for i := range s.nodes {
		n := &s.nodes[i]
		if n.status != running {
			continue
		}
		if l := len(n.notices.log); l > 2*s.pages+minLog || len(n.notices.due) > s.pages {
			return fmt.Errorf("n%d keeps %d notices for %d pages", i+1, l, s.pages)
		}
		if len(n.intervals.closing) > 0 {
			return fmt.Errorf("n%d is at rest with an interval under way", i+1)
		}
	}
	return s.atRest()
}

// simulateRelease fails t with the seed, the command that repeats it and the end of the run, if a promise was
// broken.
func simulateRelease(t *testing.T, seed uint64, racy bool) *rsimulation {
	t.Helper()
	s := newReleaseSimulation(seed, rusual, racy)
	err := s.play()
	if err == nil && racy != (s.history.racy != "") {
		err = fmt.Errorf("races: want %v, got %q", racy, s.history.racy)
	}
	if err == nil {
		return s
	}
	const keep = 60
	again := newReleaseSimulation(seed, rusual, racy)
	var lines []string
	again.log = func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	_ = again.play() // it fails as before
	t.Fatalf("seed %d, after %d events: %v\nrepeat with: PAGEMESH_SEED=%d go test ./coherence -run '^%s$'\nthe last events:\n%s",
		seed, s.happened, err, seed, t.Name(), strings.Join(lines[max(0, len(lines)-keep):], "\n"))
	return nil
}

// TestSimulateRelease runs programs without a race, which must not be able to tell a release region from one
// memory.
func TestSimulateRelease(t *testing.T) {
	for _, found := range []uint64{93317, 117091, 501972, 746819} { // what was released early, and a new epoch
		simulateRelease(t, found, false)
	}
	first, count := seeds(t, 500, 50_000)
	var events int
	var seen rcensus
	for seed := first; seed < first+uint64(count); seed++ {
		s := simulateRelease(t, seed, false)
		events += s.happened
		seen.add(s.census)
	}
	t.Logf("seeds %d to %d: %d events, %+v", first, first+uint64(count)-1, events, seen)
	if count < 100 {
		return // few runs need not come through everything
	}
	for _, k := range []Kind{Request, Grant, Flush, FlushAck, Handoff, Taken, Follow, Update, Unfollow} {
		if seen.kinds[k] == 0 {
			t.Errorf("no %v was handled", k)
		}
	}
	if slices.Contains([]int{
		seen.refetched, seen.merged, seen.repinned, seen.kept, seen.lost, seen.updated, seen.spared, seen.late,
		seen.stayed, seen.homeKept, seen.unwritten, seen.unkept,
	}, 0) {
		t.Errorf("a part of the protocol was not come through: %+v", seen)
	}
}

// TestSimulateRaces runs programs with a race each, which the reference names.
func TestSimulateRaces(t *testing.T) {
	first, count := seeds(t, 200, 10_000)
	reported := 0
	for seed := first; seed < first+uint64(count); seed++ {
		reported += simulateRelease(t, seed, true).census.reported
	}
	if count > 10 && reported == 0 {
		t.Error("no race was reported by a home")
	}
	t.Logf("%d races in %d runs were reported by a home", reported, count)
}
