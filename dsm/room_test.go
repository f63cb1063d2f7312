package dsm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pagemesh/dsm"
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
		r, err := p.Region(ctx, "large", dsm.RegionOptions{Size: 8 << 20})
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
	spaces, sockets := servingWith(t, 2, dsm.Config{MemoryLimit: 6 << 20})
	for rank, got := range runPrograms(t, "room", sockets, 0) {
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
