package dsm_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
)

// faultsOfProcess returns how often the kernel has had to do something about an access of this process.
func faultsOfProcess() (n int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Minflt + u.Majflt
}

// TestKeptPagesTrapNoMore: a program that writes the same pages in every interval traps in the first ones only, at the
// home, where somebody follows, as elsewhere.
func TestKeptPagesTrapNoMore(t *testing.T) {
	_, sockets := serving(t, 2)
	runPrograms(t, "kept", sockets, 20)
}

func init() {
	programs["kept"] = func(ctx context.Context, p *testProgram) error {
		words, err := openShared(ctx, p)
		if err != nil {
			return err
		}
		var before int64
		for round := range p.n {
			if round == 5 {
				before = faultsOfProcess()
			}
			for i := p.rank; i < len(words); i += pageSize / 8 {
				words[i] = uint64(round + 1)
			}
			if err := p.barrier(ctx, "written"); err != nil {
				return err
			}
			for i := range sharedPages {
				if w := words[i*pageSize/8+1-p.rank]; w != uint64(round+1) {
					return fmt.Errorf("round %d: the other's word in page %d is %d", round, i, w)
				}
			}
			if err := p.barrier(ctx, "read"); err != nil {
				return err
			}
		}
		if n := faultsOfProcess() - before; n > int64(p.n-5)*sharedPages/4 {
			return fmt.Errorf("%d faults on %d pages in %d rounds", n, sharedPages, p.n-5)
		}
		return nil
	}
}

// TestAWriteWhileAPageIsKeptNoMore: what one goroutine writes while another one's release finds that a page is kept in
// vain is not lost.
func TestAWriteWhileAPageIsKeptNoMore(t *testing.T) {
	_, sockets := serving(t, 2)
	runPrograms(t, "kept in vain", sockets, 500*long())
}

func init() {
	programs["kept in vain"] = func(ctx context.Context, p *testProgram) error {
		words, err := openShared(ctx, p)
		if err != nil {
			return err
		}
		if p.rank == 0 {
			if err := writeNowAndThen(ctx, p, words); err != nil {
				return err
			}
		}
		if err := p.barrier(ctx, "written"); err != nil {
			return err
		}
		for i, w := range words[:min(p.n, len(words))] {
			if w != uint64(i+1) {
				return fmt.Errorf("word %d is %d", i, w)
			}
		}
		return nil
	}
}

// writeNowAndThen writes one word after the other, in a few intervals in a row and then, some intervals later, at a
// time of its own, while another goroutine releases all the time.
func writeNowAndThen(ctx context.Context, p *testProgram, words []uint64) error {
	var released atomic.Int64
	var done atomic.Bool
	failed := make(chan error, 1)
	go func() {
		var err error
		for err == nil && !done.Load() {
			err = p.Barrier("alone", 1).Wait(ctx)
			released.Add(1)
		}
		released.Add(1 << 40) // nobody waits for it any more
		failed <- err
	}()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range words[:min(p.n, len(words))] {
		intervals := int64(1)
		if i%3 == 0 {
			intervals = 3 + rng.Int64N(3)
		}
		for until := released.Load() + intervals; released.Load() < until; {
		}
		for range rng.IntN(1 << rng.IntN(18)) {
			released.Load() // for a moment
		}
		words[i] = uint64(i + 1)
	}
	done.Store(true)
	return <-failed
}
