package locks

import (
	"cmp"

	"pagemesh/pagetable"
)

// servedHome is the locks that a home serves.
type servedHome struct {
	counters map[ID]*counterHome
}

func newServedHome() servedHome { return servedHome{counters: make(map[ID]*counterHome)} }

// counter returns the entry of the counter that msg names and makes it at the first use.
func (h *servedHome) counter(msg Message) *counterHome {
	c := h.counters[msg.ID]
	if c == nil {
		c = &counterHome{lock: Served{msg.Class, msg.Name}, id: msg.ID}
		h.counters[msg.ID] = c
	}
	checkCollision(msg.ID, msg.Name, c.lock.Name)
	return c
}

// request takes a message of a node in the ordinary course of things.
func (h *servedHome) request(from pagetable.NodeID, msg Message, r *Ready) {
	switch msg.Kind {
	case Add:
		h.counter(msg).add(from, msg, r)
	case Watch:
		h.counter(msg).watch(from, msg, r)
	case Unwatch:
		c := h.counters[msg.ID]
		if c == nil {
			impossible(from, msg, nil)
		}
		c.unwatch(from, msg)
	default:
		impossible(from, msg, nil)
	}
}

// newEpoch hands what moves to its new home, and forgets what nodes will ask for again.
func (h *servedHome) newEpoch(self pagetable.NodeID, v *View, r *Ready) {
	for _, id := range sortedKeys(h.counters, cmp.Compare) {
		c := h.counters[id]
		c.newEpoch(v)
		if to := v.Home(id); to != self {
			c.handOver(to, r)
			delete(h.counters, id)
		}
	}
}

// rebuilt takes up the reports. A counter that a node has used, and of which nothing has come here, is broken
// if that may be because of a loss.
func (h *servedHome) rebuilt(rb *rebuild) {
	for _, in := range rb.reports {
		if in.msg.Kind == ReportCounter && h.counters[in.msg.ID] == nil && rb.memoryLost(in.msg.ID) {
			h.counter(in.msg).broken = true
		}
	}
}
