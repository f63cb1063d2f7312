package report_test

import (
	"bytes"
	"strings"
	"testing"

	"pagemesh/dsm"
	"pagemesh/dsm/report"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// turns are two nodes that write their words in turn, each after a wait of ten, with a barrier after each pair.
func turns(pairs int) (events []trace.Event) {
	id := pagetable.MakePageID(0, 0)
	for i := range int64(pairs) {
		for n, word := range map[pagetable.NodeID]uint32{n1: 0, n2: 32} {
			events = append(events,
				trace.Event{Kind: trace.Served, Time: 100 * i, Node: n, Page: id, Access: pagetable.WriteAccess, Offset: word, Length: 8, Wait: 10},
				trace.Event{Kind: trace.Invalidate, Time: 100*i + 1, Node: n, Page: id, Words: 1})
		}
		events = append(events, trace.Event{Kind: trace.Barrier, Time: 100*i + 50, Node: n1})
	}
	return events
}

func TestGains(t *testing.T) {
	p := of[worker](page("r", 0, second, writes(n1, 0), writes(n2, 4)), false)
	r := report.New(status(second/2), []dsm.PageStats{p}, turns(100))
	gains := map[string]*report.Gain{}
	for _, c := range r.Findings[0].Cures {
		gains[c.Kind] = c.Gain
	}
	// The two nodes have lost a second together, at the same time: half a second of one. All waits but the first go.
	if g := gains["pad"]; g == nil || g.Share < 0.49 || g.Share > 0.5 || g.Waits != 200 {
		t.Errorf("padding gains %+v, want 99 %% of a half, from 200 waits", g)
	}
	if g, ok := gains["release"]; !ok || g != nil {
		t.Errorf("release consistency gains %+v, want that it can't be told", g)
	}
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil || !strings.Contains(b.String(), "_ [4064]byte (saves about 50 % of the time)") {
		t.Errorf("%v in\n%s", err, &b)
	}
}

// TestGainBeyondWhatWasLost: a cure may save more than the nodes have waited for pages, and the report says why.
func TestGainBeyondWhatWasLost(t *testing.T) {
	for _, c := range []struct {
		lost float64
		want string
	}{
		{0.3, "Cure: pad (saves about 40 % of the time, since while one waits others wait for it at a barrier)"},
		{0.5, "Cure: pad (saves about 40 % of the time)"},
	} {
		r := report.Report{Findings: []report.Finding{{Pages: []uint64{0}, LostShare: c.lost, Cures: []report.Cure{{Text: "pad", Gain: &report.Gain{Share: 0.4}}}}}}
		var text bytes.Buffer
		if _, err := r.WriteTo(&text); err != nil || !strings.Contains(text.String(), c.want+"\n") {
			t.Errorf("%q (%v) says not %q", &text, err, c.want)
		}
	}
}

// TestNoGainFromLittle: a few waits predict nothing.
func TestNoGainFromLittle(t *testing.T) {
	p := of[worker](page("r", 0, second, writes(n1, 0), writes(n2, 4)), false)
	r := report.New(status(second/2), []dsm.PageStats{p}, turns(3))
	for _, c := range r.Findings[0].Cures {
		if c.Gain != nil {
			t.Errorf("%s gains %+v", c.Kind, c.Gain)
		}
	}
}
