package dsm_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// tracing collects what a test does.
type tracing struct {
	*dsm.Tracer
	trace.Merger
	trace.Names
}

// traceFrom begins to collect events, or skips the test if none are recorded.
func traceFrom(t testing.TB, s *dsm.Space, q dsm.TraceQuery) *tracing {
	t.Helper()
	if !dsm.Recording {
		t.Skip("built with noevents")
	}
	return &tracing{Tracer: s.Trace(q)}
}

// next returns what has happened since the last next, in order.
func (tr *tracing) next(t testing.TB) []trace.Event {
	t.Helper()
	ch, err := tr.Tracer.Next(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(ch.Lost) > 0 {
		t.Errorf("lost %+v", ch.Lost)
	}
	tr.Names.Add(&ch)
	return append(tr.Merger.Add(&ch), tr.Merger.Rest()...)
}

// lines returns events with the functions of their sites.
func (tr *tracing) lines(events []trace.Event) []string {
	var list []string
	site := func(n pagetable.NodeID, id uint32) string {
		s, ok := tr.Site(n, id)
		if !ok {
			return "?"
		}
		return s.Function[strings.LastIndexByte(s.Function, '.')+1:]
	}
	for _, e := range events {
		in := ""
		if e.Site != 0 {
			in = " in " + site(e.Node, e.Site)
		}
		if e.Cause.Node != 0 {
			in += fmt.Sprintf(" because %v %v in %s", e.Cause.Node, e.Cause.Access, site(e.Cause.Node, e.Cause.Site))
		}
		e.Site, e.Cause = 0, trace.Cause{}
		text := e.String()
		if e.Kind.OfLock() {
			text = strings.Replace(text, e.Page.String(), tr.Of(&e), 1)
		}
		list = append(list, text+in)
	}
	return list
}

func checkLines(t *testing.T, what string, got []string, want string) {
	t.Helper()
	wanted := strings.Split(strings.ReplaceAll(strings.TrimSpace(want), "\t", ""), "\n")
	if want == "" {
		wanted = nil
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(wanted, "\n"))
	}
}

//go:noinline
func storeAt(r *dsm.Region, off int64) error {
	return r.Store(context.Background(), off, uint64(off)+1)
}

//go:noinline
func loadAt(r *dsm.Region, off int64) error {
	_, err := r.Load(context.Background(), off)
	return err
}

//go:noinline
func loadFor(ctx context.Context, r *dsm.Region) error {
	_, err := r.Load(ctx, 0)
	return err
}

//go:noinline
func meetAt(t *testing.T, s *dsm.Space, barrier string) {
	if err := s.Barrier(barrier, 2).Wait(patient(t)); err != nil {
		t.Error(err)
	}
}

//go:noinline
func acquireOne(t *testing.T, s *dsm.Semaphore) {
	if err := s.Acquire(patient(t), 1); err != nil {
		t.Error(err)
	}
}

// TestEventsOfOnePage sends one page around, homed at node 1, and says after every step what the nodes have
// recorded.
func TestEventsOfOnePage(t *testing.T) {
	steps := []struct {
		name string
		node int
		do   func(*dsm.Region, int64) error
		off  int64
		want string
	}{
		{"a page that was never written", 2, loadAt, 16, `
			n2 fault r1:0 read at 16+8 other n1 in loadAt
			n1 grant r1:0 read other n2 txn 1
			n2 receive r1:0 read other n1 txn 1
			n2 served r1:0 read at 16+8 other n1 txn 1 in loadAt`},
		{"it is here now", 2, loadAt, 4088, ""},
		{"an upgrade", 2, storeAt, 64, `
			n2 fault r1:0 write held read at 64+8 other n1 in storeAt
			n1 grant r1:0 write other n2 txn 2
			n2 receive r1:0 write held read other n1 txn 2
			n2 served r1:0 write held read at 64+8 other n1 txn 2 in storeAt`},
		{"another node reads: the owner keeps a copy", 3, loadAt, 0, `
			n3 fault r1:0 read at 0+8 other n1 in loadAt
			n1 forward r1:0 read other n2 txn 3 because n3 read in loadAt
			n2 downgrade r1:0 read held write other n1 txn 3 changed 8 words 0x2 because n3 read in loadAt
			n2 grant r1:0 read other n3 bytes 4096 txn 3
			n3 receive r1:0 read other n2 bytes 4096 txn 3
			n3 served r1:0 read at 0+8 other n2 bytes 4096 txn 3 in loadAt`},
		{"the owner writes again, since it lost the right to", 2, storeAt, 4088, `
			n2 fault r1:0 write held read at 4088+8 other n1 in storeAt because n3 read in loadAt
			n3 invalidate r1:0 held read other n1 txn 4 because n2 write in storeAt
			n1 grant r1:0 write other n2 txn 4
			n2 receive r1:0 write held read other n1 txn 4
			n2 served r1:0 write held read at 4088+8 other n1 txn 4 in storeAt because n3 read in loadAt`},
		{"the other reads again, since it was written", 3, loadAt, 4088, `
			n3 fault r1:0 read at 4088+8 other n1 in loadAt because n2 write in storeAt
			n1 forward r1:0 read other n2 txn 5 because n3 read in loadAt
			n2 downgrade r1:0 read held write other n1 txn 5 changed 8 words 0x8000000000000000 because n3 read in loadAt
			n2 grant r1:0 read other n3 bytes 4096 txn 5
			n3 receive r1:0 read other n2 bytes 4096 txn 5
			n3 served r1:0 read at 4088+8 other n2 bytes 4096 txn 5 in loadAt because n2 write in storeAt`},
		{"it writes for the first time: nobody took that right away", 3, storeAt, 8, `
			n3 fault r1:0 write held read at 8+8 other n1 in storeAt
			n2 invalidate r1:0 held read other n1 txn 6 because n3 write in storeAt
			n1 grant r1:0 write other n3 txn 6
			n3 receive r1:0 write held read other n1 txn 6
			n3 served r1:0 write held read at 8+8 other n1 txn 6 in storeAt`},
		{"a write to what another owns", 1, storeAt, 0, `
			n1 fault r1:0 write at 0+8 other n1 in storeAt
			n1 forward r1:0 write other n3 txn 7 because n1 write in storeAt
			n3 invalidate r1:0 held write other n1 txn 7 changed 8 words 0x1 because n1 write in storeAt
			n3 grant r1:0 write other n1 bytes 4096 txn 7
			n1 receive r1:0 write other n3 bytes 4096 txn 7
			n1 served r1:0 write at 0+8 other n3 bytes 4096 txn 7 in storeAt`},
		{"which it would not have to fetch if it had not lost it", 3, storeAt, 8, `
			n3 fault r1:0 write at 8+8 other n1 in storeAt because n1 write in storeAt
			n1 invalidate r1:0 held write other n1 txn 8 changed 8 words 0x1 because n3 write in storeAt
			n1 grant r1:0 write other n3 bytes 4096 txn 8
			n3 receive r1:0 write other n1 bytes 4096 txn 8
			n3 served r1:0 write at 8+8 other n1 bytes 4096 txn 8 in storeAt because n1 write in storeAt`},
	}
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		tr := traceFrom(t, nodes[1], dsm.TraceQuery{Page: -1})
		tr.next(t)
		for _, step := range steps {
			if err := step.do(regions[step.node-1], step.off); err != nil {
				t.Fatal(step.name, err)
			}
			synctest.Wait()
			checkLines(t, step.name, tr.lines(tr.next(t)), step.want)
			time.Sleep(time.Second)
		}
	})
}

// TestEventsOfReleaseRegion: two nodes write one page between barriers. Who fetches it anew learns whose change it
// was that made it.
func TestEventsOfReleaseRegion(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := openRegions(t, nodes, "r", dsm.RegionOptions{
			Size: 4096, Placement: homed(nodes[0]), Consistency: pagetable.Release,
		})
		tr := traceFrom(t, nodes[0], dsm.TraceQuery{Region: "r", Page: -1})
		tr.next(t)
		round := func(k int64) []string {
			if err := storeAt(regions[1], k*8); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			written := tr.lines(tr.next(t))
			go meetAt(t, nodes[1], "b")
			synctest.Wait() // so that no notice comes before its change
			meetAt(t, nodes[2], "b")
			synctest.Wait()
			time.Sleep(time.Second)
			return append(written, tr.lines(tr.next(t))...)
		}
		if err := loadAt(regions[2], 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		tr.next(t)
		checkLines(t, "the other has used the page, so it gets the change", round(64), `
			n2 fault r1:0 write at 512+8 other n1 in storeAt
			n1 grant r1:0 read other n2
			n2 receive r1:0 write other n1
			n2 served r1:0 write at 512+8 other n1 in storeAt
			n2 flush r1:0 other n1 bytes 5 txn 1 changed 8 words 0x100 in storeAt
			n1 merge r1:0 other n2 bytes 5 txn 1
			n1 update r1:0 other n3 bytes 5 txn 1
			n2 flushed r1:0 other n1 txn 1 in storeAt
			n3 receive r1:0 read held read other n1 bytes 5 txn 1`)
		var last []string
		for k := int64(65); k < 80 && !slices.ContainsFunc(last, func(l string) bool { return strings.Contains(l, "invalidate") }); k++ {
			last = round(k)
		}
		for i := range last {
			last[i] = number.ReplaceAllString(last[i], "txn #")
		}
		checkLines(t, "it does not use it any more: the change goes home, and the copy is given up", last, `
			n2 flush r1:0 other n1 bytes 5 txn # changed 8 words 0x100 in storeAt
			n1 merge r1:0 other n2 bytes 5 txn #
			n2 flushed r1:0 other n1 txn # in storeAt
			n3 invalidate r1:0 held read txn # because n2 write in storeAt`)
		if err := loadAt(regions[2], 512); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		last = tr.lines(tr.next(t))
		for i := range last {
			last[i] = number.ReplaceAllString(last[i], "txn #")
		}
		checkLines(t, "and fetched because of that change", last, `
			n3 fault r1:0 read at 512+8 other n1 in loadAt because n2 write in storeAt
			n1 grant r1:0 read other n3 bytes 4096 txn #
			n3 receive r1:0 read other n1 bytes 4096 txn #
			n3 served r1:0 read at 512+8 other n1 bytes 4096 txn # in loadAt because n2 write in storeAt`)
	})
}

var number = regexp.MustCompile(`txn [0-9]+`)

// TestEventsOfLocks: only waits are recorded, with whose message ended them.
func TestEventsOfLocks(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		a, b := nodes[0].Mutex("m"), nodes[1].Mutex("m")
		lock(t, a)
		tr := traceFrom(t, nodes[0], dsm.TraceQuery{Page: -1})
		tr.next(t)
		for range 3 {
			unlock(t, a)
			lock(t, a)
		}
		locked := finished(func() { lock(t, b) })
		time.Sleep(3 * time.Second)
		unlock(t, a)
		if !locked() {
			t.Fatal("the mutex does not come")
		}
		arrived := finished(func() { meetAt(t, nodes[0], "b") })
		time.Sleep(time.Second)
		meetAt(t, nodes[1], "b")
		if !arrived() {
			t.Fatal("the barrier does not open")
		}
		sem := []*dsm.Semaphore{nodes[0].Semaphore("s", 1), nodes[1].Semaphore("s", 1)}
		if err := sem[0].Acquire(patient(t), 1); err != nil {
			t.Fatal(err)
		}
		got := finished(func() { acquireOne(t, sem[1]) })
		time.Sleep(2 * time.Second)
		if err := sem[0].Release(1); err != nil || !got() {
			t.Fatal(err)
		}
		var waits []string
		for _, l := range tr.lines(tr.next(t)) {
			if strings.Contains(l, "wait") { // others end while the clock stands still
				waits = append(waits, l)
			}
		}
		checkLines(t, "waits", waits, `
			n2 lock mutex "m" other n1 wait 3s in lock
			n1 barrier barrier "b" other n2 wait 1s in meetAt
			n2 lock semaphore "s" other n1 wait 2s in acquireOne`)
	})
}

// TestEventsOfViews: a view that keeps a page from others is recorded when it ends, and so is who waited.
func TestEventsOfViews(t *testing.T) {
	kinds := []trace.Kind{trace.Delay, trace.Served, trace.Failed, trace.Invalidate, trace.Downgrade}
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		tr := traceFrom(t, nodes[0], dsm.TraceQuery{Page: -1, Kinds: kinds})
		tr.next(t)
		v := takeView(t, regions[0], 8, 16, write)
		v.Bytes()[0] = 1
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := loadFor(ctx, regions[1]); err == nil {
			t.Fatal("a view keeps nobody waiting")
		}
		stored := finished(func() { _ = storeAt(regions[1], 24) })
		checkLines(t, "a wait that is given up", tr.lines(tr.next(t)), `
			n2 failed r1:0 read at 0+8 wait 1s in loadFor`)
		time.Sleep(2 * time.Second)
		v.Release()
		if !stored() {
			t.Fatal("the page does not come")
		}
		checkLines(t, "the end of a view", tr.lines(tr.next(t)), `
			n1 downgrade r1:0 read held write other n1 txn 2 changed 8 words 0x1 because n2 read in loadFor
			n1 delay r1:0 wait 3s in takeView
			n1 invalidate r1:0 held read other n1 txn 3 because n2 write in storeAt
			n2 served r1:0 write at 24+8 other n1 wait 2s txn 3 in storeAt`)
	})
}

// TestEventsOfEviction: a page that is fetched anew because memory is short has no cause.
func TestEventsOfEviction(t *testing.T) {
	const limit = 16
	inMemory(t, 2, dsm.Config{MemoryLimit: limit * 4096}, func(t *testing.T, nodes []*dsm.Space) {
		regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 2 * limit * 4096, Placement: homed(nodes[0])})
		tr := traceFrom(t, nodes[1], dsm.TraceQuery{Region: "r", Page: 0, Node: 2})
		tr.next(t)
		for range 2 {
			for page := range int64(limit) {
				if err := loadAt(regions[1], page*4096); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
		checkLines(t, "page 0", tr.lines(tr.next(t)), `
			n2 fault r1:0 read at 0+8 other n1 in loadAt
			n2 receive r1:0 read other n1 txn 1
			n2 served r1:0 read at 0+8 other n1 txn 1 in loadAt
			n2 evict r1:0 held read other n1 txn 3
			n2 grant r1:0 write other n1 txn 3
			n2 fault r1:0 read at 0+8 other n1 in loadAt
			n2 receive r1:0 read other n1 bytes 4096 txn 4
			n2 served r1:0 read at 0+8 other n1 bytes 4096 txn 4 in loadAt
			n2 evict r1:0 held read other n1 txn 5`)
	})
}

func TestTraceSelects(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		for _, name := range []string{"a", "b"} {
			regions := openRegions(t, nodes, name, dsm.RegionOptions{Size: 4 * 4096, Placement: homed(nodes[0])})
			for page := range int64(4) {
				if err := loadAt(regions[1], page*4096); err != nil {
					t.Fatal(err)
				}
			}
		}
		fault := []trace.Kind{trace.Fault}
		for _, test := range []struct {
			q    dsm.TraceQuery
			want string
		}{
			{dsm.TraceQuery{Page: -1, Kinds: fault, Held: true}, "a0 a1 a2 a3 b0 b1 b2 b3"},
			{dsm.TraceQuery{Page: -1, Kinds: fault}, ""},
			{dsm.TraceQuery{Page: -1, Kinds: fault, Held: true, Region: "b"}, "b0 b1 b2 b3"},
			{dsm.TraceQuery{Page: 2, Kinds: fault, Held: true, Region: "b"}, "b2"},
			{dsm.TraceQuery{Page: 2, Kinds: fault, Held: true, Region: "b", Node: 1}, ""},
			{dsm.TraceQuery{Page: -1, Kinds: []trace.Kind{trace.Grant, trace.Fault}, Held: true, Region: "a", Node: 1}, "a0 a1 a2 a3"},
			{dsm.TraceQuery{Page: -1, Held: true, Region: "c"}, ""},
		} {
			for _, s := range nodes {
				tr := traceFrom(t, s, test.q)
				var names []string
				for _, e := range tr.next(t) {
					names = append(names, strings.NewReplacer("[", "", "]", "").Replace(tr.Of(&e)))
				}
				slices.Sort(names)
				if got := strings.Join(names, " "); got != test.want {
					t.Errorf("%+v: %s, want %s", test.q, got, test.want)
				}
			}
		}
	})
}

// TestTraceSaysWhatIsLost has a node keep few events and record many.
func TestTraceSaysWhatIsLost(t *testing.T) {
	const faults = 1000
	inMemory(t, 2, dsm.Config{Events: 64}, func(t *testing.T, nodes []*dsm.Space) {
		regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: faults * 4096, Placement: homed(nodes[0])})
		tr := traceFrom(t, nodes[0], dsm.TraceQuery{Page: -1})
		tr.next(t)
		for page := range int64(faults) {
			if err := loadAt(regions[1], page*4096); err != nil {
				t.Fatal(err)
			}
		}
		ch, err := tr.Tracer.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		kept, lost := map[pagetable.NodeID]int{}, map[pagetable.NodeID]int{}
		for _, e := range ch.Events {
			kept[e.Node]++
		}
		for _, l := range ch.Lost {
			lost[l.Node] += int(l.Events)
		}
		if kept[1] != 64 || kept[1]+lost[1] != faults || kept[2] != 64 || kept[2]+lost[2] != 3*faults {
			t.Errorf("kept %v, lost %v; node 1 grants %d times, node 2 records a fault, its page and its end", kept, lost, faults)
		}
	})
}

// TestTraceFromOutside collects the events of three nodes with an Inspector, while they come and go.
func TestTraceFromOutside(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096, Placement: homed(nodes[0])})
	in, err := dsm.Dial(patient(t), nodes[0].Addr(), dsm.InspectConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	tr := traceFrom(t, nodes[0], dsm.TraceQuery{})
	tr.Tracer = in.Trace(dsm.TraceQuery{Page: -1, Kinds: []trace.Kind{trace.Served}})
	tr.next(t)
	count := func(want map[pagetable.NodeID]int) {
		t.Helper()
		got := map[pagetable.NodeID]int{}
		for _, e := range tr.next(t) {
			got[e.Node]++
			if site, ok := tr.Site(e.Node, e.Site); !ok || !strings.HasSuffix(site.Function, "storeAt") {
				t.Errorf("%v at %+v", e, site)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("accesses served: %v, want %v", got, want)
		}
	}
	write := func(who ...int) {
		t.Helper()
		for _, i := range who {
			if err := storeAt(regions[i], 8); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1, 2, 1, 0)
	count(map[pagetable.NodeID]int{1: 1, 2: 2, 3: 1})
	write(2, 1)
	count(map[pagetable.NodeID]int{2: 1, 3: 1})
	if err := nodes[2].Leave(patient(t)); err != nil {
		t.Fatal(err)
	}
	write(0)
	ch, err := tr.Tracer.Next(patient(t))
	if err != nil || len(ch.Events) != 1 || len(ch.Lost) != 1 || ch.Lost[0] != (trace.Loss{Node: 3}) {
		t.Errorf("after a node has left: %v, lost %v, %v", ch.Events, ch.Lost, err)
	}
	late := openNode(t, dsm.Config{Seeds: []string{nodes[0].Addr()}, Rank: 3})
	defer late.Close()
	r, err := late.Region(patient(t), "r", dsm.RegionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := storeAt(r, 16); err != nil {
		t.Fatal(err)
	}
	count(map[pagetable.NodeID]int{late.Self(): 1})
}

// TestEventsOfPrograms: what plain instructions of attached programs make happen is told with the lines at which
// they were seen, at the node that waits and at the one that loses the page.
func TestEventsOfPrograms(t *testing.T) {
	spaces, sockets := serving(t, 2)
	runPrograms(t, "sites", sockets, 200)
	source, err := os.ReadFile("attach_test.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(source), "\n")
	tr := traceFrom(t, spaces[1], dsm.TraceQuery{Region: "sites", Page: -1, Held: true})
	ch, err := tr.Tracer.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr.Names.Add(&ch)
	said := map[trace.Kind]int{}
	check := func(e *trace.Event, n pagetable.NodeID, site uint32) {
		s, ok := tr.Site(n, site)
		if raceEnabled && !strings.Contains(s.Function, "pagemesh") {
			return // the race detector makes atomic accesses in C, on a stack of its own
		}
		_, number, _ := strings.Cut(s.Line, "attach_test.go:")
		line, err := strconv.Atoi(number)
		if want := [...]string{"// stored here", "// copied here", "// added here", "// copied here"}[e.Page.Index()%4]; !ok || err != nil || !strings.Contains(lines[line-1], want) {
			t.Errorf("%v is said to be because of %+v", e, s)
		}
	}
	for i := range ch.Events {
		e := &ch.Events[i]
		if e.Site != 0 {
			check(e, e.Node, e.Site)
			said[e.Kind]++
		}
		if e.Cause.Site != 0 {
			check(e, e.Cause.Node, e.Cause.Site)
			said[e.Kind]++
		}
	}
	for _, k := range []trace.Kind{trace.Fault, trace.Served, trace.Invalidate} {
		if said[k] == 0 {
			t.Errorf("no %v has a line: %v", k, said)
		}
	}
}
