package trace

import (
	"cmp"
	"slices"

	"pagemesh/pagetable"
)

// Merger puts the events of several nodes into one order, on the clock of the node through which they were
// collected, and joins causes with effects. What is received comes behind what was sent, whatever the clocks say:
// where they err, a node's later events are moved to later times (Lamport, CACM 21(7), 1978). The zero Merger is
// empty.
type Merger struct {
	lanes  map[pagetable.NodeID]*lane
	sends  map[move]int   // that wait in lanes
	sent   map[move]int64 // that were merged, and when
	causes causes
}

// lane is the events of one node that are not merged yet.
type lane struct {
	ahead  int64 // of its clock
	floor  int64 // time of its last event that was merged
	events []queued
}

// queued is an event. If it is a fault that is answered already, answer is the Txn of that Receive.
type queued struct {
	Event
	answer   uint64
	answered bool
}

// head returns the time of the first event.
func (l *lane) head() int64 { return max(l.events[0].Time-l.ahead, l.floor) }

// maxJoined bounds what is remembered to be joined with what comes later.
const maxJoined = 1 << 16

// move is what events have in common of which one can't come before the other.
type move struct {
	page     pagetable.PageID
	txn      uint64
	from, to pagetable.NodeID
	kind     Kind // of the first one
}

// begins returns the move that e begins, if it does.
func (e *queued) begins() (move, bool) {
	switch e.Kind {
	case Fault, Ahead:
		return move{e.Page, e.answer, e.Node, 0, Fault}, e.answered
	case Grant, Update, Handoff:
		return move{e.Page, e.Txn, e.Node, e.Other, Grant}, true
	case Flush:
		return move{e.Page, e.Txn, e.Node, e.Other, Flush}, true
	case Forward:
		return move{e.Page, e.Txn, 0, e.Other, Forward}, true
	case Flushed:
		return move{e.Page, e.Txn, 0, 0, Flushed}, true
	case Invalidate:
		return move{e.Page, e.Txn, 0, e.Cause.Node, Invalidate}, e.Cause.Node != 0
	}
	return move{}, false
}

// ends returns the moves that e ends, or goes on with.
func (e *queued) ends() (mv [3]move) {
	switch e.Kind {
	case Receive:
		mv[0] = move{e.Page, e.Txn, e.Other, e.Node, Grant}
	case Merge:
		mv[0] = move{e.Page, e.Txn, e.Other, e.Node, Flush}
	case Grant:
		mv[0] = move{e.Page, e.Txn, 0, e.Node, Forward}
		mv[1] = move{e.Page, e.Txn, e.Other, 0, Fault}
		mv[2] = move{e.Page, e.Txn, 0, e.Other, Invalidate}
	case Forward:
		mv[0] = move{e.Page, e.Txn, e.Cause.Node, 0, Fault}
	case Invalidate, Downgrade:
		mv[0] = move{e.Page, e.Txn, 0, e.Node, Forward}
		mv[1] = move{e.Page, e.Txn, e.Cause.Node, 0, Fault}
		if e.Cause.Node == 0 {
			mv[2] = move{e.Page, e.Txn, 0, 0, Flushed}
		}
	}
	return mv
}

// Add takes the events of a chunk and returns, in order, those before its Until, of which all that belong
// before them are known. The caller may change them.
func (m *Merger) Add(ch *Chunk) []Event {
	if m.lanes == nil {
		m.lanes, m.sends, m.sent = map[pagetable.NodeID]*lane{}, map[move]int{}, map[move]int64{}
		m.causes.init()
	}
	for _, c := range ch.Clocks {
		m.lane(c.Node).ahead = c.Ahead
	}
	for _, e := range ch.Events {
		l := m.lane(e.Node)
		l.events = append(l.events, queued{Event: e})
	}
	clear(m.sends)
	for _, l := range m.lanes {
		slices.SortStableFunc(l.events, func(a, b queued) int { return cmp.Compare(a.Time, b.Time) })
		l.answer()
		for i := range l.events {
			if mv, ok := l.events[i].begins(); ok {
				m.sends[mv]++
			}
		}
	}
	return m.merge(ch.Until)
}

// answer finds the answers of faults: the next Receive of the page.
func (l *lane) answer() {
	next := map[pagetable.PageID]uint64{}
	for i := range slices.Backward(l.events) {
		switch e := &l.events[i]; e.Kind {
		case Receive:
			next[e.Page] = e.Txn
		case Fault, Ahead:
			e.answer, e.answered = next[e.Page]
		}
	}
}

// Rest returns what Add has kept back.
func (m *Merger) Rest() []Event { return m.merge(1<<63 - 1) }

func (m *Merger) lane(n pagetable.NodeID) *lane {
	l := m.lanes[n]
	if l == nil {
		l = &lane{floor: -1 << 63}
		m.lanes[n] = l
	}
	return l
}

// merge takes the events with times below until off the lanes, the earliest that waits for nothing first.
func (m *Merger) merge(until int64) []Event {
	var list []Event
	nodes := make([]pagetable.NodeID, 0, len(m.lanes))
	for n := range m.lanes {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	for {
		var next, stuck *lane
		for _, n := range nodes {
			l := m.lanes[n]
			if len(l.events) == 0 || l.head() >= until {
				continue
			}
			of := &next
			if m.blocked(&l.events[0]) {
				of = &stuck
			}
			if *of == nil || l.head() < (*of).head() {
				*of = l
			}
		}
		if next == nil && stuck != nil && !m.reachable(until) {
			next = stuck // what it waits for is behind it: the numbers are of other moves
		}
		if next == nil {
			return list
		}
		list = append(list, m.take(next))
	}
}

// blocked reports whether e ends a move whose beginning is not merged yet. Of faults that wait for one answer the
// first has to be, of invalidations for one grant all.
func (m *Merger) blocked(e *queued) bool {
	for _, mv := range e.ends() {
		_, merged := m.sent[mv]
		if m.sends[mv] > 0 && (!merged || mv.kind == Invalidate) {
			return true
		}
	}
	return false
}

// reachable reports whether a lane goes on at or after until, where what others wait for may be.
func (m *Merger) reachable(until int64) bool {
	for _, l := range m.lanes {
		if len(l.events) > 0 && l.head() >= until {
			return true
		}
	}
	return false
}

func (m *Merger) take(l *lane) Event {
	e := l.events[0]
	l.events = l.events[1:]
	e.Time = max(e.Time-l.ahead, l.floor)
	for _, mv := range e.ends() {
		if at, ok := m.sent[mv]; ok {
			e.Time = max(e.Time, at)
		}
	}
	l.floor = e.Time
	if mv, ok := e.begins(); ok {
		if m.sends[mv]--; m.sends[mv] == 0 {
			delete(m.sends, mv)
		}
		if len(m.sent) >= maxJoined {
			clear(m.sent)
		}
		m.sent[mv] = e.Time
	}
	m.causes.join(&e.Event)
	return e.Event
}

// causes tells who made the changes of pages of release regions.
type causes struct {
	changes map[change]Cause
	lost    map[holding]loss
}

type change struct {
	page   pagetable.PageID
	number uint64
}

type holding struct {
	node pagetable.NodeID
	page pagetable.PageID
}

// loss is why a node has lost a right on a page.
type loss struct {
	cause Cause
	right pagetable.Access
}

func (c *causes) init() { c.changes, c.lost = map[change]Cause{}, map[holding]loss{} }

// join fills in the cause of e if earlier events tell it.
func (c *causes) join(e *Event) {
	if len(c.changes)+len(c.lost) >= maxJoined {
		c.init()
	}
	h := holding{e.Node, e.Page}
	switch e.Kind {
	case Flushed:
		c.changes[change{e.Page, e.Txn}] = Cause{e.Node, e.Site, pagetable.WriteAccess}
	case Invalidate:
		if e.Cause.Node == 0 {
			e.Cause = c.changes[change{e.Page, e.Txn}]
			c.lost[h] = loss{e.Cause, e.Held}
		}
	case Evict, Downgrade:
		delete(c.lost, h)
	case Fault, Ahead, Served, Failed:
		if l := c.lost[h]; e.Cause.Node == 0 && e.Held < l.right {
			e.Cause = l.cause
		}
	}
}
