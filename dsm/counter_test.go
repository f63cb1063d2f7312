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

func add(t testing.TB, c *dsm.Counter, delta int64) (value int64) {
	t.Helper()
	value, err := c.Add(patient(t), delta)
	if err != nil {
		t.Error(err)
	}
	return value
}

func loadCounter(t testing.TB, c *dsm.Counter) (value int64) {
	t.Helper()
	value, err := c.Load(patient(t))
	if err != nil {
		t.Error(err)
	}
	return value
}

// TestCounterGivesEachItsNumber: no two additions lead to the same value, at whatever nodes they are made.
func TestCounterGivesEachItsNumber(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	const goroutines, rounds = 4, 50
	var mu sync.Mutex
	var values []int64
	each(nodes, func(_ int, s *dsm.Space) {
		c := s.Counter("c")
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range rounds {
					v := add(t, c, 1)
					mu.Lock()
					values = append(values, v)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	})
	slices.Sort(values)
	for i, v := range values {
		if v != int64(i+1) {
			t.Fatalf("the values are %v", values)
		}
	}
	if v := loadCounter(t, nodes[1].Counter("c")); v != 3*goroutines*rounds {
		t.Errorf("the counter is %d", v)
	}
	if v := loadCounter(t, nodes[1].Counter("another")); v != 0 {
		t.Errorf("another counter is %d", v)
	}
}

func TestCounterIsWaitedFor(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		var ended []string
		wait := func(what string, f func(context.Context, int64) (int64, error), bound, want int64) {
			go func() {
				if v, err := f(patient(t), bound); v != want || err != nil {
					t.Errorf("%s %d: %d, %v, want %d", what, bound, v, err, want)
				}
				ended = append(ended, what)
			}()
			synctest.Wait()
		}
		c := nodes[0].Counter("c")
		wait("at least", nodes[1].Counter("c").AtLeast, 5, 7)
		wait("at most", nodes[2].Counter("c").AtMost, -3, -3)
		wait("at once", nodes[2].Counter("c").AtMost, 0, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no time")
		go func() {
			_, err := nodes[1].Counter("c").AtLeast(ctx, 1)
			wantError(t, "canceled wait", err, why)
			ended = append(ended, "canceled")
		}()
		synctest.Wait()
		cancel(why)
		synctest.Wait()
		add(t, c, 4)
		synctest.Wait()
		add(t, c, 3)
		synctest.Wait()
		add(t, c, -9)
		synctest.Wait()
		add(t, c, -1)
		synctest.Wait()
		if want := []string{"at once", "canceled", "at least", "at most"}; !slices.Equal(ended, want) {
			t.Errorf("ended %v, want %v", ended, want)
		}
	})
}

// TestCountersOutliveNodes that leave, wherever they are homed, and nodes that are lost, if they are homed elsewhere.
// Meanwhile others count.
func TestCountersOutliveNodes(t *testing.T) {
	for name, end := range map[string]func(*dsm.Space) error{
		"lost": (*dsm.Space).Close,
		"left": func(s *dsm.Space) error { return s.Leave(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			nodes := openNodes(t, 4, dsm.Config{})
			const counters, rounds = 8, 40
			counter := func(s *dsm.Space, i int) *dsm.Counter { return s.Counter(fmt.Sprint("c", i)) }
			lost := map[int]bool{} // whose home is to be the one that is lost
			for i := range counters {
				for _, s := range nodes { // a counter that only the lost node has used would begin anew
					add(t, counter(s, i), 250)
				}
				lost[i] = name == "lost" && statusOf(t, nodes[2], fmt.Sprint("c", i)).Home == nodes[2].Self()
			}
			var gone atomic.Bool
			var wg sync.WaitGroup
			for _, s := range []*dsm.Space{nodes[0], nodes[1], nodes[3]} {
				for i := range counters {
					wg.Go(func() {
						c := counter(s, i)
						for range rounds {
							if _, err := c.Add(patient(t), 1); err != nil && !(lost[i] && errors.Is(err, dsm.ErrNodeLost)) {
								t.Error(err)
							}
						}
					})
				}
			}
			wg.Go(func() {
				if err := end(nodes[2]); err != nil {
					t.Error(err)
				}
				gone.Store(true)
			})
			wg.Wait()
			for i := range counters {
				v, err := counter(nodes[0], i).Load(patient(t))
				if lost[i] {
					wantError(t, "load of a lost counter", err, dsm.ErrNodeLost)
				} else if v != 1000+3*rounds || err != nil {
					t.Errorf("counter %d is %d, %v", i, v, err)
				}
			}
		})
	}
}

func TestWaitGroup(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		g := nodes[0].WaitGroup("work")
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		check(g.Wait(patient(t)))
		for round := range 3 {
			check(g.Add(patient(t), 4))
			var ended atomic.Int32
			for _, s := range nodes {
				go func() {
					check(s.WaitGroup("work").Wait(patient(t)))
					ended.Add(1)
				}()
			}
			for i := range 4 {
				synctest.Wait()
				if n := ended.Load(); n != 0 {
					t.Errorf("round %d: %d have gone on when %d of 4 are done", round, n, i)
				}
				check(nodes[i%3].WaitGroup("work").Done(patient(t)))
			}
			synctest.Wait()
			if n := ended.Load(); n != 3 {
				t.Errorf("round %d: %d of 3 have gone on", round, n)
			}
		}
		if l := statusOf(t, nodes[1], "work"); l.Kind != "waitgroup" || l.Value != 0 {
			t.Errorf("the home says %+v", l)
		}
		if err := g.Done(patient(t)); err == nil || !contains(err, "more is done than was added") {
			t.Errorf("one Done too many: %v", err)
		}
	})
}

func TestCounterNames(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	for _, name := range []string{"", strings.Repeat("x", 129)} {
		if _, err := nodes[0].Counter(name).Add(patient(t), 1); err == nil || !contains(err, "lock name has") {
			t.Errorf("add to %q: %v", name, err)
		}
		if err := nodes[0].WaitGroup(name).Wait(patient(t)); err == nil || !contains(err, "lock name has") {
			t.Errorf("wait for %q: %v", name, err)
		}
	}
}

// TestCountersOrderReleaseRegions: who gets a value sees what those have written who made it.
func TestCountersOrderReleaseRegions(t *testing.T) {
	const count, rounds = 3, 30
	nodes := openNodes(t, count, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[1]))
	each(nodes, func(i int, s *dsm.Space) {
		turn, g := s.Counter("turn"), s.WaitGroup("round")
		for round := range int64(rounds) {
			mine := round*count + int64(i)
			if _, err := turn.AtLeast(patient(t), mine); err != nil {
				t.Error(err)
				return
			}
			if b := get(t, regions[i], 0); b != byte(mine) {
				t.Errorf("node %d reads %d when it is its turn, want %d", i, b, byte(mine))
			}
			put(t, regions[i], 0, byte(mine+1))
			if add(t, turn, 1) != mine+1 {
				t.Error("two had their turn at once")
			}
		}
		if i == 0 {
			if err := g.Add(patient(t), count-1); err != nil {
				t.Error(err)
			}
		}
		meet(t, s, "added", count)
		if i > 0 {
			put(t, regions[i], int64(i), 99)
			if err := g.Done(patient(t)); err != nil {
				t.Error(err)
			}
		}
		if err := g.Wait(patient(t)); err != nil {
			t.Error(err)
		}
		for at := int64(1); at < count; at++ {
			if b := get(t, regions[i], at); b != 99 {
				t.Errorf("node %d reads %d of node %d after Wait", i, b, at)
			}
		}
	})
}

func init() {
	programs["counters"] = func(ctx context.Context, p *testProgram) error {
		c, g := p.Counter("c"), p.WaitGroup("g")
		if err := g.Add(ctx, 1); err != nil {
			return err
		}
		if _, err := p.Counter("there").Add(ctx, -1); err != nil {
			return err
		}
		if _, err := p.Counter("there").AtMost(ctx, int64(-p.ranks)); err != nil {
			return err
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := c.AtLeast(ended, 1<<62); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("canceled wait: %v", err)
		}
		errs := make(chan error, 4)
		for range cap(errs) {
			go func() {
				for range p.n {
					if _, err := c.Add(ctx, 1); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				return err
			}
		}
		if err := g.Done(ctx); err != nil {
			return err
		}
		if err := g.Wait(ctx); err != nil {
			return err
		}
		v, err := c.Load(ctx)
		fmt.Println(v)
		return err
	}
}

// TestAttachedProgramsCount: several programs, two of them at one node.
func TestAttachedProgramsCount(t *testing.T) {
	_, sockets := serving(t, 2)
	const n = 100
	for rank, got := range runPrograms(t, "counters", []string{sockets[0], sockets[1], sockets[1]}, n) {
		if want := fmt.Sprint(3 * 4 * n); strings.TrimSpace(got) != want {
			t.Errorf("program %d says %q, want %q", rank, got, want)
		}
	}
}
