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

func campaign(t testing.TB, e *dsm.Election) (token uint64) {
	t.Helper()
	token, err := e.Campaign(patient(t))
	if err != nil {
		t.Error(err)
	}
	return token
}

func resign(t testing.TB, e *dsm.Election) {
	t.Helper()
	if err := e.Resign(); err != nil {
		t.Error(err)
	}
}

func leaderOf(t testing.TB, s *dsm.Space, name string) dsm.Leader {
	t.Helper()
	l, err := s.Election(name).Leader(patient(t))
	if err != nil {
		t.Error(err)
	}
	return l
}

// TestElection: one leads at a time, in the order in which they stand, and everybody can know who.
func TestElection(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		first := nodes[1].Election("e")
		if l := leaderOf(t, nodes[0], "e"); l != (dsm.Leader{}) {
			t.Errorf("%v leads before anybody stands", l)
		}
		var seen []dsm.Leader
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			e := nodes[0].Election("e")
			l, err := e.Leader(ctx)
			for ; err == nil; l, err = e.Change(ctx, l) {
				seen = append(seen, l)
			}
			wantError(t, "canceled Change", err, context.Canceled)
		}()
		synctest.Wait()
		want := []dsm.Leader{{}, {Node: nodes[1].Self(), Token: campaign(t, first)}}
		synctest.Wait()
		var leads *dsm.Election
		stand := []int{2, 0, 1}
		for _, i := range stand {
			go func() {
				e := nodes[i].Election("e")
				want = append(want, dsm.Leader{Node: nodes[i].Self(), Token: campaign(t, e)})
				leads = e
			}()
			synctest.Wait()
		}
		if l := statusOf(t, nodes[2], "e"); l.Kind != "election" || l.Holder != nodes[1].Self() || len(l.Waiting) != 3 {
			t.Errorf("the home says %+v", l)
		}
		resign(t, first)
		for _, i := range stand {
			synctest.Wait()
			if l := leaderOf(t, nodes[2], "e"); l != want[len(want)-1] || l.Node != nodes[i].Self() {
				t.Errorf("%v leads, want %v", l, want[len(want)-1])
			}
			resign(t, leads)
		}
		synctest.Wait()
		if want = append(want, dsm.Leader{}); !slices.Equal(seen, want) {
			t.Errorf("seen %v, want %v", seen, want)
		}
		cancel()
		synctest.Wait()
		wantError(t, "a second Resign", first.Resign(), dsm.ErrNotHeld)
	})
}

// TestElectionOutlivesNodes: whoever leads or keeps the election goes, and the next one leads.
func TestElectionOutlivesNodes(t *testing.T) {
	nodes := openNodes(t, 4, dsm.Config{})
	const elections = 6
	var last [elections]uint64
	for round, s := range nodes[1:3] {
		var elected sync.WaitGroup
		for i := range elections {
			name := fmt.Sprint("e", i)
			if round == 0 {
				last[i] = campaign(t, s.Election(name))
			}
			elected.Go(func() {
				next := nodes[round+2].Election(name)
				token := campaign(t, next)
				if token <= last[i] {
					t.Errorf("%s: token %d after %d", name, token, last[i])
				}
				last[i] = token
			})
			for len(statusOf(t, nodes[0], name).Waiting) == 0 { // until the next one stands
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		elected.Wait()
		for i := range elections {
			if l := leaderOf(t, nodes[0], fmt.Sprint("e", i)); l != (dsm.Leader{Node: nodes[round+2].Self(), Token: last[i]}) {
				t.Errorf("%v leads, want %v with %d", l, nodes[round+2].Self(), last[i])
			}
		}
	}
}

// TestCanceledCampaign gives its place up.
func TestCanceledCampaign(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		first, third := nodes[0].Election("e"), nodes[0].Election("e")
		campaign(t, first)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := nodes[1].Election("e").Campaign(ctx)
			wantError(t, "canceled Campaign", err, context.Canceled)
		}()
		synctest.Wait()
		var leads atomic.Bool
		go func() {
			campaign(t, third)
			leads.Store(true)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		resign(t, first)
		synctest.Wait()
		if !leads.Load() {
			t.Error("who stands after one that has given up does not lead")
		}
	})
}

// TestOnce: of all calls at all nodes one does it, after those that failed, and all see what it wrote.
func TestOnce(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[1]))
	var tries, failed, inside atomic.Int32
	broken := errors.New("it is broken")
	each(nodes, func(i int, s *dsm.Space) {
		var wg sync.WaitGroup
		for g := range 3 {
			o := s.Once("o")
			wg.Go(func() {
				err := o.Do(patient(t), func(context.Context) error {
					if inside.Add(1) != 1 {
						t.Error("two do it at once")
					}
					defer inside.Add(-1)
					if tries.Add(1) <= 2 {
						return broken
					}
					put(t, regions[i], 0, 42)
					return nil
				})
				switch {
				case err == broken:
					failed.Add(1)
				case err != nil:
					t.Error(err)
				default:
					if b := get(t, regions[i], 0); b != 42 {
						t.Errorf("node %d, call %d: reads %d after Do", i, g, b)
					}
				}
			})
		}
		wg.Wait()
	})
	if tries.Load() != 3 || failed.Load() != 2 {
		t.Errorf("tried %d times, %d have failed, want 3 and 2", tries.Load(), failed.Load())
	}
	if l := statusOf(t, nodes[0], "o"); l.Kind != "once" || !l.Over {
		t.Errorf("the home says %+v", l)
	}
}

// TestOncePanic: what has panicked is not done.
func TestOncePanic(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	o := nodes[0].Once("o")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		_ = o.Do(patient(t), func(context.Context) error { panic("no") })
	}()
	done := 0
	for range 3 {
		if err := o.Do(patient(t), func(context.Context) error { done++; return nil }); err != nil {
			t.Error(err)
		}
	}
	if done != 1 {
		t.Errorf("done %d times", done)
	}
}

// TestOnceOutlivesNodes: if the one that does it is lost another one does; once it is done it stays done.
func TestOnceOutlivesNodes(t *testing.T) {
	inMemory(t, 5, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		const onces = 6
		var done [onces]atomic.Int32
		name := func(i int) string { return fmt.Sprint("o", i) }
		for i := range onces {
			go func() {
				err := nodes[1].Once(name(i)).Do(t.Context(), func(context.Context) error {
					<-nodes[1].Done()
					return nil
				})
				wantError(t, "Do at a node that is lost", err, dsm.ErrClosed)
			}()
			synctest.Wait()
			go func() {
				err := nodes[2].Once(name(i)).Do(patient(t), func(context.Context) error {
					done[i].Add(1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		if err := nodes[1].Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for _, gone := range []int{2, 0} {
			if err := nodes[gone].Leave(patient(t)); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		for i := range onces {
			err := nodes[3].Once(name(i)).Do(patient(t), func(context.Context) error { return errors.New("again") })
			if n := done[i].Load(); n != 1 || err != nil {
				t.Errorf("%s was done %d times, %v", name(i), n, err)
			}
		}
	})
}

func init() {
	programs["once"] = func(ctx context.Context, p *testProgram) error {
		did := 0
		for range 3 {
			err := p.Once("o").Do(ctx, func(context.Context) error {
				did++
				_, err := p.Counter("did").Add(ctx, 1)
				return err
			})
			if err != nil {
				return err
			}
		}
		if n, err := p.Counter("did").Load(ctx); n != 1 || err != nil {
			return fmt.Errorf("done %d times, %v", n, err)
		}
		e, before := p.Election("e"), uint64(0)
		for range p.n {
			token, err := e.Campaign(ctx)
			if err != nil || token <= before {
				return fmt.Errorf("token %d after %d, %v", token, before, err)
			}
			before = token
			if l, err := p.Election("e").Leader(ctx); l != (dsm.Leader{Node: p.Self(), Token: token}) || err != nil {
				return fmt.Errorf("%v leads, %v, want %v with %d", l, err, p.Self(), token)
			}
			if err := e.Resign(); err != nil {
				return err
			}
		}
		if err := e.Resign(); !errors.Is(err, dsm.ErrNotHeld) {
			return fmt.Errorf("a Resign too many: %v", err)
		}
		if err := p.barrier(ctx, "all have led"); err != nil {
			return err
		}
		if p.rank == 0 { // which ends as the leader
			if _, err := e.Campaign(ctx); err != nil {
				return err
			}
		}
		if err := p.barrier(ctx, "one leads"); err != nil {
			return err
		}
		fmt.Println(did)
		if p.rank == 0 {
			return nil
		}
		l, err := e.Leader(ctx)
		for ; err == nil && l.Node != 0; l, err = e.Change(ctx, l) {
		}
		return err
	}
}

// TestAttachedProgramsElect: several programs, two of them at one node. One ends while it leads.
func TestAttachedProgramsElect(t *testing.T) {
	spaces, sockets := serving(t, 2)
	did := 0
	for _, got := range runPrograms(t, "once", []string{sockets[0], sockets[1], sockets[1]}, 50) {
		did += strings.Count(got, "1")
	}
	if did != 1 {
		t.Errorf("done by %d programs", did)
	}
	e := spaces[1].Election("e")
	campaign(t, e)
	resign(t, e)
}
