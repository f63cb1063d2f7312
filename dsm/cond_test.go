package dsm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pagemesh/dsm"
)

func signal(t testing.TB, c *dsm.Cond) {
	t.Helper()
	if err := c.Signal(patient(t)); err != nil {
		t.Error(err)
	}
}

func broadcast(t testing.TB, c *dsm.Cond) {
	t.Helper()
	if err := c.Broadcast(patient(t)); err != nil {
		t.Error(err)
	}
}

// TestCondQueue: a bounded queue that producers and consumers at several nodes share loses and doubles nothing, and
// nobody sleeps on.
func TestCondQueue(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[0]))
	const items, room = 60, 2
	var local sync.Mutex // for the race detector, which does not know the space's
	var got []int
	each(nodes, func(i int, s *dsm.Space) {
		mu := s.Mutex("queue")
		notFull, notEmpty := s.Cond("not full", mu), s.Cond("not empty", mu)
		until := func(c *dsm.Cond, ok func(n int) bool) (n int) {
			token := lock(t, mu)
			for n = int(get(t, regions[i], 0)); !ok(n); n = int(get(t, regions[i], 0)) {
				again, err := c.Wait(patient(t))
				if err != nil || again <= token {
					t.Errorf("token %d after %d, %v", again, token, err)
					return n
				}
				token = again
			}
			return n
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for item := range items {
				n := until(notFull, func(n int) bool { return n < room })
				put(t, regions[i], int64(1+n), byte(items*i+item))
				put(t, regions[i], 0, byte(n+1))
				signal(t, notEmpty)
				unlock(t, mu)
			}
		})
		wg.Go(func() {
			for range items {
				n := until(notEmpty, func(n int) bool { return n > 0 })
				local.Lock()
				got = append(got, int(get(t, regions[i], int64(n))))
				local.Unlock()
				put(t, regions[i], 0, byte(n-1))
				unlock(t, mu)
				signal(t, notFull)
			}
		})
		wg.Wait()
	})
	slices.Sort(got)
	for i, item := range got {
		if item != i {
			t.Fatalf("%d items came out of %d: %v", len(got), 3*items, got)
		}
	}
}

// TestCondWakesInOrder: a signal wakes who has waited longest, a broadcast all.
func TestCondWakesInOrder(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		var woken []int
		for place, i := range []int{1, 2, 1, 0, 2} {
			go func() {
				mu := nodes[i].Mutex("m")
				lock(t, mu)
				if _, err := nodes[i].Cond("c", mu).Wait(patient(t)); err != nil {
					t.Error(err)
				}
				woken = append(woken, place)
				unlock(t, mu)
			}()
			synctest.Wait()
		}
		if l := statusOf(t, nodes[1], "c"); l.Kind != "cond" || len(l.Waiting) != 5 {
			t.Errorf("the home says %+v", l)
		}
		c := nodes[2].Cond("c", nodes[2].Mutex("m"))
		for n := 1; n <= 3; n++ {
			signal(t, c)
			synctest.Wait()
			if want := []int{0, 1, 2}[:n]; !slices.Equal(woken, want) {
				t.Errorf("%d signals have woken %v, want %v", n, woken, want)
			}
		}
		broadcast(t, c)
		synctest.Wait()
		if slices.Sort(woken); !slices.Equal(woken, []int{0, 1, 2, 3, 4}) {
			t.Errorf("woken are %v, want all", woken)
		}
	})
}

// TestCanceledWaitPassesItsSignalOn, and has the mutex again.
func TestCanceledWaitPassesItsSignalOn(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		why := errors.New("no time")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := 0
		wait := func(ctx context.Context, s *dsm.Space, want error) {
			mu := s.Mutex("m")
			lock(t, mu)
			_, err := s.Cond("c", mu).Wait(ctx)
			wantError(t, "Wait", err, want)
			ended++
			unlock(t, mu)
		}
		go wait(ctx, nodes[1], why)
		synctest.Wait()
		go wait(patient(t), nodes[2], nil)
		synctest.Wait()
		mu := nodes[0].Mutex("m")
		lock(t, mu)
		cancel(why)
		synctest.Wait()
		if ended != 0 {
			t.Error("a canceled Wait has returned without the mutex")
		}
		signal(t, nodes[0].Cond("c", mu))
		unlock(t, mu)
		synctest.Wait()
		if ended != 2 {
			t.Errorf("%d of 2 have returned", ended)
		}
	})
}

func TestCondNeedsItsMutex(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	mu := nodes[0].Mutex("m")
	c := nodes[0].Cond("c", mu)
	_, err := c.Wait(patient(t))
	wantError(t, "Wait without the mutex", err, dsm.ErrNotHeld)
	if l := statusOf(t, nodes[1], "c"); len(l.Waiting) != 0 {
		t.Errorf("%v wait", l.Waiting)
	}
	if err := nodes[0].Cond("", mu).Signal(patient(t)); err == nil || !contains(err, "lock name has 0 bytes") {
		t.Errorf("signal without a name: %v", err)
	}
	signal(t, c) // nobody
	lock(t, mu)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Wait(ended)
	wantError(t, "Wait with a context that has ended", err, context.Canceled)
	unlock(t, mu)
}

// TestCondInANewView: who waits is woken when a node goes, whichever it is; one at the node gets ErrClosed.
func TestCondInANewView(t *testing.T) {
	for name, end := range map[string]func(*dsm.Space) error{
		"lost": (*dsm.Space).Close,
		"left": func(s *dsm.Space) error { return s.Leave(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, 4, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
				const conds = 6
				var woken atomic.Int64
				for i := range conds {
					for _, s := range nodes[1:3] {
						go func() {
							mu := s.Mutex(fmt.Sprint("m", i))
							lock(t, mu)
							_, err := s.Cond(fmt.Sprint("c", i), mu).Wait(patient(t))
							if s == nodes[2] {
								wantError(t, "Wait at the node", err, dsm.ErrClosed)
								return
							}
							if err != nil && !errors.Is(err, dsm.ErrOwnerDied) {
								t.Error(err)
							}
							woken.Add(1)
							unlock(t, mu)
						}()
					}
				}
				synctest.Wait()
				if err := end(nodes[2]); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if woken := woken.Load(); woken != conds {
					t.Errorf("%d of %d are woken", woken, conds)
				}
			})
		})
	}
}

func init() {
	programs["conds"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "turn", dsm.RegionOptions{Size: 4096})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[int](r)
		if err != nil {
			return err
		}
		mu := p.Mutex("m")
		c := p.Cond("turn", mu)
		if _, err := c.Wait(ctx); !errors.Is(err, dsm.ErrNotHeld) {
			return fmt.Errorf("Wait without the mutex: %v", err)
		}
		if _, err := mu.Lock(ctx); err != nil {
			return err
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := p.Cond("never", mu).Wait(ended); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("canceled Wait: %v", err)
		}
		for words[0] < p.n {
			for words[0]%p.ranks != p.rank && words[0] < p.n {
				if _, err := c.Wait(ctx); err != nil {
					return err
				}
			}
			words[0]++
			if err := c.Broadcast(ctx); err != nil {
				return err
			}
		}
		if err := mu.Unlock(); err != nil {
			return err
		}
		fmt.Println(p.rank)
		return nil
	}
}

// TestAttachedProgramsTakeTurns: several programs, two of them at one node.
func TestAttachedProgramsTakeTurns(t *testing.T) {
	_, sockets := serving(t, 2)
	for rank, got := range runPrograms(t, "conds", []string{sockets[0], sockets[1], sockets[1]}, 60) {
		if strings.TrimSpace(got) != fmt.Sprint(rank) {
			t.Errorf("program %d says %q", rank, got)
		}
	}
}
