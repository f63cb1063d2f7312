package dsm

import (
	"context"
	"sync"
	"testing"
	"time"

	"pagemesh/pagetable"
)

// openSpaces opens a space of n nodes in this process, each with a real TCP endpoint.
func openSpaces(t testing.TB, n int) []*Space {
	t.Helper()
	ctx := t.Context()
	first, err := Open(ctx, Config{})
	if err != nil {
		t.Fatal(err)
	}
	spaces := []*Space{first}
	for i := 1; i < n; i++ {
		s, err := Open(ctx, Config{Seeds: []string{first.Addr()}, Rank: i})
		if err != nil {
			t.Fatal(err)
		}
		spaces = append(spaces, s)
	}
	t.Cleanup(func() {
		for _, s := range spaces {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return spaces
}

func openRegions(t testing.TB, spaces []*Space, name string, o RegionOptions) []*Region {
	t.Helper()
	var regions []*Region
	for _, s := range spaces {
		r, err := s.Region(t.Context(), name, o)
		if err != nil {
			t.Fatal(err)
		}
		regions = append(regions, r)
	}
	return regions
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestSharedCounter(t *testing.T) {
	spaces := openSpaces(t, 3)
	regions := openRegions(t, spaces, "counter", RegionOptions{Size: 1 << 16})
	ctx := within(t, 30*time.Second)
	var wg sync.WaitGroup
	for i, r := range regions {
		wg.Go(func() {
			for range 500 {
				if _, err := r.Add(ctx, 8*int64(i), 1); err != nil {
					t.Error(err)
					return
				}
				if _, err := r.Add(ctx, 4096, 1); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, r := range regions {
		if v, err := r.Load(ctx, 4096); err != nil || v != 1500 {
			t.Errorf("%d, %v", v, err)
		}
	}
}

func TestReadWriteAcrossPages(t *testing.T) {
	spaces := openSpaces(t, 3)
	regions := openRegions(t, spaces, "bytes", RegionOptions{Size: 1 << 20, Placement: Placement{Kind: pagetable.Blocked}})
	buf := make([]byte, 1<<20)
	for i := range buf {
		buf[i] = byte(i * 7 >> 3)
	}
	if _, err := regions[1].WriteAt(buf, 0); err != nil {
		t.Fatal(err)
	}
	for i, r := range regions {
		got := make([]byte, 1<<20)
		if _, err := r.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if string(got) != string(buf) {
			t.Errorf("node %d read other bytes", i)
		}
	}
}

func TestMutexAndBarrier(t *testing.T) {
	spaces := openSpaces(t, 3)
	regions := openRegions(t, spaces, "r", RegionOptions{Size: 4096})
	ctx := within(t, 30*time.Second)
	var wg sync.WaitGroup
	for i, s := range spaces {
		wg.Go(func() {
			mu, bar := s.Mutex("m"), s.Barrier("b", 3)
			for k := range 50 {
				if _, err := mu.Lock(ctx); err != nil {
					t.Error(err)
					return
				}
				v, err1 := regions[i].Load(ctx, 0)
				err2 := regions[i].Store(ctx, 0, v+1)
				if err := mu.Unlock(); err != nil || err1 != nil || err2 != nil {
					t.Error(err, err1, err2)
					return
				}
				if err := bar.Wait(ctx); err != nil {
					t.Error(err)
					return
				}
				if v, err := regions[i].Load(ctx, 0); err != nil || v < uint64(3*(k+1)) {
					t.Error(v, err)
				}
			}
		})
	}
	wg.Wait()
	if v, err := regions[0].Load(ctx, 0); v != 150 || err != nil {
		t.Error(v, err)
	}
}

func TestViews(t *testing.T) {
	spaces := openSpaces(t, 2)
	regions := openRegions(t, spaces, "grid", RegionOptions{Size: 1 << 16})
	ctx := within(t, 30*time.Second)
	v, err := ViewOf[float64](ctx, regions[0], 100, 1000, pagetable.WriteAccess)
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.Slice() {
		v.Slice()[i] = float64(i)
	}
	v.Release()
	w, err := ViewOf[float64](ctx, regions[1], 100, 1000, pagetable.ReadAccess)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Release()
	for i, x := range w.Slice() {
		if x != float64(i) {
			t.Fatalf("element %d is %v", i, x)
		}
	}
}

func TestLeaveKeepsEverything(t *testing.T) {
	spaces := openSpaces(t, 3)
	regions := openRegions(t, spaces, "r", RegionOptions{Size: 64 * 4096})
	ctx := within(t, 30*time.Second)
	for p := range 64 {
		if err := regions[p%3].Store(ctx, int64(p*4096), uint64(p+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, leaver := range []int{1, 0} {
		if err := spaces[leaver].Leave(ctx); err != nil {
			t.Fatal(err)
		}
		for p := range 64 {
			if v, err := regions[2].Load(ctx, int64(p*4096)); v != uint64(p+1) || err != nil {
				t.Fatalf("after %d left: page %d: %d, %v", leaver, p, v, err)
			}
		}
		if err := regions[2].Store(ctx, 8, 1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStatsSeeTraffic(t *testing.T) {
	spaces := openSpaces(t, 2)
	regions := openRegions(t, spaces, "r", RegionOptions{Size: 8192})
	ctx := within(t, 30*time.Second)
	for k := range 20 {
		if err := regions[k%2].Store(ctx, int64(k%2*8), uint64(k+1)); err != nil {
			t.Fatal(err)
		}
	}
	pages, err := spaces[0].Pages(ctx, PageQuery{Page: -1, Top: 3})
	if err != nil || len(pages) != 1 {
		t.Fatal(pages, err)
	}
	if p := pages[0]; p.WriteFaults < 18 || len(p.Writers) != 2 {
		t.Errorf("%+v", p)
	}
	st, err := spaces[1].Status(ctx)
	if err != nil || len(st.Nodes) != 2 || len(st.Members) != 2 {
		t.Error(st, err)
	}
}
