package dsm

import (
	"sync/atomic"

	"pagemesh/dsm/trace"
)

const (
	// eventShards is the number of rings of a node. What happens to one page is in one of them, in its order.
	eventShards    = 1 << eventShardBits
	eventShardBits = 2
	// defaultEvents is how many events a node keeps.
	defaultEvents = 1 << 15
	maxKeptEvents = 1 << 24
)

// eventRings keep the latest events of a node. Whoever records one waits for nobody: it takes the next place of
// a ring, and if that place is in use just then, by a reader or by a writer that was overtaken by a whole round, the
// event is lost. Every loss is seen by who reads.
type eventRings struct {
	shards [eventShards]eventShard
	mask   uint64
}

type eventShard struct {
	next  atomic.Uint64 // events that were given a place
	_     [56]byte      // the shards' counters are on cache lines of their own
	slots []eventSlot
}

// eventSlot is a place for every event of a ring whose number, counted from 1, leaves the same remainder.
type eventSlot struct {
	// state is twice the number of the event that is here; plus one while somebody writes or reads it.
	state atomic.Uint64
	// skipped is the number of the last event that should be here and was lost.
	skipped atomic.Uint64
	event   trace.Event
}

func (g *eventRings) init(events int) {
	per := uint64(1)
	for per*eventShards < uint64(events) {
		per *= 2
	}
	g.mask = per - 1
	for i := range g.shards {
		g.shards[i].slots = make([]eventSlot, per)
	}
}

// put records an event.
func (g *eventRings) put(e *trace.Event) {
	s := &g.shards[uint64(e.Page)*0x9e3779b97f4a7c15>>(64-eventShardBits)]
	number := s.next.Add(1)
	slot := &s.slots[number&g.mask]
	was := slot.state.Load()
	if was&1 != 0 || was > 2*number || !slot.state.CompareAndSwap(was, 2*number|1) {
		slot.skipped.Store(number)
		return
	}
	slot.event = *e
	slot.state.Store(2 * number)
}

// cursor says how far somebody has read: the number of the last event in each ring.
type cursor [eventShards]uint64

// end returns the cursor of who has read everything.
func (g *eventRings) end() (at cursor) {
	for i := range g.shards {
		at[i] = g.shards[i].next.Load()
	}
	return at
}

// read appends the events after at that keep accepts, at most most of them, moves at, and returns how many were
// lost.
func (g *eventRings) read(at *cursor, to []trace.Event, most int, keep func(*trace.Event) bool) (_ []trace.Event, lost uint64) {
	for i := range g.shards {
		s := &g.shards[i]
		end := s.next.Load()
		if oldest := end - min(end, g.mask+1); at[i] < oldest {
			lost += oldest - at[i]
			at[i] = oldest
		}
		for at[i] < end && len(to) < most {
			e, there := s.get(at[i]+1, g.mask)
			if there == comingSoon {
				break
			}
			at[i]++
			switch {
			case there == gone:
				lost++
			case keep(&e):
				to = append(to, e)
			}
		}
	}
	return to, lost
}

// presence says what became of an event.
type presence uint8

const (
	present    presence = iota
	comingSoon          // it is being written
	gone
)

// get returns a copy of the event with a number.
func (s *eventShard) get(number, mask uint64) (e trace.Event, there presence) {
	slot := &s.slots[number&mask]
	was := slot.state.Load()
	switch {
	case was > 2*number+1 || slot.skipped.Load() == number:
		return e, gone
	case was != 2*number || !slot.state.CompareAndSwap(was, was|1):
		return e, comingSoon
	}
	e = slot.event
	slot.state.Store(was)
	return e, present
}
