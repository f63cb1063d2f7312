package dsm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pagemesh/dsm"
)

// wait is a call that waits for another node.
type wait struct {
	name string
	call func(ctx context.Context) error
}

// pageWaits are the calls that wait for a page of r and take a context.
func pageWaits(r *dsm.Region) []wait {
	return []wait{
		{"Load", func(ctx context.Context) error { _, err := r.Load(ctx, 0); return err }},
		{"Store", func(ctx context.Context) error { return r.Store(ctx, 0, 1) }},
		{"Add", func(ctx context.Context) error { _, err := r.Add(ctx, 0, 1); return err }},
		{"Swap", func(ctx context.Context) error { _, err := r.Swap(ctx, 0, 1); return err }},
		{"CompareAndSwap", func(ctx context.Context) error { _, err := r.CompareAndSwap(ctx, 0, 0, 1); return err }},
		{"View", func(ctx context.Context) error { _, err := r.View(ctx, 0, 8, read); return err }},
		{"wide View", func(ctx context.Context) error { _, err := r.View(ctx, 0, int64(r.Size()), write); return err }},
		{"ViewOf", func(ctx context.Context) error { _, err := dsm.ViewOf[byte](ctx, r, 0, 1, write); return err }},
		{"Prefetch", func(ctx context.Context) error { return r.Prefetch(ctx, 0, int64(r.Size()), read) }},
	}
}

// copyWaits are those that take none.
func copyWaits(r *dsm.Region) []wait {
	all := make([]byte, r.Size())
	return []wait{
		{"ReadAt", func(context.Context) error { _, err := r.ReadAt(all[:8], 0); return err }},
		{"WriteAt", func(context.Context) error { _, err := r.WriteAt(all[:8], 0); return err }},
		{"wide ReadAt", func(context.Context) error { _, err := r.ReadAt(all, 0); return err }},
		{"wide WriteAt", func(context.Context) error { _, err := r.WriteAt(all, 0); return err }},
	}
}

// syncWaits are those of a mutex that another node has and a barrier that nobody else comes to.
func syncWaits(s *dsm.Space) []wait {
	return []wait{
		{"Lock", func(ctx context.Context) error { _, err := s.Mutex("taken").Lock(ctx); return err }},
		{"Wait", func(ctx context.Context) error { return s.Barrier("lonely", 2).Wait(ctx) }},
	}
}

// inTheWay runs a test of two nodes of which the second has to wait for the first with everything:
// views, released by a call of release, keep it from every page, and a lock from the mutex.
func inTheWay(t *testing.T, cfg dsm.Config, test func(t *testing.T, s *dsm.Space, r *dsm.Region, release func())) {
	t.Helper()
	inMemory(t, 2, cfg, func(t *testing.T, nodes []*dsm.Space) {
		regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 150 * 4096})
		v := takeView(t, regions[0], 0, 150*4096, write)
		mu := nodes[0].Mutex("taken")
		if _, err := mu.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		released := false
		release := func() {
			if !released {
				released = true
				v.Release()
				if err := mu.Unlock(); err != nil {
					t.Error(err)
				}
			}
		}
		defer release()
		test(t, nodes[1], regions[1], release)
	})
}

func TestEveryWaitEndsWithItsContext(t *testing.T) {
	inTheWay(t, dsm.Config{}, func(t *testing.T, s *dsm.Space, r *dsm.Region, release func()) {
		cause := errors.New("the test's own reason")
		waits := append(pageWaits(r), syncWaits(s)...)
		for _, w := range waits {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			start := time.Now()
			wantError(t, w.name, w.call(ctx), context.DeadlineExceeded)
			if d := time.Since(start); d != 3*time.Second {
				t.Errorf("%s ended after %v", w.name, d)
			}
			cancel()

			ctx, giveUp := context.WithCancelCause(t.Context())
			ended := finished(func() { wantError(t, w.name, w.call(ctx), cause) })
			if ended() {
				t.Errorf("%s does not wait", w.name)
			}
			giveUp(cause)
			if !ended() {
				t.Errorf("%s does not end with its context", w.name)
			}
		}
		release()
		for _, w := range append(pageWaits(r)[:5], wait{"Lock", syncWaits(s)[0].call}) {
			if err := w.call(patient(t)); err != nil {
				t.Errorf("%s, after all had given up: %v", w.name, err)
			}
		}
	})
}

func TestFaultTimeoutBoundsWaitsWithoutContext(t *testing.T) {
	cfg := dsm.Config{FaultTimeout: 7 * time.Second}
	inTheWay(t, cfg, func(t *testing.T, s *dsm.Space, r *dsm.Region, release func()) {
		for _, w := range append(copyWaits(r), pageWaits(r)...) {
			start := time.Now()
			wantError(t, w.name, w.call(context.Background()), dsm.ErrTimeout)
			if d := time.Since(start); d != 7*time.Second {
				t.Errorf("%s ended after %v", w.name, d)
			}
		}
		for _, w := range syncWaits(s) {
			ctx, cancel := context.WithCancel(context.Background())
			ended := finished(func() { wantError(t, w.name, w.call(ctx), context.Canceled) })
			time.Sleep(2 * time.Minute)
			if ended() {
				t.Errorf("%s has a limit of its own", w.name)
			}
			cancel()
			if !ended() {
				t.Errorf("%s does not end with its context", w.name)
			}
		}
		release()
		for _, w := range copyWaits(r) {
			if err := w.call(context.Background()); err != nil {
				t.Errorf("%s, after all had given up: %v", w.name, err)
			}
		}
	})
}

// TestClosingEndsEveryWait closes a node while its goroutines wait.
func TestClosingEndsEveryWait(t *testing.T) {
	for _, how := range []string{"Close", "Leave"} {
		t.Run(how, func(t *testing.T) {
			inTheWay(t, dsm.Config{}, func(t *testing.T, s *dsm.Space, r *dsm.Region, release func()) {
				waits := append(append(pageWaits(r), copyWaits(r)...), syncWaits(s)...)
				ended := make([]func() bool, len(waits))
				for i, w := range waits {
					ended[i] = finished(func() { wantError(t, w.name, w.call(patient(t)), dsm.ErrClosed) })
					if ended[i]() {
						t.Errorf("%s does not wait", w.name)
					}
				}
				var err error
				if how == "Close" {
					err = s.Close()
				} else {
					time.AfterFunc(time.Second, release)
					err = s.Leave(patient(t))
				}
				if err != nil {
					t.Error(err)
				}
				for i, w := range waits {
					if !ended[i]() {
						t.Errorf("%s goes on to wait", w.name)
					}
				}
			})
		})
	}
}

// afterClose are all calls that return an error and need the space.
func afterClose(s *dsm.Space, r *dsm.Region) []wait {
	calls := append(append(pageWaits(r), copyWaits(r)...), syncWaits(s)...)
	return append(calls, []wait{
		{"Region", func(ctx context.Context) error { _, err := s.Region(ctx, "r", dsm.RegionOptions{}); return err }},
		{"new Region", func(ctx context.Context) error {
			_, err := s.Region(ctx, "new", dsm.RegionOptions{Size: 1})
			return err
		}},
		{"empty View", func(ctx context.Context) error { _, err := r.View(ctx, 8, 0, read); return err }},
		{"empty ReadAt", func(context.Context) error { _, err := r.ReadAt(nil, 8); return err }},
		{"Unlock", func(context.Context) error { return s.Mutex("m").Unlock() }},
		{"ClusterStats", func(ctx context.Context) error { _, err := s.ClusterStats(ctx); return err }},
		{"Status", func(ctx context.Context) error { _, err := s.Status(ctx); return err }},
		{"Locks", func(ctx context.Context) error { _, err := s.Locks(ctx); return err }},
		{"Pages", func(ctx context.Context) error { _, err := s.Pages(ctx, dsm.PageQuery{Page: -1}); return err }},
		{"ResetStats", s.ResetStats},
		{"Leave", s.Leave},
		{"Err", func(context.Context) error { return s.Err() }},
	}...)
}

func TestUseAfterTheEnd(t *testing.T) {
	ends := map[string]func(s *dsm.Space) error{
		"Close": func(s *dsm.Space) error { return s.Close() },
		"Leave": func(s *dsm.Space) error { return s.Leave(patient(t)) },
	}
	for name, end := range ends {
		for _, members := range []int{1, 3} {
			nodes := openNodes(t, members, dsm.Config{})
			s := nodes[members-1]
			r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 150 * 4096})[members-1]
			if err := r.Store(patient(t), 0, 1); err != nil { // page 0 is here
				t.Fatal(err)
			}
			if err := errors.Join(end(s), s.Close(), s.Close()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, c := range afterClose(s, r) {
				wantError(t, c.name+" after "+name, c.call(patient(t)), dsm.ErrClosed)
			}
			select {
			case <-s.Done():
			default:
				t.Errorf("Done is open after %s", name)
			}
			if s.Self() == 0 || s.Addr() == "" || s.Rank() != members-1 || len(s.Members()) == 0 || s.Stats().Node != s.Self() ||
				r.Name() != "r" || r.Size() != 150*4096 || r.PageSize() != 4096 || r.Base() == 0 || r.Home(1<<40) != 0 {
				t.Errorf("after %s: %v at %q, rank %d, %+v, members %v", name, s.Self(), s.Addr(), s.Rank(), s.Stats(), s.Members())
			}
			if members > 1 && nodes[0].Err() != nil {
				t.Errorf("%s of one node closed another: %v", name, nodes[0].Err())
			}
		}
	}
}

// TestCloseWithViewsKeepsTheirMemory: a view may be in use at that very moment.
func TestCloseWithViewsKeepsTheirMemory(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 1 << 16})
	v := takeView(t, regions[1], 0, 10_000, write)
	if err := nodes[1].Close(); err == nil {
		t.Error("no word of the view that is held")
	}
	for i := range v.Bytes() {
		v.Bytes()[i] = 1
	}
	v.Release()
	v.Release()
	if err := nodes[1].Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestLeaveWaitsForViews: a view may be released by another goroutine, or never.
func TestLeaveWaitsForViews(t *testing.T) {
	for leaver := range 3 {
		inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
			regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 20 * 4096})
			v := takeView(t, regions[leaver], 0, 20*4096, write)
			ctx := patient(t)
			left := finished(func() {
				if err := nodes[leaver].Leave(ctx); err != nil {
					t.Error(err)
				}
			})
			if left() {
				t.Fatal("it left with a view")
			}
			for i := range v.Bytes() {
				v.Bytes()[i] = byte(i)
			}
			v.Release()
			time.Sleep(time.Second)
			if !left() {
				t.Fatal("it does not leave")
			}
			got := make([]byte, 20*4096)
			if _, err := regions[(leaver+1)%3].ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			for i, b := range got {
				if b != byte(i) {
					t.Fatalf("byte %d is lost", i)
				}
			}
		})
	}
}

func TestLeaveEndsWithItsContext(t *testing.T) {
	for leaver := range 2 {
		inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
			r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 20 * 4096})[leaver]
			v := takeView(t, r, 0, 20*4096, write)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			wantError(t, "Leave", nodes[leaver].Leave(ctx), context.DeadlineExceeded)
			if d := time.Since(start); d > 6*time.Second {
				t.Errorf("it took %v", d)
			}
			wantError(t, "Err", nodes[leaver].Err(), dsm.ErrClosed)
			v.Release()
			time.Sleep(5 * time.Second)
			if m := nodes[2].Members(); len(m) != 2 {
				t.Errorf("members %v", m)
			}
		})
	}
}

// TestOpenFailsLoudly: a node that can't become a member says why, and is gone.
func TestOpenFailsLoudly(t *testing.T) {
	founder := openNodes(t, 1, dsm.Config{Secret: "right"})[0]
	nobody := "127.0.0.1:1"
	tests := []struct {
		name string
		cfg  dsm.Config
		says string
	}{
		{"nobody there", dsm.Config{Seeds: []string{nobody}, JoinTimeout: 300 * time.Millisecond}, "is one running there"},
		{"too few members", dsm.Config{Members: 2, JoinTimeout: 300 * time.Millisecond}, "1 of 2 members"},
		{"wrong secret", dsm.Config{Seeds: []string{founder.Addr()}, Secret: "wrong"}, "secret"},
		{"no secret", dsm.Config{Seeds: []string{founder.Addr()}}, "secret"},
		{"wrong cluster", dsm.Config{Seeds: []string{founder.Addr()}, Secret: "right", Cluster: "other"}, "cluster"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := dsm.Open(patient(t), test.cfg)
			wantError(t, "Open", err, dsm.ErrJoin)
			if s != nil || err == nil {
				t.Fatal("it is open")
			}
			if !contains(err, test.says) {
				t.Errorf("the error does not say %q: %v", test.says, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dsm.Open(ctx, dsm.Config{Seeds: []string{nobody}})
	wantError(t, "Open with a dead context", err, dsm.ErrJoin)
}

func TestOpenRefusesBadConfig(t *testing.T) {
	busy := openNodes(t, 1, dsm.Config{})[0]
	tests := []struct {
		name string
		cfg  dsm.Config
		says string
	}{
		{"cluster name", dsm.Config{Cluster: string(make([]byte, 65))}, "at most 64"},
		{"listen", dsm.Config{Listen: "localhost"}, "want host:port"},
		{"seed", dsm.Config{Seeds: []string{"nonsense"}}, "want host:port"},
		{"members", dsm.Config{Members: -1}, "must not be negative"},
		{"rank", dsm.Config{Rank: -1}, "must not be negative"},
		{"timeout", dsm.Config{FaultTimeout: -1}, "must not be negative"},
		{"port in use", dsm.Config{Listen: busy.Addr()}, "in use"},
		{"not loopback", dsm.Config{Listen: "0.0.0.0:0"}, "insecure"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := dsm.Open(patient(t), test.cfg)
			if err == nil {
				s.Close()
				t.Fatal("it is open")
			}
			if !contains(err, test.says) {
				t.Errorf("the error does not say %q: %v", test.says, err)
			}
		})
	}
}
