package dsm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// traffic is what a step adds to the counts of one node, without stall time and wire bytes.
type traffic struct {
	dsm.Counts
	in, out uint64 // messages
}

func trafficOf(s *dsm.Space) traffic {
	st := s.Stats()
	st.StallNanos, st.LostNanos = 0, 0
	return traffic{st.Counts, st.MessagesIn, st.MessagesOut}
}

func (a traffic) minus(b traffic) traffic {
	return traffic{dsm.Counts{
		ReadFaults: a.ReadFaults - b.ReadFaults, WriteFaults: a.WriteFaults - b.WriteFaults,
		Upgrades: a.Upgrades - b.Upgrades, Invalidations: a.Invalidations - b.Invalidations,
		Moves: a.Moves - b.Moves, BytesIn: a.BytesIn - b.BytesIn, BytesOut: a.BytesOut - b.BytesOut,
		BytesChanged: a.BytesChanged - b.BytesChanged,
	}, a.in - b.in, a.out - b.out}
}

// TestCountsOfOnePage sends one page around, homed at node 1, and says after every step what it cost
// nodes 1, 2 and 3.
func TestCountsOfOnePage(t *testing.T) {
	const page = 4096
	store := func(r *dsm.Region, off int64) error { return r.Store(context.Background(), off, uint64(off)+1) }
	load := func(r *dsm.Region, off int64) error { _, err := r.Load(context.Background(), off); return err }
	steps := []struct {
		name string
		node int
		do   func(*dsm.Region, int64) error
		off  int64
		want [3]traffic
	}{
		{"a page that was never written is one round trip without data", 2, load, 0, [3]traffic{
			{in: 1, out: 1}, {Counts: dsm.Counts{ReadFaults: 1}, in: 1, out: 1}, {}}},
		{"it is here now", 2, load, 4088, [3]traffic{}},
		{"so is the right to write it after an upgrade", 2, store, 0, [3]traffic{
			{in: 1, out: 1}, {Counts: dsm.Counts{Upgrades: 1}, in: 1, out: 1}, {}}},
		{"and it costs nothing more", 2, store, 8, [3]traffic{}},
		{"what another owns takes three hops, and word that it came", 3, load, 0, [3]traffic{
			{in: 2, out: 1}, {Counts: dsm.Counts{BytesOut: page, BytesChanged: 16}, in: 1, out: 1},
			{Counts: dsm.Counts{ReadFaults: 1, BytesIn: page}, in: 1, out: 2}}},
		{"an upgrade of the owner takes the other copy away", 2, store, 8, [3]traffic{
			{in: 2, out: 2}, {Counts: dsm.Counts{Upgrades: 1}, in: 1, out: 1},
			{Counts: dsm.Counts{Invalidations: 1}, in: 1, out: 1}}},
		{"the home reads", 1, load, 0, [3]traffic{
			{Counts: dsm.Counts{ReadFaults: 1, BytesIn: page}, in: 1, out: 1},
			{Counts: dsm.Counts{BytesOut: page, BytesChanged: 8}, in: 1, out: 1}, {}}}, // a store counts, whatever was there
		{"and gives what it has in one round trip", 3, load, 0, [3]traffic{
			{Counts: dsm.Counts{BytesOut: page}, in: 1, out: 1}, {},
			{Counts: dsm.Counts{ReadFaults: 1, BytesIn: page}, in: 1, out: 1}}},
		{"the home writes: both copies go, no data moves", 1, store, 16, [3]traffic{
			{Counts: dsm.Counts{Upgrades: 1}, in: 2, out: 2},
			{Counts: dsm.Counts{Invalidations: 1}, in: 1, out: 1}, {Counts: dsm.Counts{Invalidations: 1}, in: 1, out: 1}}},
		{"a write to what the home owns", 3, store, 24, [3]traffic{
			{Counts: dsm.Counts{Invalidations: 1, BytesOut: page, BytesChanged: 8}, in: 1, out: 1}, {},
			{Counts: dsm.Counts{WriteFaults: 1, Moves: 1, BytesIn: page}, in: 1, out: 1}}},
		{"a write to what another owns", 2, store, 32, [3]traffic{
			{in: 2, out: 1}, {Counts: dsm.Counts{WriteFaults: 1, Moves: 1, BytesIn: page}, in: 1, out: 2},
			{Counts: dsm.Counts{Invalidations: 1, BytesOut: page, BytesChanged: 8}, in: 1, out: 1}}},
	}
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		var before [3]traffic
		synctest.Wait()
		for i, s := range nodes {
			before[i] = trafficOf(s)
		}
		for _, step := range steps {
			if err := step.do(regions[step.node-1], step.off); err != nil {
				t.Fatal(step.name, err)
			}
			synctest.Wait()
			for i, s := range nodes {
				now := trafficOf(s)
				if got := now.minus(before[i]); got != step.want[i] {
					t.Errorf("%s: node %d has\n%+v, want\n%+v", step.name, i+1, got, step.want[i])
				}
				before[i] = now
			}
		}
		checkPages(t, nodes)
	})
}

// checkPages checks that the counts of all pages and those of all nodes add up to the same.
func checkPages(t *testing.T, nodes []*dsm.Space) {
	t.Helper()
	pages, err := nodes[1].Pages(t.Context(), dsm.PageQuery{Page: -1})
	if err != nil {
		t.Fatal(err)
	}
	all, err := nodes[2].ClusterStats(t.Context())
	if err != nil || len(all) != len(nodes) {
		t.Fatal(all, err)
	}
	var ofPages, ofNodes dsm.Counts
	for _, p := range pages {
		ofPages = sum(ofPages, p.Counts)
	}
	for i, n := range all {
		if n.Node != nodes[i].Self() || n.Rank != i {
			t.Errorf("place %d is that of %v, rank %d", i, n.Node, n.Rank)
		}
		ofNodes = sum(ofNodes, n.Counts)
	}
	if ofPages != ofNodes || ofPages == (dsm.Counts{}) {
		t.Errorf("pages add up to\n%+v, nodes to\n%+v", ofPages, ofNodes)
	}
}

func sum(a, b dsm.Counts) dsm.Counts {
	return dsm.Counts{
		ReadFaults: a.ReadFaults + b.ReadFaults, WriteFaults: a.WriteFaults + b.WriteFaults,
		Upgrades: a.Upgrades + b.Upgrades, Invalidations: a.Invalidations + b.Invalidations,
		Moves: a.Moves + b.Moves, BytesIn: a.BytesIn + b.BytesIn, BytesOut: a.BytesOut + b.BytesOut,
		BytesChanged: a.BytesChanged + b.BytesChanged, StallNanos: a.StallNanos + b.StallNanos,
		LostNanos: a.LostNanos + b.LostNanos,
	}
}

func TestStallIsTheTimeThatFaultsWait(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		v := takeView(t, regions[0], 0, 8, write)
		for range 2 {
			go func() { _ = regions[1].Store(t.Context(), 0, 1) }()
		}
		time.Sleep(5 * time.Second)
		v.Release()
		synctest.Wait()
		if got := nodes[1].Stats().Stall(); got != 10*time.Second {
			t.Errorf("two faults of 5 s make %v", got)
		}
	})
}

// TestViewsAreCountedLikeOtherAccesses: a page that a view gives up late is given up nevertheless.
func TestViewsAreCountedLikeOtherAccesses(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		v := takeView(t, regions[1], 0, 4096, write)
		v.Bytes()[100] = 1
		got := finished(func() { takeView(t, regions[2], 0, 4096, write).Release() })
		got()
		v.Release()
		if !got() {
			t.Fatal("the page does not come")
		}
		st := nodes[1].Stats()
		if st.WriteFaults != 1 || st.Invalidations != 1 || st.BytesOut != 4096 || st.BytesChanged != 8 {
			t.Errorf("%+v", st.Counts)
		}
	})
}

func TestResetStats(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		for k := range 9 {
			if err := regions[k%3].Store(t.Context(), int64(k*8), 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := nodes[2].ResetStats(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, s := range nodes {
			if st := s.Stats(); st.Counts != (dsm.Counts{}) || st.MessagesIn+st.MessagesOut > 4 { // those of the reset itself
				t.Errorf("node %d has %+v", i, st)
			}
		}
		pages, err := nodes[0].Pages(t.Context(), dsm.PageQuery{Page: -1})
		if err != nil || len(pages) != 0 {
			t.Errorf("pages %+v, %v", pages, err)
		}
		if v, err := regions[0].Load(t.Context(), 64); v != 1 || err != nil {
			t.Errorf("the memory was reset as well: %d, %v", v, err)
		}
		if err := regions[1].Store(t.Context(), 8, 5); err != nil {
			t.Fatal(err)
		}
		pages, err = nodes[0].Pages(t.Context(), dsm.PageQuery{Page: -1})
		if err != nil || len(pages) != 1 || pages[0].Upgrades+pages[0].WriteFaults != 1 || len(pages[0].Writers) != 1 {
			t.Errorf("after one more write: %+v, %v", pages, err)
		}
	})
}

func TestPagesSelects(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		for _, name := range []string{"a", "b"} {
			regions := openRegions(t, nodes, name, dsm.RegionOptions{Size: 10 * 1024, PageSize: 1024, Placement: homed(nodes[0])})
			for p := range int64(5) {
				for range p + 1 { // page p is fetched p+1 times
					if err := regions[0].Store(t.Context(), p*1024, 1); err != nil {
						t.Fatal(err)
					}
					v := takeView(t, regions[0], p*1024, 8, write)
					time.AfterFunc(time.Second, v.Release) // so that every fetch takes a second
					if _, err := regions[1].Load(t.Context(), p*1024); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := regions[0].Store(t.Context(), 7*1024, 1); err != nil { // no traffic
				t.Fatal(err)
			}
		}
		tests := []struct {
			q    dsm.PageQuery
			want string
		}{
			{dsm.PageQuery{Page: -1}, "a4 b4 a3 b3 a2 b2 a1 b1 a0 b0"},
			{dsm.PageQuery{Page: -1, Top: 3}, "a4 b4 a3"},
			{dsm.PageQuery{Region: "b", Page: -1, Top: 2}, "b4 b3"},
			{dsm.PageQuery{Region: "b", Page: 2}, "b2"},
			{dsm.PageQuery{Page: 2}, "a2 b2"},
			{dsm.PageQuery{Region: "a", Page: 7}, "a7"},
			{dsm.PageQuery{Region: "a", Page: 8}, ""},
			{dsm.PageQuery{Region: "a", Page: 1 << 40}, ""},
			{dsm.PageQuery{Region: "c", Page: -1}, ""},
		}
		for _, test := range tests {
			for _, s := range nodes {
				pages, err := s.Pages(t.Context(), test.q)
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, p := range pages {
					names = append(names, fmt.Sprint(p.Region, p.Page))
					if p.Offset != p.Page*1024 || p.Size != 1024 || p.Home != 1 {
						t.Errorf("%+v", p)
					}
				}
				if got := strings.Join(names, " "); got != test.want {
					t.Errorf("%+v: %s, want %s", test.q, got, test.want)
				}
			}
		}
	})
}

// TestNotesTellSharingApart: the same traffic, once because two nodes write one word, once because
// their words lie in one page.
func TestNotesTellSharingApart(t *testing.T) {
	const n1, n2, n3 = pagetable.NodeID(1), pagetable.NodeID(2), pagetable.NodeID(3)
	ctx := context.Background()
	type w = map[pagetable.NodeID][]dsm.Span
	tests := []struct {
		name    string
		home    int
		program func(r []*dsm.Region, k int64) error // called with k from 0 to 9
		note    string
		writers w
	}{
		{"false sharing", 0, func(r []*dsm.Region, k int64) error {
			return r[1+k%2].Store(ctx, 64+k%2*128, uint64(k)+1)
		}, "2 nodes write different words of this page", w{n2: {{64, 72}}, n3: {{192, 200}}}},
		{"false sharing within a cache line", 0, func(r []*dsm.Region, k int64) error {
			return r[1+k%2].Store(ctx, k%2*8+k/2%2*16, uint64(k)+1)
		}, "2 nodes write different words of this page", w{n2: {{0, 8}, {16, 24}}, n3: {{8, 16}, {24, 32}}}},
		{"true sharing", 0, func(r []*dsm.Region, k int64) error {
			_, err := r[1+k%2].Add(ctx, 64, 1)
			return err
		}, "2 nodes write the same words", w{n2: {{64, 72}}, n3: {{64, 72}}}},
		{"producer and consumers", 0, func(r []*dsm.Region, k int64) error {
			if k%3 == 0 {
				return r[1].Store(ctx, 0, uint64(k)+1)
			}
			_, err := r[k%3%2*2].Load(ctx, 0)
			return err
		}, "Written by n2 and fetched by 2 nodes", w{n2: {{0, 8}}}},
		{"read only", 1, func(r []*dsm.Region, k int64) error {
			_, err := r[k%2*2].Load(ctx, 0)
			return err
		}, "Read by 2 nodes and not written", w{}},
		{"homed elsewhere", 1, func(r []*dsm.Region, k int64) error {
			return r[0].Store(ctx, 0, uint64(k)+1)
		}, "Written by n1 alone but homed at n2", w{n1: {{0, 8}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
				r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096, Placement: homed(nodes[test.home])})
				for k := range int64(10) {
					if err := test.program(r, k); err != nil {
						t.Fatal(err)
					}
				}
				pages, err := nodes[0].Pages(t.Context(), dsm.PageQuery{Page: -1})
				if err != nil || len(pages) != 1 {
					t.Fatal(pages, err)
				}
				if p := pages[0]; !strings.HasPrefix(p.Note, test.note) {
					t.Errorf("note is %q, want %q", p.Note, test.note)
				}
				got := w{}
				for _, writer := range pages[0].Writers {
					got[writer.Node] = writer.Spans
				}
				if fmt.Sprint(got) != fmt.Sprint(test.writers) {
					t.Errorf("writers %v, want %v", got, test.writers)
				}
			})
		})
	}
}

// TestInspectionDoesNotDisturbViews looks at pages that are being written at that moment.
func TestInspectionDoesNotDisturbViews(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 1 << 14})
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for range 50 {
			if _, err := nodes[0].Pages(patient(t), dsm.PageQuery{Page: -1}); err != nil {
				t.Error(err)
			}
			if _, err := nodes[1].ClusterStats(patient(t)); err != nil {
				t.Error(err)
			}
		}
	}()
	for k := 0; ; k++ {
		select {
		case <-stop:
			return
		default:
		}
		v := takeView(t, regions[k%2], 0, 1<<14, write)
		for i := range v.Bytes() {
			v.Bytes()[i]++
		}
		v.Release()
	}
}

func TestInspector(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{Cluster: "inspected", Secret: "s"})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 1 << 16})
	for k := range 20 {
		if err := regions[k%3].Store(patient(t), int64(k%3*8), uint64(k)); err != nil {
			t.Fatal(err)
		}
	}
	mu := nodes[0].Mutex("m")
	lock(t, mu)
	for _, s := range nodes {
		i, err := dsm.Dial(patient(t), s.Addr(), dsm.InspectConfig{Cluster: "inspected", Secret: "s"})
		if err != nil {
			t.Fatal(err)
		}
		st, err := i.Status(patient(t))
		if err != nil || st.Node != s.Self() || len(st.Members) != 3 || len(st.Nodes) != 3 || len(st.Regions) != 1 ||
			st.Cluster != "inspected" || st.Coordinator != 1 || st.Addr != s.Addr() {
			t.Errorf("%+v, %v", st, err)
		}
		pages, err := i.Pages(patient(t), dsm.PageQuery{Page: -1, Top: 1})
		if err != nil || len(pages) != 1 || pages[0].Moves == 0 || len(pages[0].Writers) != 3 {
			t.Errorf("%+v, %v", pages, err)
		}
		locks, err := i.Locks(patient(t))
		if err != nil || len(locks) != 1 || locks[0].Holder != 1 {
			t.Errorf("%+v, %v", locks, err)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, cfg := range map[string]dsm.InspectConfig{"secret": {Cluster: "inspected"}, "cluster": {Secret: "s"}} {
		if _, err := dsm.Dial(patient(t), nodes[0].Addr(), cfg); err == nil || !contains(err, name) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := dsm.Dial(patient(t), "127.0.0.1:1", dsm.InspectConfig{}); err == nil {
		t.Error("nobody is there")
	}
	if got := nodes[2].Members(); !slices.EqualFunc(got, nodes, func(m dsm.MemberStatus, s *dsm.Space) bool {
		return m.Node == s.Self() && m.Addr == s.Addr() && m.Rank == s.Rank() && m.State == "member"
	}) {
		t.Errorf("members %+v", got)
	}
}
