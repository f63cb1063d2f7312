package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// releaseRegions opens a release region at each node.
func releaseRegions(t testing.TB, nodes []*dsm.Space, size uint64, homes dsm.Placement) []*dsm.Region {
	t.Helper()
	return openRegions(t, nodes, "shared", dsm.RegionOptions{
		Size: size, PageSize: 256, Placement: homes, Consistency: pagetable.Release,
	})
}

// guarded is a region in blocks, each guarded by a mutex of the space, and what is in them.
type guarded struct {
	block int
	want  []byte
	mu    []sync.Mutex // for the race detector, which does not know the space's
}

func newGuarded(size, block int) *guarded {
	return &guarded{block, make([]byte, size), make([]sync.Mutex, size/block)}
}

// use reads a block under its mutex, and writes some of it.
func (g *guarded) use(ctx context.Context, rng *rand.Rand, s *dsm.Space, r *dsm.Region) error {
	i := rng.IntN(len(g.mu))
	m := s.Mutex(fmt.Sprintf("block %d", i))
	if _, err := m.Lock(ctx); err != nil {
		return err
	}
	err := g.useLocked(ctx, rng, r, i)
	return errors.Join(err, m.Unlock())
}

func (g *guarded) useLocked(ctx context.Context, rng *rand.Rand, r *dsm.Region, i int) error {
	g.mu[i].Lock()
	defer g.mu[i].Unlock()
	at := i * g.block
	want := g.want[at : at+g.block]
	got := make([]byte, g.block)
	if _, err := r.ReadAt(got, int64(at)); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("block %d is %x, want %x", i, got, want)
	}
	from := rng.IntN(g.block)
	part := want[from : from+1+rng.IntN(g.block-from)]
	fill(rng, part)
	if rng.IntN(2) == 0 {
		_, err := r.WriteAt(part, int64(at+from))
		return err
	}
	v, err := r.View(ctx, int64(at+from), int64(len(part)), write)
	if err != nil {
		return err
	}
	copy(v.Bytes(), part)
	v.Release()
	return nil
}

// TestReleaseRegion: blocks that share pages and words, each under a mutex of its own, behave as in one memory.
func TestReleaseRegion(t *testing.T) {
	const size, block, threads = 3000, 13, 2
	nodes := openNodes(t, 3, dsm.Config{})
	regions := releaseRegions(t, nodes, size, dsm.Placement{})
	g := newGuarded(size, block)
	var wg sync.WaitGroup
	for i, s := range nodes {
		for thread := range threads {
			wg.Go(func() {
				seed := uint64(i*threads + thread)
				rng := rand.New(rand.NewPCG(seed, 7))
				for step := range 500 * long() {
					if err := g.use(patient(t), rng, s, regions[i]); err != nil {
						t.Errorf("node %d, seed %d, step %d: %v", i, seed, step, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// TestSeveralWritersOfOnePage: every node writes bytes of its own between two barriers, and all see all.
func TestSeveralWritersOfOnePage(t *testing.T) {
	const count, rounds = 4, 50
	nodes := openNodes(t, count, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[1]))
	each(nodes, func(i int, s *dsm.Space) {
		all := make([]byte, 256)
		for round := range rounds {
			for at := i; at < len(all); at += count { // each word is written by all of them
				if _, err := regions[i].WriteAt([]byte{byte(round + at)}, int64(at)); err != nil {
					t.Error(err)
				}
			}
			meet(t, s, "written", count)
			if _, err := regions[i].ReadAt(all, 0); err != nil {
				t.Error(err)
			}
			for at, b := range all {
				if b != byte(round+at) {
					t.Errorf("node %d, round %d: byte %d is %d, want %d", i, round, at, b, byte(round+at))
					return
				}
			}
			meet(t, s, "read", count)
		}
	})
	for i, r := range regions {
		if faults := pageCounts(t, nodes[i]).WriteFaults; r.Consistency() != pagetable.Release || faults > 2*rounds {
			t.Errorf("node %d: %d write faults in %d rounds", i, faults, rounds)
		}
	}
}

func pageCounts(t testing.TB, s *dsm.Space) dsm.Counts {
	t.Helper()
	return s.Stats().Counts
}

func meet(t testing.TB, s *dsm.Space, name string, parties int) {
	t.Helper()
	if err := s.Barrier(name, parties).Wait(patient(t)); err != nil {
		t.Error(err)
	}
}

// TestAViewAcrossABarrier: what a view writes is released every time, and what others write comes under it.
func TestAViewAcrossABarrier(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[0]))
	each(nodes, func(i int, s *dsm.Space) {
		v, err := regions[i].View(patient(t), int64(8*i), 8, write)
		if err != nil {
			t.Error(err)
			return
		}
		defer v.Release()
		other := make([]byte, 1)
		for round := range byte(20) {
			v.Bytes()[0] = round + 1
			meet(t, s, "written", 2)
			if _, err := regions[i].ReadAt(other, int64(8*(1-i))); err != nil || other[0] != round+1 {
				t.Errorf("node %d reads %d (%v), want %d", i, other[0], err, round+1)
			}
			meet(t, s, "read", 2)
		}
	})
}

// TestAWriteBehindTheLook: what a goroutine writes through a view, while the release of another one looks at the page and
// has come past it, is released by its own.
func TestAWriteBehindTheLook(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "shared", dsm.RegionOptions{
		Size: 1 << 20, PageSize: 1 << 20, Placement: homed(nodes[1]), Consistency: pagetable.Release,
	})
	v, err := regions[0].View(patient(t), 0, 8, write)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !done.Load(); i++ {
			meet(t, nodes[0], fmt.Sprint("alone ", i%8), 1) // some of which are at the other node, and take longer
		}
	})
	for i := range byte(200) {
		err := underMutex(t, nodes[0], "m", func() { v.Bytes()[0] = i })
		if err == nil {
			err = underMutex(t, nodes[1], "m", func() {
				if b := get(t, regions[1], 0); b != i {
					t.Errorf("the other node reads %d, want %d", b, i)
				}
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	wg.Wait()
}

// TestAWordThatIsHalfDone: who comes to the page while its home is writing a word sees what the home has written in the
// end, also of those bytes that are then as they were before.
func TestAWordThatIsHalfDone(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[0]))
	get(t, regions[1], 8) // so that somebody is to be told
	v, err := regions[0].View(patient(t), 0, 8, write)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	v.Bytes()[0] = 1
	get(t, regions[2], 8)
	v.Bytes()[0], v.Bytes()[1] = 0, 2
	each(nodes, func(_ int, s *dsm.Space) { meet(t, s, "written", 3) })
	for i, r := range regions {
		if a, b := get(t, r, 0), get(t, r, 1); a != 0 || b != 2 {
			t.Errorf("node %d reads %d and %d, want 0 and 2", i, a, b)
		}
	}
}

// TestPagesAtHomeCostNothing: as long as nobody else reads them, a home writes without a message or a notice.
func TestPagesAtHomeCostNothing(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := releaseRegions(t, nodes, 64<<10, homed(nodes[0]))
	m := nodes[0].Mutex("m")
	before := nodes[0].Stats().MessagesOut
	for range 100 {
		if _, err := m.Lock(patient(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := regions[0].WriteAt(make([]byte, 64<<10), 0); err != nil {
			t.Fatal(err)
		}
		if err := m.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if sent := nodes[0].Stats().MessagesOut - before; sent > 50 {
		t.Errorf("%d packets for writes at home", sent)
	}
}

// TestReleaseOptions: what two nodes ask for must be the same, and words that need one owner are refused.
func TestReleaseOptions(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	releaseRegions(t, nodes[:1], 512, dsm.Placement{})
	if _, err := nodes[1].Region(patient(t), "shared", dsm.RegionOptions{Size: 512}); !errors.Is(err, dsm.ErrMismatch) {
		t.Errorf("as a sequential region: %v, want ErrMismatch", err)
	}
	r, err := nodes[1].Region(patient(t), "shared", dsm.RegionOptions{})
	if err != nil || r.Consistency() != pagetable.Release {
		t.Fatalf("as it is: %v, %v", r, err)
	}
	if _, err := r.Add(patient(t), 0, 1); !errors.Is(err, dsm.ErrConsistency) {
		t.Errorf("add: %v, want ErrConsistency", err)
	}
	if err := r.Store(patient(t), 8, 7); err != nil {
		t.Error(err)
	}
	if v, err := r.Load(patient(t), 8); v != 7 || err != nil {
		t.Errorf("load: %d, %v", v, err)
	}
	if _, err := dsm.NewHeap(nodes[1], r); !errors.Is(err, dsm.ErrConsistency) {
		t.Errorf("heap: %v, want ErrConsistency", err)
	}
	plain := openRegions(t, nodes[:1], "plain", dsm.RegionOptions{Size: 512})[0]
	if _, err := nodes[1].Region(patient(t), "plain", dsm.RegionOptions{Consistency: pagetable.Release}); !errors.Is(err, dsm.ErrMismatch) {
		t.Errorf("%v region as a release region: %v, want ErrMismatch", plain.Consistency(), err)
	}
	if _, err := nodes[1].Region(patient(t), "odd", dsm.RegionOptions{Size: 1, Consistency: 9}); err == nil {
		t.Error("consistency 9 is taken")
	}
}

// TestLeaveOfAReleaseHome: what a home had stays, and so do writes that are under way to it.
func TestLeaveOfAReleaseHome(t *testing.T) {
	const size, block = 3000, 13
	nodes := openNodes(t, 3, dsm.Config{})
	regions := releaseRegions(t, nodes, size, dsm.Placement{})
	g := newGuarded(size, block)
	stays := func(steps int) {
		each(nodes[:2], func(i int, s *dsm.Space) {
			rng := rand.New(rand.NewPCG(uint64(i), 8))
			for step := range steps {
				if err := g.use(patient(t), rng, s, regions[i]); err != nil {
					t.Errorf("node %d, step %d: %v", i, step, err)
					return
				}
			}
		})
	}
	if err := g.use(patient(t), rand.New(rand.NewPCG(9, 9)), nodes[2], regions[2]); err != nil {
		t.Fatal(err)
	}
	stays(50)
	left := make(chan error)
	go func() { left <- nodes[2].Leave(patient(t)) }()
	stays(200)
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	stays(50)
}

// TestLeaveWithKeptPages: a node leaves that has written the same pages in every interval, at their home and elsewhere,
// and so keeps the right to write them.
func TestLeaveWithKeptPages(t *testing.T) {
	const page = 256
	nodes := openNodes(t, 3, dsm.Config{})
	regions := openRegions(t, nodes, "shared", dsm.RegionOptions{
		Size: 2 * page, PageSize: page, Consistency: pagetable.Release,
		Placement: dsm.Placement{Kind: pagetable.Blocked, Nodes: []pagetable.NodeID{nodes[2].Self(), nodes[0].Self()}},
	})
	for i := range byte(10) {
		err := underMutex(t, nodes[2], "m", func() {
			put(t, regions[2], 0, i)
			put(t, regions[2], page, i)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = underMutex(t, nodes[1], "m", func() { // it follows both
			if a, b := get(t, regions[1], 0), get(t, regions[1], page); a != i || b != i {
				t.Errorf("the other node reads %d and %d, want %d", a, b, i)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := underMutex(t, nodes[2], "m", func() {
		put(t, regions[2], 0, 20)
		put(t, regions[2], page, 21)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[2].Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
	for i, r := range regions[:2] {
		err := underMutex(t, nodes[i], "m", func() {
			if a, b := get(t, r, 0), get(t, r, page); a != 20 || b != 21 {
				t.Errorf("node %d reads %d and %d, want 20 and 21", i, a, b)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestLossOfAReleaseHome: its pages are lost, what they had is no zeros, and releases go on.
func TestLossOfAReleaseHome(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[2]))
	if _, err := regions[0].WriteAt([]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	m := nodes[0].Mutex("m")
	if _, err := m.Lock(patient(t)); err != nil {
		t.Fatal(err)
	}
	if err := m.Unlock(); err != nil {
		t.Fatal(err)
	}
	for i, r := range regions[:2] {
		if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, dsm.ErrNodeLost) {
			t.Errorf("node %d reads a page that is lost: %v", i, err)
		}
	}
}

// TestWritesStayUnderAnAcquire: what was written under one mutex, and is not released yet, is still there after the
// page was fetched again because of another one. The other node changes the page so often that this one asks to be told
// no more.
func TestWritesStayUnderAnAcquire(t *testing.T) {
	const changes = 100
	nodes := openNodes(t, 2, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[1]))
	writeLocked(t, nodes[1], regions[1], "right", 1, 10) // so that both mutexes have been somewhere
	writeLocked(t, nodes[0], regions[0], "behind", 2, 1)
	err := underMutex(t, nodes[0], "left", func() {
		put(t, regions[0], 0, 20)
		for i := range byte(changes) {
			writeLocked(t, nodes[1], regions[1], "right", 1, 10+i)
		}
		// This mutex comes behind the wish to be told no more.
		writeLocked(t, nodes[1], regions[1], "behind", 2, 2)
		writeLocked(t, nodes[1], regions[1], "right", 1, 10+changes)
		err := underMutex(t, nodes[0], "right", func() {
			if b := get(t, regions[0], 1); b != 10+changes {
				t.Errorf("the other node's byte is %d, want %d", b, 10+changes)
			}
			if b := get(t, regions[0], 0); b != 20 {
				t.Errorf("this node's byte is %d, want 20", b)
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	err = underMutex(t, nodes[1], "left", func() {
		if b := get(t, regions[1], 0); b != 20 {
			t.Errorf("the home has %d, want 20", b)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestIntervalsLeaveNoMemory: what two nodes keep depends on the pages that they write, not on how often. With
// PAGEMESH_LONG=1 they do so a million times.
func TestIntervalsLeaveNoMemory(t *testing.T) {
	const pages = 8
	nodes := openNodes(t, 3, dsm.Config{})
	regions := releaseRegions(t, nodes, pages*256, homed(nodes[2])) // it never hears of the mutex
	ctx := context.Background()
	mutexes := []*dsm.Mutex{nodes[0].Mutex("m"), nodes[1].Mutex("m")}
	intervals := func(count int) {
		for i := range count {
			_, err := mutexes[i%2].Lock(ctx)
			if err == nil {
				_, err = regions[i%2].WriteAt([]byte{byte(i)}, int64(i%pages*256))
			}
			if err == nil {
				err = mutexes[i%2].Unlock()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	count := 2000
	if long() > 1 {
		count = 200_000
	}
	intervals(count)
	before := heapInUse()
	intervals(4 * count)
	after := heapInUse()
	t.Logf("%d KiB after %d intervals, %d KiB after %d", before>>10, count, after>>10, 5*count)
	if after > before+1<<20 {
		t.Errorf("%d bytes in use after %d intervals, %d after %d", before, count, after, 5*count)
	}
}

func underMutex(t testing.TB, s *dsm.Space, name string, f func()) error {
	m := s.Mutex(name)
	if _, err := m.Lock(patient(t)); err != nil {
		return err
	}
	f()
	return m.Unlock()
}

func writeLocked(t testing.TB, s *dsm.Space, r *dsm.Region, mutex string, off int64, b byte) {
	t.Helper()
	if err := underMutex(t, s, mutex, func() { put(t, r, off, b) }); err != nil {
		t.Error(err)
	}
}

func put(t testing.TB, r *dsm.Region, off int64, b byte) {
	t.Helper()
	if _, err := r.WriteAt([]byte{b}, off); err != nil {
		t.Error(err)
	}
}

func get(t testing.TB, r *dsm.Region, off int64) byte {
	t.Helper()
	b := make([]byte, 1)
	if _, err := r.ReadAt(b, off); err != nil {
		t.Error(err)
	}
	return b[0]
}
