package dsm_test

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func TestRegionOptionsMustAgree(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	made := dsm.RegionOptions{
		Size: 1 << 20, PageSize: 8192,
		Placement: dsm.Placement{Kind: pagetable.Blocked, Nodes: []pagetable.NodeID{2, 1}},
	}
	openRegions(t, nodes, "made", made)
	with := func(change func(*dsm.RegionOptions)) dsm.RegionOptions {
		o := made
		change(&o)
		return o
	}
	tests := []struct {
		name string
		o    dsm.RegionOptions
		want error
	}{
		{"the same", made, nil},
		{"nothing", dsm.RegionOptions{}, nil},
		{"no size, other placement", with(func(o *dsm.RegionOptions) { o.Size, o.Placement = 0, dsm.Placement{} }), nil},
		{"no page size", with(func(o *dsm.RegionOptions) { o.PageSize = 0 }), nil},
		{"no nodes", with(func(o *dsm.RegionOptions) { o.Placement.Nodes = nil }), nil},
		{"another size", with(func(o *dsm.RegionOptions) { o.Size++ }), dsm.ErrMismatch},
		{"another page size", with(func(o *dsm.RegionOptions) { o.PageSize = 4096 }), dsm.ErrMismatch},
		{"another page size, no size", dsm.RegionOptions{PageSize: 4096}, dsm.ErrMismatch},
		{"another kind", with(func(o *dsm.RegionOptions) { o.Placement.Kind = pagetable.Hashed }), dsm.ErrMismatch},
		{"other nodes", with(func(o *dsm.RegionOptions) { o.Placement.Nodes = []pagetable.NodeID{1, 2} }), dsm.ErrMismatch},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range nodes { // the one that orders changes, and one that has to ask it
				r, err := s.Region(patient(t), "made", test.o)
				wantError(t, s.Self().String(), err, test.want)
				if err == nil && (r.Size() != 1<<20 || r.PageSize() != 8192 || r.Name() != "made") {
					t.Errorf("%v: %d bytes in pages of %d, named %q", s.Self(), r.Size(), r.PageSize(), r.Name())
				}
			}
		})
	}
	_, err := nodes[1].Region(patient(t), "never made", dsm.RegionOptions{})
	wantError(t, "open what does not exist", err, dsm.ErrNotExist)
}

func TestRegionRefusesWhatCantBe(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	tests := []struct {
		name   string
		region string
		o      dsm.RegionOptions
		says   string
	}{
		{"no size", "x", dsm.RegionOptions{}, "give a size"},
		{"one byte more than the window", "x", dsm.RegionOptions{Size: 1<<44 + 1}, "fit the address window"},
		{"all sizes", "x", dsm.RegionOptions{Size: math.MaxUint64}, "fit the address window"},
		{"no name", "", dsm.RegionOptions{Size: 1}, "name of 0 bytes"},
		{"a long name", strings.Repeat("x", 129), dsm.RegionOptions{Size: 1}, "name of 129 bytes"},
		{"pages too small", "x", dsm.RegionOptions{Size: 1, PageSize: 128}, "power of two from 256 to 2097152"},
		{"pages too large", "x", dsm.RegionOptions{Size: 1, PageSize: 4 << 20}, "power of two from 256 to 2097152"},
		{"pages far too large", "x", dsm.RegionOptions{Size: 1, PageSize: 1 << 40}, "power of two from 256 to 2097152"},
		{"pages of no power of two", "x", dsm.RegionOptions{Size: 1, PageSize: 4097}, "power of two from 256 to 2097152"},
		{"negative pages", "x", dsm.RegionOptions{Size: 1, PageSize: -4096}, "power of two from 256 to 2097152"},
		{"an unknown kind", "x", dsm.RegionOptions{Size: 1, Placement: dsm.Placement{Kind: 7}}, "placement"},
		{"a home that is no member", "x", dsm.RegionOptions{Size: 1, Placement: dsm.Placement{
			Nodes: []pagetable.NodeID{1, 9}}}, "n9"},
		{"home 0", "x", dsm.RegionOptions{Size: 1, Placement: dsm.Placement{Nodes: []pagetable.NodeID{0}}}, "not a member"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range nodes {
				_, err := s.Region(patient(t), test.region, test.o)
				if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v: error is %v, want one line with %q", s.Self(), err, test.says)
				}
			}
		})
	}
	if st, err := nodes[0].Status(patient(t)); err != nil || len(st.Regions) != 0 || len(st.Members) != 2 {
		t.Errorf("afterwards the space is %+v, %v", st, err)
	}
}

// TestAccessStaysInTheRegion uses a region whose last page is larger than its share.
func TestAccessStaysInTheRegion(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	const size = 10_000
	r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: size, PageSize: 4096, Placement: homed(nodes[1])})[0]
	ctx := patient(t)
	spans := []struct{ off, n int64 }{
		{-1, 1}, {math.MinInt64, 1}, {size, 1}, {size - 1, 2}, {0, size + 1}, {size + 1, 0}, {1 << 40, 8},
		{math.MaxInt64, 1}, {1, math.MaxInt64}, {math.MaxInt64, math.MaxInt64},
	}
	for _, sp := range spans {
		t.Run(fmt.Sprint(sp), func(t *testing.T) {
			_, err := r.View(ctx, sp.off, sp.n, pagetable.ReadAccess)
			wantError(t, "View", err, dsm.ErrRange)
			wantError(t, "Prefetch", r.Prefetch(ctx, sp.off, sp.n, pagetable.WriteAccess), dsm.ErrRange)
			if sp.n <= 2*size {
				_, err := r.WriteAt(make([]byte, sp.n), sp.off)
				wantError(t, "WriteAt", err, dsm.ErrRange)
			}
		})
	}
	for _, off := range []int64{-1, size + 1, math.MinInt64, math.MaxInt64} {
		n, err := r.ReadAt(make([]byte, 8), off)
		wantError(t, fmt.Sprintf("ReadAt %d", off), err, dsm.ErrRange)
		if n != 0 {
			t.Errorf("ReadAt %d read %d bytes", off, n)
		}
	}
	for _, test := range []struct{ index, count int64 }{
		{-1, 1}, {0, -1}, {0, size/8 + 1}, {size / 8, 1}, {math.MaxInt64, 1}, {1, math.MaxInt64}, {1 << 60, 1 << 60},
	} {
		_, err := dsm.ViewOf[uint64](ctx, r, test.index, test.count, pagetable.ReadAccess)
		wantError(t, fmt.Sprint("ViewOf ", test), err, dsm.ErrRange)
	}
	if st := nodes[0].Stats(); st.ReadFaults+st.WriteFaults != 0 {
		t.Errorf("a refused access has faulted: %+v", st)
	}
}

func TestReadAtEndsWithTheRegion(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 5000, PageSize: 4096})
	if n, err := regions[0].WriteAt([]byte("tail"), 4996); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	tests := []struct {
		off  int64
		n    int
		want string
		err  error
	}{
		{4996, 4, "tail", nil}, {4996, 100, "tail", io.EOF}, {4999, 2, "l", io.EOF},
		{5000, 1, "", io.EOF}, {5000, 0, "", nil}, {0, 0, "", nil},
	}
	for _, test := range tests {
		p := make([]byte, test.n)
		n, err := regions[1].ReadAt(p, test.off)
		if string(p[:n]) != test.want || err != test.err {
			t.Errorf("ReadAt of %d at %d: %q, %v, want %q, %v", test.n, test.off, p[:n], err, test.want, test.err)
		}
	}
	all, err := io.ReadAll(io.NewSectionReader(regions[1], 0, 1<<40))
	if len(all) != 5000 || err != nil {
		t.Errorf("a reader gets %d bytes, %v", len(all), err)
	}
}

func TestWordsAreAligned(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4100})[0]
	ctx := patient(t)
	ops := map[string]func(off int64) error{
		"Load":           func(off int64) error { _, err := r.Load(ctx, off); return err },
		"Store":          func(off int64) error { return r.Store(ctx, off, 1) },
		"Add":            func(off int64) error { _, err := r.Add(ctx, off, 1); return err },
		"Swap":           func(off int64) error { _, err := r.Swap(ctx, off, 1); return err },
		"CompareAndSwap": func(off int64) error { _, err := r.CompareAndSwap(ctx, off, 0, 1); return err },
	}
	for name, op := range ops {
		for _, off := range []int64{1, 4, 7, 4093, -1, math.MinInt64 + 1, math.MaxInt64} {
			wantError(t, fmt.Sprint(name, " at ", off), op(off), dsm.ErrMisaligned)
		}
		for _, off := range []int64{-8, 4096, 4104, math.MinInt64, math.MaxInt64 - 7} { // 4096: only 4 bytes are left
			wantError(t, fmt.Sprint(name, " at ", off), op(off), dsm.ErrRange)
		}
		if err := op(4088); err != nil {
			t.Errorf("%s of the last whole word: %v", name, err)
		}
	}
}

// TestWordOperations runs each operation on a page that is here and on one that has to come.
func TestWordOperations(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096, Placement: homed(nodes[0])})
	ctx := patient(t)
	for i, where := range []string{"fetched", "here"} {
		r := regions[1]
		off := int64(i * 8)
		away := func() {
			if where == "fetched" {
				if _, err := regions[0].Add(ctx, 4000, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		check := func(what string, got, want any, err error) {
			t.Helper()
			if got != want || err != nil {
				t.Errorf("%s: %s: %v, %v, want %v", where, what, got, err, want)
			}
			away()
		}
		away()
		check("Store", nil, nil, r.Store(ctx, off, 5))
		v, err := r.Load(ctx, off)
		check("Load", v, uint64(5), err)
		v, err = r.Add(ctx, off, 10)
		check("Add", v, uint64(15), err)
		v, err = r.Add(ctx, off, ^uint64(2))
		check("Add of a negative", v, uint64(12), err)
		v, err = r.Swap(ctx, off, 100)
		check("Swap", v, uint64(12), err)
		ok, err := r.CompareAndSwap(ctx, off, 99, 1)
		check("CompareAndSwap of another", ok, false, err)
		ok, err = r.CompareAndSwap(ctx, off, 100, 1)
		check("CompareAndSwap", ok, true, err)
		v, err = r.Load(ctx, off)
		check("Load", v, uint64(1), err)
	}
}

// TestPageSizes moves the same bytes through pages of every size.
func TestPageSizes(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	for size := pagetable.MinPageSize; size <= pagetable.MaxPageSize; size *= 2 {
		want := make([]byte, max(2*size, 100_000)+123)
		for i := range want {
			want[i] = byte(i*i>>7 + i)
		}
		regions := openRegions(t, nodes, fmt.Sprint(size), dsm.RegionOptions{Size: 6 << 20, PageSize: size})
		middle := len(want)/2 - 5
		for i, part := range [][]byte{want[:middle], want[middle:]} {
			if _, err := regions[i].WriteAt(part, int64(i*middle)+77); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, len(want))
		if _, err := regions[2].ReadAt(got, 77); err != nil || string(got) != string(want) {
			t.Errorf("pages of %d: other bytes, %v", size, err)
		}
	}
}

func TestHugeRegionIsSparse(t *testing.T) {
	size := uint64(1 << 40)
	if raceEnabled {
		size = 1 << 28 // frames come from the heap
	}
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "huge", dsm.RegionOptions{Size: size})
	ctx := patient(t)
	var offsets []int64
	for off := int64(size) - 8; off > 0; off /= 3 {
		offsets = append(offsets, off&^7)
	}
	for i, off := range offsets {
		if err := regions[i%2].Store(ctx, off, uint64(off)+1); err != nil {
			t.Fatal(err)
		}
	}
	for i, off := range offsets {
		if v, err := regions[(i+1)%2].Load(ctx, off); v != uint64(off)+1 || err != nil {
			t.Errorf("word at %d: %d, %v", off, v, err)
		}
	}
	if in := nodes[0].Stats().BytesIn; in > uint64(len(offsets))*4096 {
		t.Errorf("%d bytes came for %d words", in, len(offsets))
	}
}

func TestManyRegions(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	const many = 60
	ctx := patient(t)
	each(nodes, func(i int, s *dsm.Space) { // all nodes create all of them at once
		for k := range many {
			r, err := s.Region(ctx, fmt.Sprint("region ", (k+i*many/3)%many), dsm.RegionOptions{Size: 3000, PageSize: 512})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := r.Add(ctx, 2048, uint64(k)+1); err != nil {
				t.Error(err)
			}
		}
	})
	st, err := nodes[2].Status(ctx)
	if err != nil || len(st.Regions) != many {
		t.Fatalf("%d regions, %v", len(st.Regions), err)
	}
	used := map[pagetable.Addr]bool{}
	var sum uint64
	for _, rs := range st.Regions {
		r, err := nodes[1].Region(ctx, rs.Name, dsm.RegionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.Load(ctx, 2048)
		if err != nil {
			t.Fatal(err)
		}
		if sum += v; r.Base() != rs.Base || used[rs.Base] || !pagetable.Window().Contains(rs.Base) {
			t.Errorf("%q lies at %v and %v", rs.Name, r.Base(), rs.Base)
		}
		used[rs.Base] = true
	}
	if want := uint64(3 * many * (many + 1) / 2); sum != want {
		t.Errorf("the regions add up to %d, want %d", sum, want)
	}
}

func TestPlacement(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	region := func(name string, p dsm.Placement) *dsm.Region {
		return openRegions(t, nodes[:1], name, dsm.RegionOptions{Size: 90 * 4096, Placement: p})[0]
	}
	homes := func(r *dsm.Region) map[pagetable.NodeID]int {
		count := map[pagetable.NodeID]int{}
		for p := range int64(90) {
			count[r.Home(p*4096+17)]++
		}
		return count
	}
	blocked := region("blocked", dsm.Placement{Kind: pagetable.Blocked, Nodes: []pagetable.NodeID{3, 1, 3}})
	for p := range int64(90) {
		if got, want := blocked.Home(p*4096), []pagetable.NodeID{3, 1, 3}[p/30]; got != want {
			t.Errorf("page %d is homed at %v, want %v", p, got, want)
		}
	}
	for n, count := range homes(region("hashed", dsm.Placement{})) {
		if count < 10 || n < 1 || n > 3 {
			t.Errorf("%v homes %d of 90 pages", n, count)
		}
	}
	if got := homes(region("at one", homed(nodes[1]))); got[2] != 90 {
		t.Errorf("homes %v", got)
	}
	for _, off := range []int64{-1, 90 * 4096, math.MaxInt64} {
		if n := blocked.Home(off); n != 0 {
			t.Errorf("offset %d is homed at %v", off, n)
		}
	}
}
