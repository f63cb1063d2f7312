package dsm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"pagemesh/dsm"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// TestPagesMoveHomeWhenMemoryIsShort has a node go through eight times as much memory as it may keep.
func TestPagesMoveHomeWhenMemoryIsShort(t *testing.T) {
	const limit = 1 << 20
	nodes := openNodes(t, 1, dsm.Config{})
	small := openNode(t, dsm.Config{Seeds: []string{nodes[0].Addr()}, Rank: 1, MemoryLimit: limit})
	defer small.Close()
	r := openRegions(t, []*dsm.Space{nodes[0], small}, "large", dsm.RegionOptions{Size: 8 * limit, Placement: homed(nodes[0])})
	ctx := patient(t)
	for round := range uint64(2) {
		for off := int64(0); off < 8*limit; off += 4096 {
			if v, err := r[1].Add(ctx, off, uint64(off)); err != nil || v != (round+1)*uint64(off) {
				t.Fatalf("round %d: word at %d is %d, %v", round, off, v, err)
			}
		}
	}
	buf := make([]byte, 8*limit)
	if _, err := r[1].ReadAt(buf, 0); err != nil {
		t.Fatal(err)
	}
	if st := small.Stats(); st.Evictions < 3*7*limit/4096 {
		t.Errorf("%d pages were evicted", st.Evictions)
	}
}

// TestChangesMoveHomeWhenMemoryIsShort has a node write, without a release, eight times as much of a release region
// as it may keep.
func TestChangesMoveHomeWhenMemoryIsShort(t *testing.T) {
	const limit = 1 << 20
	nodes := openNodes(t, 1, dsm.Config{})
	small := openNode(t, dsm.Config{Seeds: []string{nodes[0].Addr()}, Rank: 1, MemoryLimit: limit})
	defer small.Close()
	r := openRegions(t, []*dsm.Space{nodes[0], small}, "large", dsm.RegionOptions{
		Size: 8 * limit, Placement: homed(nodes[0]), Consistency: pagetable.Release,
	})
	ctx := patient(t)
	for round := range uint64(2) {
		for off := int64(0); off < 8*limit; off += 4096 {
			v, err := r[1].Load(ctx, off)
			if err != nil || v != round*uint64(off) {
				t.Fatalf("round %d: word at %d is %d, %v", round, off, v, err)
			}
			if err := r[1].Store(ctx, off, v+uint64(off)); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	each([]*dsm.Space{nodes[0], small}, func(_ int, s *dsm.Space) { meet(t, s, "written", 2) })
	for off := int64(0); off < 8*limit; off += 4096 {
		if v, err := r[0].Load(ctx, off); err != nil || v != 2*uint64(off) {
			t.Fatalf("the word at %d is %d at its home, %v", off, v, err)
		}
	}
}

// TestKeptPagesMakeRoom: pages that a node has written in one interval after the other, and keeps for the next one, go
// when others need their place.
func TestKeptPagesMakeRoom(t *testing.T) {
	const limit, page, step = 1 << 18, pagetable.DefaultPageSize, 8 * pagetable.DefaultPageSize
	nodes := openNodes(t, 1, dsm.Config{})
	small := openNode(t, dsm.Config{Seeds: []string{nodes[0].Addr()}, Rank: 1, MemoryLimit: limit})
	defer small.Close()
	r := openRegions(t, []*dsm.Space{nodes[0], small}, "large", dsm.RegionOptions{
		Size: 4 * limit, Placement: homed(nodes[0]), Consistency: pagetable.Release,
	})
	for from := int64(0); from < 4*limit; from += step {
		for round := range byte(3) {
			err := underMutex(t, small, "m", func() {
				for off := from; off < from+step; off += page {
					put(t, r[1], off, byte(off/page)+round)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	err := underMutex(t, nodes[0], "m", func() {
		for off := int64(0); off < 4*limit; off += page {
			if got, want := get(t, r[0], off), byte(off/page)+2; got != want {
				t.Errorf("the home has %d at %d, want %d", got, off, want)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
	if small.Stats().Evictions == 0 {
		t.Error("nothing was evicted")
	}
}

func TestMemoryThatHasNoOtherPlaceIsAnError(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{MemoryLimit: 1 << 20})
	r := openRegions(t, nodes, "large", dsm.RegionOptions{Size: 2 << 20})[0]
	ctx := patient(t)
	var err error
	off := int64(0)
	for ; off < 2<<20 && err == nil; off += 4096 {
		err = r.Store(ctx, off, 1)
	}
	if !errors.Is(err, dsm.ErrMemory) || off != 1<<20+4096 {
		t.Errorf("at %d: %v", off, err)
	}
	if v, err := r.Load(ctx, 0); v != 1 || err != nil {
		t.Errorf("what was here before is %d, %v", v, err)
	}
}

func init() {
	programs["room"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "large", dsm.RegionOptions{Size: 8 << 20, Consistency: pagetable.Consistency(p.n)})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[int](r)
		if err != nil {
			return err
		}
		sum := 0
		for round := range 3 {
			for i := p.rank; i < len(words); i += 64 {
				words[i] += i + round
			}
		}
		for i := p.rank; i < len(words); i += 64 {
			sum += words[i] - 3*i - 3
		}
		fmt.Println(sum)
		return p.barrier(ctx, "done")
	}
}

func TestProgramsUseMoreThanTheirNodeKeeps(t *testing.T) {
	for _, c := range []pagetable.Consistency{pagetable.Sequential, pagetable.Release} {
		t.Run(c.String(), func(t *testing.T) { useMoreThanKept(t, c) })
	}
}

func useMoreThanKept(t *testing.T, c pagetable.Consistency) {
	spaces, sockets := servingWith(t, 2, dsm.Config{MemoryLimit: 6 << 20})
	for rank, got := range runPrograms(t, "room", sockets, int(c)) {
		if got != "0\n" {
			t.Errorf("program %d is off by %s", rank, got)
		}
	}
	evictions := uint64(0)
	for _, s := range spaces {
		evictions += s.Stats().Evictions
	}
	if evictions == 0 {
		t.Error("nothing was evicted")
	}
}

func init() {
	// reread reads a large region again and again, each word with the value that its node gave it.
	programs["reread"] = func(ctx context.Context, p *testProgram) error {
		b, err := p.bytes(ctx, "clean", p.n*pageSize)
		if err != nil {
			return err
		}
		for range 3 {
			for page := range p.n {
				if got, want := words(b[page*pageSize:][:pageSize])[page%512], uint64(page)*3; got != want {
					return failure(fmt.Sprint("page ", page), got, want)
				}
			}
		}
		return nil
	}
}

// TestCleanCopiesComeAgain: a program reads eight times what its node keeps.
func TestCleanCopiesComeAgain(t *testing.T) {
	const limit, pages = 1 << 20, 8 << 20 / pageSize
	nodes := openNodes(t, 1, dsm.Config{Cluster: t.Name()})
	r := openRegions(t, nodes, "clean", dsm.RegionOptions{Size: pages * pageSize, Placement: homed(nodes[0])})[0]
	for page := range int64(pages) {
		if err := r.Store(patient(t), page*pageSize+page%512*8, uint64(page)*3); err != nil {
			t.Fatal(err)
		}
	}
	small, sockets := servingWith(t, 1, dsm.Config{Seeds: []string{nodes[0].Addr()}, MemoryLimit: limit})
	runPrograms(t, "reread", sockets, pages)
	st := small[0].Stats()
	if st.Evictions < 2*pages || st.WriteFaults > 0 {
		t.Errorf("%d evictions and %d write faults, want at least %d and none", st.Evictions, st.WriteFaults, 2*pages)
	}
}

// TestEvictionsThatViewsDelayMakeNoRoom: while homes are being asked to take pages back, a view is taken of all that the
// node may keep; what the view holds on then does not come free.
func TestEvictionsThatViewsDelayMakeNoRoom(t *testing.T) {
	const limit, page = 1 << 18, pagetable.DefaultPageSize
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(awaitProbes)
		net := transport.NewMemoryNetwork(1, transport.Faults{MinDelay: hop, MaxDelay: hop})
		nodes := openNodes(t, 2, dsm.OnMemory(net, dsm.Config{MemoryLimit: limit}))
		r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 2 * limit, Placement: homed(nodes[0])})[1]
		for off := int64(0); off < limit; off += page {
			if _, err := r.Load(patient(t), off); err != nil {
				t.Fatal(err)
			}
		}
		v := takeView(t, r, 0, limit, read)
		defer v.Release()
		if _, err := r.Load(patient(t), limit); !errors.Is(err, dsm.ErrMemory) {
			t.Errorf("beside a view of all that has room: %v", err)
		}
	})
}
