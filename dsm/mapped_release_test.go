package dsm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// releaseBlock is a counter of 4 bytes and copies of its lowest byte: no multiple of a word, so that blocks
// share words and lie across pages.
const (
	releaseBlock  = 13
	releaseBlocks = 3 * pageSize / releaseBlock
)

func init() {
	programs["release"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "blocks", dsm.RegionOptions{Size: 3 * pageSize, Consistency: pagetable.Release})
		if err != nil {
			return err
		}
		bytes, err := dsm.Slice[byte](r)
		if err != nil {
			return err
		}
		if err := p.barrier(ctx, "begin"); err != nil {
			return err
		}
		defer collectGarbage()()
		mutexes := make([]*dsm.Mutex, releaseBlocks) // of both goroutines, so that those on loan are locked again
		for i := range mutexes {
			mutexes[i] = p.Mutex(fmt.Sprintf("block %d", i))
		}
		errs := make(chan error, 2)
		for g := range 2 {
			go func() { errs <- countBlocks(ctx, p.n, mutexes, bytes, uint64(2*p.rank+g)) }()
		}
		for range 2 {
			if err := <-errs; err != nil {
				return err
			}
		}
		if err := p.barrier(ctx, "counted"); err != nil {
			return err
		}
		sum := uint32(0)
		for i := range releaseBlocks {
			sum += binary.LittleEndian.Uint32(bytes[i*releaseBlock:])
		}
		fmt.Println(sum)
		return p.barrier(ctx, "read")
	}
}

// countBlocks counts in random blocks by plain loads and stores.
func countBlocks(ctx context.Context, steps int, mutexes []*dsm.Mutex, bytes []byte, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 11))
	for step := range steps {
		i := rng.IntN(releaseBlocks)
		if rng.IntN(2) == 0 {
			i = rng.IntN(8) // some are hot
		}
		m := mutexes[i]
		if _, err := m.Lock(ctx); err != nil {
			return err
		}
		b := bytes[i*releaseBlock : (i+1)*releaseBlock]
		count := binary.LittleEndian.Uint32(b)
		for _, c := range b[4:] {
			if c != byte(count) {
				return fmt.Errorf("seed %d, step %d: block %d is %x", seed, step, i, b)
			}
		}
		binary.LittleEndian.PutUint32(b, count+1)
		for k := range b[4:] {
			b[4+k] = byte(count + 1)
		}
		if err := m.Unlock(); err != nil {
			return err
		}
	}
	return nil
}

// TestMappedReleaseRegion: programs on several nodes, two of them on one, write pages at once by plain stores.
func TestMappedReleaseRegion(t *testing.T) {
	steps := 200 * long()
	_, sockets := serving(t, 3)
	outputs := runPrograms(t, "release", append(sockets, sockets[0]), steps)
	for rank, out := range outputs {
		if want := fmt.Sprint(2 * len(outputs) * steps); strings.TrimSpace(out) != want {
			t.Errorf("program %d counts %q, want %s", rank, out, want)
		}
	}
}

// TestMappedWritersOfOnePage: programs that write words of their own in one page between barriers fault once a
// phase, whoever else writes.
func TestMappedWritersOfOnePage(t *testing.T) {
	const rounds = 30
	spaces, sockets := serving(t, 3)
	runPrograms(t, "phases", sockets, rounds)
	var wg sync.WaitGroup
	for i, s := range spaces {
		wg.Go(func() {
			if c := s.Stats().Counts; c.WriteFaults+c.Upgrades > 2*rounds || c.Moves > 0 {
				t.Errorf("node %d: %d write faults, %d upgrades and %d moves in %d rounds", i, c.WriteFaults, c.Upgrades, c.Moves, rounds)
			}
		})
	}
	wg.Wait()
}

func init() {
	programs["phases"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "page", dsm.RegionOptions{Size: pageSize, Consistency: pagetable.Release})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[uint64](r)
		if err != nil {
			return err
		}
		for round := range uint64(p.n) {
			for i := p.rank; i < len(words); i += p.ranks {
				words[i] = round + uint64(i)
			}
			if err := p.barrier(ctx, "written"); err != nil {
				return err
			}
			for i, w := range words {
				if w != round+uint64(i) {
					return fmt.Errorf("round %d: word %d is %d", round, i, w)
				}
			}
			if err := p.barrier(ctx, "read"); err != nil {
				return err
			}
		}
		return nil
	}
}

// sharedPages is how many pages of a release region the programs below share, all homed at the node of rank 1.
const sharedPages = 32

func openShared(ctx context.Context, p *testProgram) (words []uint64, err error) {
	o := dsm.RegionOptions{Consistency: pagetable.Release}
	if p.rank == 1 {
		o.Size, o.Placement = sharedPages*pageSize, homed(p.Space)
	} else if err = p.barrier(ctx, "made"); err != nil {
		return nil, err
	}
	r, err := p.Region(ctx, "shared pages", o)
	if err != nil {
		return nil, err
	}
	if words, err = dsm.Slice[uint64](r); err == nil && p.rank == 1 {
		err = p.barrier(ctx, "made")
	}
	return words, err
}

// TestMappedViewAcrossAnAcquire: what a program wrote through a view, before its node acquired what others have written
// to the page and took it away, is there when the view is used again after a release.
func TestMappedViewAcrossAnAcquire(t *testing.T) {
	_, sockets := serving(t, 3)
	runPrograms(t, "view across an acquire", sockets, 0)
}

func init() {
	programs["view across an acquire"] = func(ctx context.Context, p *testProgram) error {
		words, err := openShared(ctx, p)
		if err != nil {
			return err
		}
		for round := range uint64(8) {
			switch { // the node of rank 0 follows the page until it has not used it for some time
			case p.rank == 1:
				words[2] = round
			case round == 0 || p.rank == 2:
				_ = atomic.LoadUint64(&words[3])
			}
			if err := p.barrier(ctx, "round"); err != nil {
				return err
			}
		}
		m := p.Mutex("m")
		switch p.rank {
		case 0:
			return viewAcrossAnAcquire(ctx, p, m)
		case 1:
			return writeAfterABarrier(ctx, p, m, words)
		}
		return p.barrier(ctx, "viewed")
	}
}

func writeAfterABarrier(ctx context.Context, p *testProgram, m *dsm.Mutex, words []uint64) error {
	_, err := m.Lock(ctx)
	if err == nil {
		err = p.barrier(ctx, "viewed")
	}
	words[1] = 99
	return errors.Join(err, m.Unlock())
}

func viewAcrossAnAcquire(ctx context.Context, p *testProgram, m *dsm.Mutex) error {
	r, err := p.Region(ctx, "shared pages", dsm.RegionOptions{Consistency: pagetable.Release})
	if err != nil {
		return err
	}
	v, err := r.View(ctx, 0, pageSize, pagetable.WriteAccess)
	if err != nil {
		return err
	}
	defer v.Release()
	if err := p.barrier(ctx, "viewed"); err != nil {
		return err
	}
	b := v.Bytes()
	b[0] = 7
	if _, err := m.Lock(ctx); err != nil { // when the other has written
		return err
	}
	if err := p.Barrier("alone", 1).Wait(ctx); err != nil {
		return err
	}
	b[16] = 5
	if b[0] != 7 || b[8] != 99 || b[16] != 5 {
		return fmt.Errorf("the view shows %d, %d and %d, want 7, 99 and 5", b[0], b[8], b[16])
	}
	return m.Unlock()
}
