package replay_test

import (
	"testing"

	"pagemesh/dsm/replay"
	"pagemesh/dsm/sharing"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

const (
	read  = pagetable.ReadAccess
	write = pagetable.WriteAccess
)

// wait is an access of node n to a byte that waited for 10.
func wait(n pagetable.NodeID, a pagetable.Access, off uint32) trace.Event {
	return trace.Event{Kind: trace.Served, Node: n, Access: a, Offset: off, Length: 8, Wait: 10}
}

func upgrade(n pagetable.NodeID, off uint32) trace.Event {
	e := wait(n, write, off)
	e.Held = read
	return e
}

// lost is that node n loses a page of which it has written these 64ths.
func lost(n pagetable.NodeID, words ...int) trace.Event {
	e := trace.Event{Kind: trace.Invalidate, Node: n}
	for _, w := range words {
		e.Words |= 1 << w
	}
	return e
}

func repeat(times int, events ...trace.Event) (all []trace.Event) {
	for range times {
		all = append(all, events...)
	}
	return all
}

func span(start, end int) []sharing.Span { return []sharing.Span{{Start: start, End: end}} }

func TestSplit(t *testing.T) {
	p := replay.Page{Size: 4096, Written: map[pagetable.NodeID][]sharing.Span{1: span(0, 8), 2: span(64, 72)}}
	both := replay.Page{Size: 4096, Written: map[pagetable.NodeID][]sharing.Span{1: span(0, 8), 2: span(0, 8)}}
	for _, test := range []struct {
		name   string
		page   *replay.Page
		cut    replay.Cut
		events []trace.Event
		want   replay.Wait
	}{
		{"two writers of different words wait once each", &p, replay.ByWriter(&p),
			repeat(5, wait(1, write, 0), lost(1, 0), wait(2, write, 64), lost(2, 1)),
			replay.Wait{100, 20}},
		{"a page of each node's own does so too", &p, replay.ByNode,
			repeat(5, wait(1, write, 0), lost(1, 0), wait(2, write, 64), lost(2, 1)),
			replay.Wait{100, 20}},
		{"smaller pages that tell them apart", &p, replay.BySize(64),
			repeat(5, wait(1, write, 0), lost(1, 0), wait(2, write, 64), lost(2, 1)),
			replay.Wait{100, 20}},
		{"pages that don't save nothing", &p, replay.BySize(2048),
			repeat(5, wait(1, write, 0), lost(1, 0), wait(2, write, 64), lost(2, 1)),
			replay.Wait{100, 100}},
		{"two writers of one word are not helped", &both, replay.ByWriter(&both),
			repeat(5, wait(1, write, 0), lost(1, 0), wait(2, write, 0), lost(2, 0)),
			replay.Wait{100, 100}},
		{"a reader of what nobody writes", &p, replay.ByWriter(&p),
			repeat(5, wait(1, write, 0), lost(1, 0), wait(3, read, 512), lost(3)),
			replay.Wait{100, 20}},
		{"a reader of what another writes waits each time, and so does the writer", &p, replay.ByWriter(&p),
			repeat(5, wait(3, read, 0), lost(3), upgrade(1, 0), lost(1, 0)),
			replay.Wait{100, 100}},
		{"what was written without waiting takes the word from its reader", &p, replay.ByWriter(&p),
			// Node 1 waits for a word that it reads and then writes its own, which node 3 reads.
			repeat(5, wait(1, write, 512), lost(1, 0), wait(3, read, 0), lost(3)),
			replay.Wait{100, 110}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w replay.Waits
			w.Split(test.page, test.events, test.cut)
			if got := w.Sum(); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestUpgrades(t *testing.T) {
	var w replay.Waits
	w.Upgrades([]trace.Event{
		wait(1, read, 0), upgrade(1, 0), // one of two
		lost(1), wait(1, write, 0), // at once already
		wait(2, read, 0), lost(2), wait(2, write, 0), // lost in between
		upgrade(3, 0), // of a copy from long ago
	})
	if got, want := w.Sum(), (replay.Wait{60, 50}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// at returns e at a time.
func at(time int64, e trace.Event) trace.Event {
	e.Time = time
	return e
}

// TestStepsEndAtBarriers: between barriers the node that waits longest counts.
func TestStepsEndAtBarriers(t *testing.T) {
	w := replay.Waits{Barriers: []int64{100}}
	w.All([]trace.Event{
		at(10, wait(1, write, 0)), at(20, wait(1, write, 0)), at(30, wait(2, write, 0)), // node 1 is late
		at(110, wait(2, write, 0)), at(120, wait(2, write, 0)), // node 2 is
	})
	if got, want := w.Longest(), (replay.Wait{Before: 40}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
