package dsm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// racyWrite writes a word and returns the line at which it does.
type racyWrite func(ctx context.Context, r *dsm.Region, off int64, v uint64) (line string, err error)

// before returns the line before the caller's, as a race names it.
func before() string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file, line-1)
}

func racyStore(ctx context.Context, r *dsm.Region, off int64, v uint64) (string, error) {
	err := r.Store(ctx, off, v)
	return before(), err
}

func racyWriteAt(_ context.Context, r *dsm.Region, off int64, v uint64) (string, error) {
	_, err := r.WriteAt(binary.LittleEndian.AppendUint64(nil, v), off)
	return before(), err
}

func racyView(ctx context.Context, r *dsm.Region, off int64, v uint64) (string, error) {
	view, err := dsm.ViewOf[uint64](ctx, r, off/8, 1, write)
	line := before()
	if err == nil {
		view.Slice()[0] = v
		view.Release()
	}
	return line, err
}

// detecting is the configuration of nodes that look for races.
var detecting = dsm.Config{DetectRaces: true}

// racesOf returns what a space has found.
func racesOf(t testing.TB, s *dsm.Space) []dsm.Race {
	t.Helper()
	races, err := s.Races(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return races
}

func wantNoRace(t testing.TB, s *dsm.Space) {
	t.Helper()
	for _, r := range racesOf(t, s) {
		t.Errorf("a race where none is: %v", r)
	}
}

// wantRace wants one race at an offset and two lines.
func wantRace(t testing.TB, races []dsm.Race, off int64, lines ...string) {
	t.Helper()
	if len(races) != 1 {
		t.Fatalf("%d races, want one: %v", len(races), races)
	}
	r := races[0]
	if r.Offset != off || r.Region != "shared" || r.First.Node == r.Second.Node {
		t.Errorf("%v, want offset %d of the region", r, off)
	}
	if got := [2]string{r.First.Line, r.Second.Line}; got != [2]string{lines[0], lines[1]} && got != [2]string{lines[1], lines[0]} {
		t.Errorf("%v, want lines %v", r, lines)
	}
}

// TestRaceIsNamed: two nodes write one word without an order, in every way, wherever its home is.
func TestRaceIsNamed(t *testing.T) {
	const off = 3*256 + 40
	for home := range 3 {
		for i, ways := range [][2]racyWrite{{racyStore, racyWriteAt}, {racyWriteAt, racyView}, {racyView, racyStore}} {
			t.Run(fmt.Sprintf("home %d, ways %d", home, i), func(t *testing.T) {
				nodes := openNodes(t, 3, detecting)
				regions := releaseRegions(t, nodes, 2048, homed(nodes[home]))
				lines := make([]string, 2)
				each(nodes[:2], func(n int, s *dsm.Space) {
					var err error
					if lines[n], err = ways[n](patient(t), regions[n], off, uint64(n+1)); err != nil {
						t.Error(err)
					}
					meet(t, s, "written", 2)
				})
				races := racesOf(t, nodes[2])
				wantRace(t, races, off, lines...)
				if text := races[0].String(); !strings.Contains(text, "offset 808 of region \"shared\"") || !strings.Contains(text, lines[0]) {
					t.Errorf("as text: %s", text)
				}
			})
		}
	}
}

// orderings are the ways by which a node can do something after another one has: whatever lets others acquire has to
// be among them.
var orderings = []struct {
	name string
	do   func(t testing.TB, s *dsm.Space, name string, f func()) error
}{
	{"mutex", underMutex},
	{"rwmutex", func(t testing.TB, s *dsm.Space, name string, f func()) error {
		mu := s.RWMutex(name)
		writeLock(t, mu)
		f()
		writeUnlock(t, mu)
		return nil
	}},
	{"semaphore", func(t testing.TB, s *dsm.Space, name string, f func()) error {
		sem := s.Semaphore(name, 3)
		acquire(t, sem, 3)
		f()
		release(t, sem, 3)
		return nil
	}},
	{"election", func(t testing.TB, s *dsm.Space, name string, f func()) error {
		e := s.Election(name)
		if _, err := e.Campaign(patient(t)); err != nil {
			return err
		}
		f()
		return e.Resign()
	}},
	{"counter", func(t testing.TB, s *dsm.Space, name string, f func()) error {
		turn := s.Counter(name) // of the node that has it; 0 if nobody has
		for {
			got, err := turn.Add(patient(t), 1)
			if err == nil && got == 1 {
				f()
			}
			if _, err2 := turn.Add(patient(t), -1); err != nil || err2 != nil || got == 1 {
				return errors.Join(err, err2)
			}
		}
	}},
}

// TestOrderedWritesAreNoRace: bytes that each lock guards, and that share words with those of others, whoever has
// been through with other nodes meanwhile. Then a race is planted among them, of a word that no lock guards, while
// the nodes use locks that are not the other's.
func TestOrderedWritesAreNoRace(t *testing.T) {
	const count, block, blocks, steps = 3, 13, 30, 60
	for _, o := range orderings {
		t.Run(o.name, func(t *testing.T) {
			seed := seedOf(t)
			nodes := openNodes(t, count, detecting)
			regions := releaseRegions(t, nodes, 1024, dsm.Placement{})
			use := func(n int, rng *rand.Rand, b int) {
				err := o.do(t, nodes[n], fmt.Sprint("block ", b), func() {
					part := make([]byte, 1+rng.IntN(block))
					fill(rng, part)
					if _, err := regions[n].WriteAt(part, int64(b*block)); err != nil {
						t.Error(err)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
			each(nodes, func(n int, s *dsm.Space) {
				rng := rand.New(rand.NewPCG(seed, uint64(n)))
				for range steps * long() {
					use(n, rng, rng.IntN(blocks))
				}
				meet(t, s, "guarded", count)
				for range steps {
					use(n, rng, count*rng.IntN(blocks/count)+n)
				}
				meet(t, s, "apart", count)
			})
			wantNoRace(t, nodes[0])
			const off = 800
			lines := make([]string, count)
			each(nodes[:2], func(n int, s *dsm.Space) {
				rng := rand.New(rand.NewPCG(seed, uint64(n)))
				planted := rng.IntN(20)
				for i := range 20 {
					use(n, rng, count*rng.IntN(blocks/count)+n)
					if i != planted {
						continue
					}
					var err error
					if lines[n], err = racyStore(patient(t), regions[n], off, rng.Uint64()); err != nil {
						t.Error(err)
					}
				}
				meet(t, s, "planted", 2)
			})
			wantRace(t, racesOf(t, nodes[0]), off, lines...)
		})
	}
}

// TestRacesAcrossMembers: what has an order has it through nodes that come, leave and crash, and races are found
// afterwards as before.
func TestRacesAcrossMembers(t *testing.T) {
	nodes := openNodes(t, 4, detecting)
	founder := nodes[0]
	regions := releaseRegions(t, nodes, 1024, homed(founder))
	pass := func(nodes []*dsm.Space, regions []*dsm.Region) { // a word from hand to hand
		for i, s := range nodes {
			m := s.Mutex("m")
			if _, err := m.Lock(patient(t)); err != nil && !errors.Is(err, dsm.ErrOwnerDied) {
				t.Error(err)
			}
			if err := regions[i].Store(patient(t), 0, rand.Uint64()); err != nil {
				t.Error(err)
			}
			if err := m.Unlock(); err != nil {
				t.Error(err)
			}
		}
	}
	pass(nodes, regions)
	if err := nodes[3].Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
	pass(nodes[:3], regions)
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	pass(nodes[:2], regions)
	joined := openNode(t, dsm.Config{DetectRaces: true, Seeds: []string{founder.Addr()}})
	nodes[2] = joined // to be closed
	regions[2] = releaseRegions(t, []*dsm.Space{joined}, 1024, homed(founder))[0]
	pass(nodes[:3], regions)
	wantNoRace(t, founder)
	lines := make([]string, 2)
	each(nodes[1:3], func(n int, s *dsm.Space) {
		var err error
		if lines[n], err = racyStore(patient(t), regions[n+1], 512, uint64(n+1)); err != nil {
			t.Error(err)
		}
		meet(t, s, "written", 2)
	})
	wantRace(t, racesOf(t, founder), 512, lines...)
}

// TestWritesBeforeAnAcquire: what a node wrote before it acquired did not happen after what the lock brings.
func TestWritesBeforeAnAcquire(t *testing.T) {
	nodes := openNodes(t, 3, detecting)
	regions := releaseRegions(t, nodes, 1024, homed(nodes[2]))
	lines := make([]string, 2)
	store := func(n int) {
		var err error
		if lines[n], err = racyStore(patient(t), regions[n], 512, uint64(n+1)); err != nil {
			t.Error(err)
		}
	}
	store(0)
	store(1)
	for _, s := range nodes[:2] { // the second one learns of the first one's write, after its own
		if err := underMutex(t, s, "m", func() {}); err != nil {
			t.Error(err)
		}
	}
	wantRace(t, racesOf(t, nodes[2]), 512, lines...)
}

// TestRacesOnce: each pair of lines is named once, with how often it was seen.
func TestRacesOnce(t *testing.T) {
	const rounds = 20
	nodes := openNodes(t, 2, detecting)
	regions := releaseRegions(t, nodes, 1024, homed(nodes[0]))
	each(nodes, func(n int, s *dsm.Space) {
		for round := range rounds {
			for off := int64(0); off < 1024; off += 256 {
				if _, err := racyStore(patient(t), regions[n], off, uint64(2*round+n+1)); err != nil {
					t.Error(err)
				}
			}
			meet(t, s, "written", 2)
		}
	})
	races := racesOf(t, nodes[1])
	if len(races) != 1 || races[0].Offset != 0 || races[0].Times < rounds {
		t.Errorf("%d races, want one, seen %d times at least: %v", len(races), rounds, races)
	}
}

// TestDetectRacesIsAgreedOn: a node that differs from the others is turned away, and says why.
func TestDetectRacesIsAgreedOn(t *testing.T) {
	for _, on := range []bool{false, true} {
		s := openNodes(t, 1, dsm.Config{DetectRaces: on})[0]
		_, err := dsm.Open(patient(t), dsm.Config{DetectRaces: !on, Seeds: []string{s.Addr()}})
		wantError(t, "another option", err, dsm.ErrJoin)
		if want := fmt.Sprintf("DetectRaces is %v there and %v here: set it alike at all nodes", on, !on); err != nil && !contains(err, want) {
			t.Errorf("error %q says nothing of %q", err, want)
		}
		if _, err := s.Races(patient(t)); (err != nil) == on {
			t.Errorf("races with detection %v: %v", on, err)
		}
	}
}

func init() {
	programs["race"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "shared", dsm.RegionOptions{Size: 4 * pageSize, Consistency: pagetable.Release})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[uint64](r)
		if err != nil {
			return err
		}
		m := p.Mutex("m")
		for range p.n {
			if _, err := m.Lock(ctx); err != nil {
				return err
			}
			words[0]++
			words[2*pageSize/8+p.rank]++
			if err := m.Unlock(); err != nil {
				return err
			}
		}
		if err := p.barrier(ctx, "ordered"); err != nil {
			return err
		}
		words[pageSize/8+5] = uint64(p.rank + 1)
		fmt.Println(before())
		return p.barrier(ctx, "raced")
	}
}

// TestMappedRaceIsNamed: plain stores of attached programs, most of them ordered by a mutex that is on loan.
func TestMappedRaceIsNamed(t *testing.T) {
	spaces, sockets := servingWith(t, 2, detecting)
	outputs := runPrograms(t, "race", sockets, 100*long())
	line := strings.TrimSpace(outputs[0])
	wantRace(t, racesOf(t, spaces[1]), pageSize+40, line, line)
}
