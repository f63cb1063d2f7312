package trace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// moves returns what nodes record of a page that is fetched from an owner, one time unit apart: n3 writes what n2
// owns and n1 is the home of.
func moves(page pagetable.PageID, start int64, txn uint64) []Event {
	w, cause := pagetable.WriteAccess, Cause{3, 1, pagetable.WriteAccess}
	list := []Event{
		{Kind: Fault, Node: 3, Other: 1, Access: w},
		{Kind: Forward, Node: 1, Other: 2, Access: w, Txn: txn, Cause: cause},
		{Kind: Invalidate, Node: 2, Other: 1, Held: w, Txn: txn, Cause: cause},
		{Kind: Grant, Node: 2, Other: 3, Access: w, Txn: txn, Bytes: 4096},
		{Kind: Receive, Node: 3, Other: 2, Access: w, Txn: txn, Bytes: 4096},
		{Kind: Served, Node: 3, Other: 2, Access: w, Txn: txn, Bytes: 4096, Wait: 5},
	}
	for i := range list {
		list[i].Page, list[i].Time = page, start+int64(i)
	}
	return list
}

// skewed returns events with the times that clocks show which are ahead by some units.
func skewed(events []Event, ahead map[pagetable.NodeID]int64) []Event {
	list := slices.Clone(events)
	for i := range list {
		list[i].Time += ahead[list[i].Node]
	}
	return list
}

// ring returns events as nodes keep them: by node, those of a page in their order.
func ring(events []Event) []Event {
	list := slices.Clone(events)
	slices.SortStableFunc(list, func(a, b Event) int { return int(a.Node) - int(b.Node) })
	return list
}

func kinds(events []Event) string {
	var l []string
	for _, e := range events {
		l = append(l, fmt.Sprintf("%v %v", e.Node, e.Kind))
	}
	return strings.Join(l, ", ")
}

// TestMergeUnderSkew: whatever the clocks show, the events of a move are in the order in which they happened, and
// their times never go back.
func TestMergeUnderSkew(t *testing.T) {
	want := kinds(moves(1, 0, 1))
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		ahead := map[pagetable.NodeID]int64{1: rng.Int64N(200) - 100, 2: rng.Int64N(200) - 100, 3: rng.Int64N(200) - 100}
		var m Merger
		ch := Chunk{Until: 1 << 40, Events: ring(skewed(moves(1, 1000, 1), ahead))}
		got := m.Add(&ch)
		if kinds(got) != want || len(m.Rest()) > 0 {
			t.Fatalf("clocks ahead by %v:\n%s, want\n%s", ahead, kinds(got), want)
		}
		if !slices.IsSortedFunc(got, func(a, b Event) int { return int(a.Time - b.Time) }) {
			t.Fatalf("clocks ahead by %v: times go back: %+v", ahead, got)
		}
	}
}

// TestMergeByClocks: clocks that are known to be ahead are put back.
func TestMergeByClocks(t *testing.T) {
	ahead := map[pagetable.NodeID]int64{2: 500, 3: -70}
	ch := Chunk{
		Until: 1 << 40, Clocks: []Clock{{2, 1, 1 << 30}, {2, 500, 3}, {3, -70, 3}},
		Events: ring(skewed(moves(1, 1000, 1), ahead)),
	}
	var m Merger
	for i, e := range m.Add(&ch) {
		if e.Time != 1000+int64(i) {
			t.Errorf("%v at %d, want %d", e, e.Time, 1000+i)
		}
	}
}

// TestMergeByAndBy gives a Merger chunks that end anywhere: what it returns is the whole in its order.
func TestMergeByAndBy(t *testing.T) {
	var all []Event
	for i := range 20 {
		all = append(all, moves(pagetable.PageID(i%3), int64(i*6), uint64(i+1))...)
	}
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var m Merger
		var got []Event
		for rest := all; len(rest) > 0; {
			n := 1 + rng.IntN(min(len(rest), 15))
			until := rest[n-1].Time + 1
			if rng.IntN(2) == 0 {
				until -= int64(rng.IntN(10)) // more is known than all until then
			}
			got = append(got, m.Add(&Chunk{Until: until, Events: ring(rest[:n])})...)
			rest = rest[n:]
		}
		got = append(got, m.Rest()...)
		if kinds(got) != kinds(all) {
			t.Fatalf("seed %d:\n%s, want\n%s", seed, kinds(got), kinds(all))
		}
	}
}

// TestMergeOfPart: where some events were lost, and where the numbers of moves begin anew, all others come.
func TestMergeOfPart(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var all []Event
		for i := range 10 {
			all = append(all, moves(1, int64(i*6), uint64(i%3+1))...)
		}
		all = slices.DeleteFunc(all, func(Event) bool { return rng.IntN(3) == 0 })
		var m Merger
		ahead := map[pagetable.NodeID]int64{1: rng.Int64N(20), 2: rng.Int64N(20), 3: rng.Int64N(20)}
		got := m.Add(&Chunk{Until: 20 + rng.Int64N(60), Events: ring(skewed(all, ahead))})
		if got = append(got, m.Rest()...); len(got) != len(all) {
			t.Fatalf("seed %d: %d events of %d", seed, len(got), len(all))
		}
	}
}

// TestCausesOfReleaseRegions: a notice names a change, and its writer has said which one is its own.
func TestCausesOfReleaseRegions(t *testing.T) {
	r, w := pagetable.ReadAccess, pagetable.WriteAccess
	ch := Chunk{Until: 100, Events: []Event{
		{Kind: Flushed, Time: 1, Node: 2, Page: 1, Other: 1, Txn: 7, Site: 4},
		{Kind: Flushed, Time: 2, Node: 2, Page: 2, Other: 1, Txn: 8, Site: 5},
		{Kind: Invalidate, Time: 3, Node: 3, Page: 1, Held: r, Txn: 7},
		{Kind: Invalidate, Time: 3, Node: 3, Page: 2, Held: r, Txn: 9}, // of a change whose writer is not known
		{Kind: Fault, Time: 4, Node: 3, Page: 1, Access: r, Other: 1},
		{Kind: Served, Time: 5, Node: 3, Page: 1, Access: r, Other: 1},
		{Kind: Fault, Time: 6, Node: 3, Page: 1, Access: w, Held: r, Other: 1}, // it would have had to ask for that anyway
		{Kind: Fault, Time: 7, Node: 3, Page: 2, Access: r, Other: 1},
		{Kind: Fault, Time: 8, Node: 4, Page: 1, Access: r, Other: 1},
	}}
	var m Merger
	want := Cause{2, 4, w}
	for _, e := range m.Add(&ch) {
		expected := Cause{}
		if e.Node == 3 && e.Page == 1 && e.Time < 6 {
			expected = want
		}
		if e.Cause != expected {
			t.Errorf("%v at %d: cause %v, want %v", e.Kind, e.Time, e.Cause, expected)
		}
	}
}
