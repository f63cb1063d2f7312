package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/transport"
)

// stormRule says how goroutines lock several of the same few locks.
type stormRule int

const (
	inOrder         stormRule = iota // by their numbers: no deadlock
	oneAfterAnother                  // anyhow, but one goroutine at a time: no deadlock, though others hold what they locked
	anyhow                           // deadlocks
)

const (
	stormLocks      = 6
	stormGoroutines = 4 // at each node or program
)

// stormLock returns a lock of that number, how much of it that is, and its name.
func stormLock(s *dsm.Space, n int, reads bool) (l locker, weight int64) {
	switch {
	case n%2 == 1:
		return mutexOf(s, fmt.Sprint(n)), stormWriter
	case reads:
		return readerOf(s, fmt.Sprint(n)), 1
	}
	return writerOf(s, fmt.Sprint(n)), stormWriter
}

// stormWriter is how much of a lock one has who has it alone.
const stormWriter = 1000

// lockStorm has goroutines of one space lock.
type lockStorm struct {
	s         *dsm.Space
	rule      stormRule
	rounds    int
	hold      time.Duration             // how long at most what was locked behind the gate is held
	inside    *[stormLocks]atomic.Int64 // how much of each lock is held
	deadlocks *atomic.Int64
}

// run is what one of them does.
func (x lockStorm) run(ctx context.Context, rnd *rand.Rand) error {
	gate := mutexOf(x.s, "gate")
	for range x.rounds {
		numbers := rnd.Perm(stormLocks)[:1+rnd.IntN(3)]
		var errs []error
		switch x.rule {
		case inOrder:
			slices.Sort(numbers)
		case oneAfterAnother:
			errs = append(errs, gate.lock(ctx))
		}
		held, err := x.lockAll(ctx, rnd, numbers)
		errs = append(errs, err)
		if x.rule == oneAfterAnother {
			errs = append(errs, gate.unlock())
			time.Sleep(time.Duration(rnd.Int64N(int64(x.hold))))
		}
		for _, unlock := range held {
			errs = append(errs, unlock())
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

// lockAll locks until there is a deadlock, and returns how to unlock what it has locked.
func (x lockStorm) lockAll(ctx context.Context, rnd *rand.Rand, numbers []int) (held []func() error, err error) {
	for _, n := range numbers {
		l, weight := stormLock(x.s, n, rnd.IntN(2) == 0)
		if err := l.lock(ctx); errors.Is(err, dsm.ErrDeadlock) {
			x.deadlocks.Add(1)
			return held, nil
		} else if err != nil {
			return held, err
		}
		if all := x.inside[n].Add(weight); all > stormWriter {
			return held, fmt.Errorf("lock %d is held %d times", n, all)
		}
		held = append(held, func() error { x.inside[n].Add(-weight); return l.unlock() })
	}
	return held, nil
}

// start starts the goroutines, whose errors come together in errs.
func (x lockStorm) start(ctx context.Context, wg *sync.WaitGroup, seed uint64, errs chan<- error) {
	for i := range stormGoroutines {
		wg.Go(func() {
			if err := x.run(ctx, rand.New(rand.NewPCG(seed, uint64(i)))); err != nil {
				errs <- err
			}
		})
	}
}

// storm has goroutines of all nodes lock at once, and returns how often that was a deadlock.
func storm(t *testing.T, nodes []*dsm.Space, x lockStorm, seed uint64) int64 {
	t.Helper()
	x.rounds, x.inside, x.deadlocks = 30*long(), new([stormLocks]atomic.Int64), new(atomic.Int64)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience*time.Duration(long()))
	defer cancel()
	errs := make(chan error, len(nodes)*stormGoroutines)
	var wg sync.WaitGroup
	for i, s := range nodes {
		x.s = s
		x.start(ctx, &wg, seed+uint64(i), errs)
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	return x.deadlocks.Load()
}

func init() {
	programs["lock storm"] = func(ctx context.Context, p *testProgram) error {
		x := lockStorm{
			s: p.Space, rule: stormRule(p.n), rounds: 30 * long(), hold: time.Millisecond,
			inside: new([stormLocks]atomic.Int64), deadlocks: new(atomic.Int64),
		}
		errs := make(chan error, stormGoroutines)
		var wg sync.WaitGroup
		x.start(ctx, &wg, uint64(p.rank), errs)
		wg.Wait()
		close(errs)
		for err := range errs {
			return err
		}
		fmt.Println(x.deadlocks.Load())
		return nil
	}
}

// checkStorm wants deadlocks if and only if there can be some.
func checkStorm(t *testing.T, rule stormRule, deadlocks int64) {
	t.Helper()
	switch {
	case rule != anyhow && deadlocks > 0:
		t.Errorf("%d deadlocks where there can be none", deadlocks)
	case rule == anyhow && deadlocks == 0:
		t.Error("no deadlock: the test tests nothing")
	}
	t.Logf("%d deadlocks", deadlocks)
}

var stormRules = map[string]stormRule{"in order": inOrder, "one after another": oneAfterAnother, "anyhow": anyhow}

// TestLockStorms: every wait ends, although nobody gives up by himself, and only a deadlock is called one.
func TestLockStorms(t *testing.T) {
	for name, rule := range stormRules {
		t.Run(name, func(t *testing.T) {
			checkStorm(t, rule, storm(t, openNodes(t, 3, quickly), lockStorm{rule: rule, hold: time.Millisecond}, seedOf(t)))
		})
	}
}

// TestLockStormsOfDistantNodes: what nodes say of their locks is of different times, since messages take up to
// 50 ms.
func TestLockStormsOfDistantNodes(t *testing.T) {
	for name, rule := range stormRules {
		t.Run(name, func(t *testing.T) {
			seed := seedOf(t)
			synctest.Test(t, func(t *testing.T) {
				t.Cleanup(awaitProbes)
				net := transport.NewMemoryNetwork(seed, transport.Faults{MaxDelay: 50 * time.Millisecond})
				nodes := openNodes(t, 3, dsm.OnMemory(net, quickly))
				checkStorm(t, rule, storm(t, nodes, lockStorm{rule: rule, hold: 5 * time.Millisecond}, seed))
			})
		})
	}
}

func TestLockStormsOfPrograms(t *testing.T) {
	for name, rule := range stormRules {
		t.Run(name, func(t *testing.T) {
			spaces, sockets := servingWith(t, 2, quickly)
			cmds := startPrograms(t, "lock storm", append(sockets, sockets[0]), int(rule))
			deadlocks := storm(t, spaces, lockStorm{rule: rule, hold: time.Millisecond}, seedOf(t))
			for rank, cmd := range cmds {
				if err := cmd.Wait(); err != nil {
					t.Errorf("program %d: %v\n%s", rank, err, cmd.Stderr)
					continue
				}
				n, err := strconv.ParseInt(strings.TrimSpace(cmd.Stdout.(*bytes.Buffer).String()), 10, 64)
				if err != nil {
					t.Error(err)
				}
				deadlocks += n
			}
			checkStorm(t, rule, deadlocks)
		})
	}
}
