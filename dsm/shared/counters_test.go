package shared_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pagemesh/dsm"
	"pagemesh/dsm/shared"
)

func openCounters(t testing.TB, nodes []*dsm.Space, name string, n int) []*shared.Counters {
	t.Helper()
	var all []*shared.Counters
	for _, s := range nodes {
		c, err := shared.OpenCounters(patient(t), s, name, n, shared.CountersOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// TestCountersAddUp: every node adds to all counters, more than fit a page.
func TestCountersAddUp(t *testing.T) {
	const n, rounds, threads = 1200, 3, 2
	nodes := openNodes(t, 3)
	all := openCounters(t, nodes, "counters", n)
	onEach(threads*len(all), func(client int) {
		for round := range rounds {
			for i := range n {
				if err := all[client%len(all)].Add(patient(t), i, int64(i-round)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for _, c := range all {
		sums, err := c.Sums(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		for i, sum := range sums {
			if want := int64(threads * len(all) * (rounds*i - 3)); sum != want {
				t.Fatalf("counter %d is %d, want %d", i, sum, want)
			}
		}
	}
}

// upAndDown counts up at the first node and down at the last, until ctx ends.
func upAndDown(ctx context.Context, all []*shared.Counters) error {
	first, last := all[0], all[len(all)-1]
	for ctx.Err() == nil {
		if err := errors.Join(first.Add(context.Background(), 0, 1), last.Add(context.Background(), 0, -1)); err != nil {
			return err
		}
	}
	return nil
}

// TestSumIsOfOneMoment: the counter is 0 or 1 all the time, though it is counted up and down at different
// nodes.
func TestSumIsOfOneMoment(t *testing.T) {
	nodes := openNodes(t, 6)
	all := openCounters(t, nodes, "counters", 1)
	ctx, cancel := context.WithCancel(patient(t))
	done := make(chan error, 1)
	go func() { done <- upAndDown(ctx, all[:5]) }()
	for range 3000 * long() {
		sum, err := all[5].Sum(ctx, 0)
		if err != nil || sum < 0 || sum > 1 {
			t.Errorf("the sum is %d, %v", sum, err)
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestAddAsksNobody: no message in the common case.
func TestAddAsksNobody(t *testing.T) {
	nodes := openNodes(t, 3)
	all := openCounters(t, nodes, "counters", 10)
	onEach(len(all), func(i int) {
		for k := range 1000 {
			if err := all[i].Add(patient(t), k%10, 1); err != nil {
				t.Error(err)
			}
		}
	})
	for _, s := range nodes {
		if st := s.Stats(); st.WriteFaults+st.Upgrades > 2 {
			t.Errorf("%v: %d write faults, %d upgrades", s.Self(), st.WriteFaults, st.Upgrades)
		}
	}
}

func TestCountersRefuse(t *testing.T) {
	nodes := openNodes(t, 1)
	c := openCounters(t, nodes, "counters", 2)[0]
	for _, i := range []int{-1, 2} {
		if err := c.Add(patient(t), i, 1); !errors.Is(err, dsm.ErrRange) {
			t.Errorf("counter %d: %v", i, err)
		}
	}
	if _, err := shared.OpenCounters(patient(t), nodes[0], "counters", 3, shared.CountersOptions{}); !errors.Is(err, dsm.ErrMismatch) {
		t.Errorf("another number of counters: %v", err)
	}
	if _, err := shared.OpenMap[int, int](patient(t), nodes[0], "counters", shared.MapOptions{}); !errors.Is(err, dsm.ErrMismatch) {
		t.Errorf("a map of that name: %v", err)
	}
}

func init() {
	programs["counters"] = func(ctx context.Context, p *program) error {
		c, err := shared.OpenCounters(ctx, p.Space, "counters", 3, shared.CountersOptions{})
		if err != nil {
			return err
		}
		for i := range int(p.arg) {
			if err := c.Add(ctx, i%3, 1); err != nil {
				return err
			}
			if i%1000 > 0 {
				continue
			}
			if _, err := c.Sum(ctx, i%3); err != nil {
				return err
			}
		}
		if err := p.Barrier("counted", 4).Wait(ctx); err != nil {
			return err
		}
		sums, err := c.Sums(ctx)
		fmt.Println(sums)
		return errors.Join(err, p.Barrier("read", 4).Wait(ctx))
	}
}

// TestAttachedCounters: four programs on three nodes.
func TestAttachedCounters(t *testing.T) {
	_, sockets := openServing(t, 3)
	const n = 30_000
	for rank, got := range runPrograms(t, "counters", append(sockets, sockets[0]), n) {
		if want := fmt.Sprintln([]int{4 * n / 3, 4 * n / 3, 4 * n / 3}); got != want {
			t.Errorf("program %d: %s, want %s", rank, got, want)
		}
	}
}
