package dsm_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	classes "pagemesh/dsm/sharing"
	"pagemesh/transport"
)

// hop is how long every packet takes in these tests: a fetch takes two to four of them.
const hop = time.Millisecond

// slowly runs a test of n nodes on a network on which packets take a hop.
func slowly(t *testing.T, n int, test func(t *testing.T, nodes []*dsm.Space)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(awaitProbes)
		net := transport.NewMemoryNetwork(1, transport.Faults{MinDelay: hop, MaxDelay: hop})
		test(t, openNodes(t, n, dsm.OnMemory(net, dsm.Config{})))
	})
}

// onlyPage returns what is known of the one page with traffic.
func onlyPage(t *testing.T, s *dsm.Space) dsm.PageStats {
	t.Helper()
	pages, err := s.Pages(t.Context(), dsm.PageQuery{Page: -1})
	if err != nil || len(pages) != 1 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	return pages[0]
}

// TestClassesFollowFromTime: programs that differ in pace and place only are classified apart.
func TestClassesFollowFromTime(t *testing.T) {
	type program func(ctx context.Context, s *dsm.Space, r *dsm.Region, self, round int) error
	add := func(off func(self int) int64, pause func(self int) time.Duration) program {
		return func(ctx context.Context, _ *dsm.Space, r *dsm.Region, self, _ int) error {
			_, err := r.Add(ctx, off(self), 1)
			time.Sleep(pause(self))
			return err
		}
	}
	own := func(self int) int64 { return int64(8 * self) }
	same := func(int) int64 { return 64 }
	hardly := func(int) time.Duration { return hop / 4 } // without a pause the other node never has its turn
	apart := func(self int) time.Duration { return time.Duration(19+self) * hop }
	tests := []struct {
		name     string
		program  program
		class    classes.Class
		thrashes bool
	}{
		{"the same word nearly all the time", add(same, hardly), classes.Thrashing, true},
		{"the same word now and then", add(same, apart), classes.Migratory, false},
		{"own words nearly all the time", add(own, hardly), classes.FalselyShared, true},
		{"own words now and then", add(own, apart), classes.FalselyShared, false},
		{"under a mutex", func(ctx context.Context, s *dsm.Space, r *dsm.Region, _, _ int) error {
			m := s.Mutex("m")
			if _, err := m.Lock(ctx); err != nil {
				return err
			}
			_, err := r.Add(ctx, 0, 1)
			time.Sleep(hop)
			if err := m.Unlock(); err != nil {
				return err
			}
			time.Sleep(30 * hop)
			return err
		}, classes.LockApart, false},
		{"one writes, the other reads that", func(ctx context.Context, _ *dsm.Space, r *dsm.Region, self, round int) (err error) {
			time.Sleep(apart(self))
			if self == 0 {
				return r.Store(ctx, 0, uint64(round+1))
			}
			_, err = r.Load(ctx, 0)
			return err
		}, classes.ProducerConsumer, false},
		{"one writes, the other reads another word", func(ctx context.Context, _ *dsm.Space, r *dsm.Region, self, round int) (err error) {
			time.Sleep(apart(self))
			if self == 0 {
				return r.Store(ctx, 0, uint64(round+1))
			}
			_, err = r.Load(ctx, 8)
			return err
		}, classes.FalselyShared, false},
		{"one writes once in a thousand fetches' time", func(ctx context.Context, _ *dsm.Space, r *dsm.Region, self, round int) (err error) {
			time.Sleep(4 * apart(self))
			if self == 0 && round%64 == 0 {
				return r.Store(ctx, 0, uint64(round+1))
			}
			_, err = r.Load(ctx, 0)
			return err
		}, classes.ReadMostly, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			slowly(t, 2, func(t *testing.T, nodes []*dsm.Space) {
				regions := onePage(t, nodes)
				each(nodes, func(i int, s *dsm.Space) {
					for round := range 200 {
						if err := test.program(t.Context(), s, regions[i], i, round); err != nil {
							t.Error(err)
							return
						}
					}
				})
				p := onlyPage(t, nodes[0])
				if v := p.Verdict; v.Class != test.class || v.Thrashes != test.thrashes || v.BetterHome != 0 {
					t.Errorf("%v, thrashes %v, want %v, %v: %+v", v.Class, v.Thrashes, test.class, test.thrashes, v)
				}
			})
		})
	}
}

// TestClassIsOfNow: a page that was shared falsely for long, and then truly, is truly shared.
func TestClassIsOfNow(t *testing.T) {
	slowly(t, 2, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		for _, phase := range []struct {
			rounds int
			off    func(self int) int64
			class  classes.Class
		}{
			{1000, func(self int) int64 { return int64(8 * self) }, classes.FalselyShared},
			{600, func(int) int64 { return 0 }, classes.Thrashing},
			{600, func(self int) int64 { return int64(8 * self) }, classes.FalselyShared},
		} {
			each(nodes, func(i int, _ *dsm.Space) {
				for range phase.rounds {
					if _, err := regions[i].Add(t.Context(), phase.off(i), 1); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(hop / 4)
				}
			})
			if v := onlyPage(t, nodes[1]).Verdict; v.Class != phase.class {
				t.Errorf("%v, want %v: %+v", v.Class, phase.class, v)
			}
		}
	})
}

// TestLostTimeIsShared: accesses that wait at once share the time, so that it is lost once.
func TestLostTimeIsShared(t *testing.T) {
	const pages, size = 8, 4096
	slowly(t, 2, func(t *testing.T, nodes []*dsm.Space) {
		r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: pages * size, Placement: homed(nodes[0])})
		if err := nodes[0].ResetStats(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := r[1].Prefetch(t.Context(), 0, pages*size, read); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		time.Sleep(9 * took)
		st := nodes[1].Stats()
		if st.Lost() != took || st.Stall() != pages*took {
			t.Errorf("%d pages at once took %v: lost %v, stall %v", pages, took, st.Lost(), st.Stall())
		}
		if wall := time.Duration(st.WallNanos); wall < 10*took || wall > 11*took+2*hop {
			t.Errorf("counted for %v after %v", wall, 10*took)
		}
		if p, err := nodes[0].Pages(t.Context(), dsm.PageQuery{Region: "r", Page: 3}); err != nil || p[0].Lost() != took/pages {
			t.Errorf("one page of %d lost %v: %v", pages, p, err)
		}
	})
}

// TestLostTimeEndsWithTheWait: who gives up waiting does not go on losing time.
func TestLostTimeEndsWithTheWait(t *testing.T) {
	slowly(t, 2, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		v := takeView(t, regions[0], 0, 8, write)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := regions[1].Load(ctx, 0); err == nil {
			t.Fatal("the page came")
		}
		time.Sleep(time.Minute)
		if got := nodes[1].Stats().Lost(); got != time.Second {
			t.Errorf("lost %v", got)
		}
		v.Release()
	})
}
