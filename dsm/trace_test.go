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
