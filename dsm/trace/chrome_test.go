package trace

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// drawn is what a trace viewer reads.
type drawn struct {
	Entries []struct {
		Name  string         `json:"name"`
		Phase string         `json:"ph"`
		Time  float64        `json:"ts"`
		Dur   float64        `json:"dur"`
		Node  int            `json:"pid"`
		Row   int            `json:"tid"`
		ID    int            `json:"id"`
		Args  map[string]any `json:"args"`
	} `json:"traceEvents"`
}

func draw(t *testing.T, ch *Chunk) (d drawn) {
	t.Helper()
	var m Merger
	var names Names
	names.Add(ch)
	var b bytes.Buffer
	if err := WriteChrome(&b, &names, append(m.Add(ch), m.Rest()...)); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatalf("%v in\n%s", err, b.Bytes())
	}
	return d
}

// TestChromeOfOneMove: waits are slices that are called by what waits, and one arrow leads from owner to
// requester.
func TestChromeOfOneMove(t *testing.T) {
	events := moves(pagetable.MakePageID(1, 7), 5_000, 1)
	events[5].Site, events[5].Cause = 2, Cause{2, 1, pagetable.WriteAccess}
	events = append(events,
		Event{Kind: Lock, Node: 3, Page: 99, Time: 9_000, Wait: 2_000},
		Event{Kind: Fault, Node: 3, Page: pagetable.MakePageID(1, 8), Time: 9_500, Access: pagetable.ReadAccess},
		Event{Kind: Failed, Node: 1, Page: pagetable.MakePageID(1, 8), Time: 9_900, Wait: 100, Access: pagetable.ReadAccess})
	d := draw(t, &Chunk{
		Regions: []Region{{ID: 1, Name: "grid"}}, Locks: []Name{{99, `mutex "m"`}},
		Sites: []Site{{3, 2, "a.go:1", "main.a"}, {2, 1, "b.go:2", "main.b"}}, Events: events,
	})
	var slicesOf3, arrows []string
	for _, e := range d.Entries {
		switch {
		case e.Phase == "s" || e.Phase == "f":
			arrows = append(arrows, e.Phase)
		case e.Phase == "X" && e.Node == 3:
			slicesOf3 = append(slicesOf3, e.Name)
		}
		if e.Name == "write grid[7]" && (e.Args["line"] != "a.go:1" || e.Args["cause"] != "n2: write at b.go:2" || e.Dur != 0.005) {
			t.Errorf("%+v", e)
		}
	}
	want := `write grid[7]; receive grid[7]; mutex "m"; read grid[8], still waiting`
	if got := strings.Join(slicesOf3, "; "); got != want {
		t.Errorf("slices of n3: %s, want %s", got, want)
	}
	if slices.Sort(arrows); strings.Join(arrows, "") != "fs" {
		t.Errorf("arrows %v, want one", arrows)
	}
}

func TestChromeOfNothing(t *testing.T) {
	if d := draw(t, &Chunk{}); len(d.Entries) != 0 {
		t.Errorf("%+v", d)
	}
}

// TestChromeNests draws random events: slices of one row lie in each other or apart, every arrow begins and ends in a
// slice, and not before it began.
func TestChromeNests(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		ch := Chunk{}
		for i := range 100 {
			at := rng.Int64N(100_000)
			ch.Events = append(ch.Events, moves(pagetable.PageID(rng.IntN(3)), at, uint64(i+1))...)
			ch.Events = append(ch.Events, Event{
				Kind: Barrier, Node: pagetable.NodeID(1 + rng.IntN(3)), Time: at, Wait: rng.Int64N(5_000), Page: 1,
			})
		}
		d := draw(t, &ch)
		checkNesting(t, d)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkNesting(t *testing.T, d drawn) {
	t.Helper()
	type row struct{ node, row int }
	type span struct{ start, end float64 }
	const ulp = 1e-6
	rows := map[row][]span{}
	starts := map[int]float64{}
	arrows := 0
	for _, e := range d.Entries {
		if e.Phase == "X" {
			rows[row{e.Node, e.Row}] = append(rows[row{e.Node, e.Row}], span{e.Time, e.Time + e.Dur})
		}
		if e.Phase == "s" {
			starts[e.ID] = e.Time
		}
	}
	for r, list := range rows {
		slices.SortStableFunc(list, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
		var open []span
		for _, s := range list {
			for len(open) > 0 && open[len(open)-1].end <= s.start+ulp {
				open = open[:len(open)-1]
			}
			if len(open) > 0 && s.end > open[len(open)-1].end+ulp {
				t.Errorf("on row %v slice %v crosses the end of %v", r, s, open[len(open)-1])
			}
			open = append(open, s)
		}
	}
	for _, e := range d.Entries {
		if e.Phase != "s" && e.Phase != "f" {
			continue
		}
		inside := slices.ContainsFunc(rows[row{e.Node, e.Row}], func(s span) bool { return s.start <= e.Time && e.Time <= s.end })
		start, begun := starts[e.ID]
		if !inside || !begun || e.Time < start {
			t.Errorf("an arrow's %s at %v on row %d of n%d: in a slice %v, begun %v at %v", e.Phase, e.Time, e.Row, e.Node, inside, begun, start)
		}
		arrows++
	}
	if arrows == 0 {
		t.Error("no arrows")
	}
}
