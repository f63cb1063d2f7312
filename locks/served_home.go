package locks

import (
	"cmp"
	"math"

	"pagemesh/pagetable"
)

// servedHome is the locks that a home serves.
type servedHome struct {
	counters  map[ID]*counterHome
	elections map[ID]*electionHome
	conds     map[ID]*condHome
	// handed are the counters that were handed over when the epoch began. If it ends with their new home, nobody
	// else may know that there is something to know.
	handed map[ID]Served
}

func newServedHome() servedHome {
	return servedHome{
		counters: make(map[ID]*counterHome), elections: make(map[ID]*electionHome), conds: make(map[ID]*condHome),
	}
}

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

// election returns the entry of the election that msg names and makes it at the first use.
func (h *servedHome) election(msg Message) *electionHome {
	e := h.elections[msg.ID]
	if e == nil {
		e = &electionHome{lock: Served{msg.Class, msg.Name}, id: msg.ID}
		h.elections[msg.ID] = e
	}
	checkCollision(msg.ID, msg.Name, e.lock.Name)
	return e
}

// cond returns the entry of the condition that msg names and makes it at the first use.
func (h *servedHome) cond(msg Message) *condHome {
	c := h.conds[msg.ID]
	if c == nil {
		c = &condHome{lock: Served{msg.Class, msg.Name}, id: msg.ID}
		h.conds[msg.ID] = c
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
	case Campaign:
		h.election(msg).campaign(from, msg, r)
	case Observe:
		h.election(msg).observe(from, msg, r)
	case Resign:
		e := h.elections[msg.ID]
		if e == nil {
			impossible(from, msg, nil)
		}
		e.resign(from, msg, r)
	case Enlist:
		h.cond(msg).enlist(from, msg, r)
	case Signal:
		h.cond(msg).notify(1, r)
	case Broadcast:
		h.cond(msg).notify(math.MaxInt, r)
	case Forgo:
		h.forgo(from, msg)
	default:
		impossible(from, msg, nil)
	}
}

func (h *servedHome) forgo(from pagetable.NodeID, msg Message) {
	c, e, k := h.counters[msg.ID], h.elections[msg.ID], h.conds[msg.ID]
	switch {
	case c != nil:
		c.unwatch(from, msg)
	case e != nil:
		e.forgo(from, msg)
	case k != nil:
		k.forgo(from, msg)
	default:
		impossible(from, msg, nil)
	}
}

// newEpoch hands what moves to its new home, and forgets what nodes will ask for again.
func (h *servedHome) newEpoch(self pagetable.NodeID, v *View, r *Ready) {
	for _, id := range sortedKeys(h.handed, cmp.Compare) {
		r.send(v.Home(id), Message{Kind: ReportCounter, ID: id, Name: h.handed[id].Name, Class: h.handed[id].Class})
	}
	h.handed = map[ID]Served{}
	for _, id := range sortedKeys(h.counters, cmp.Compare) {
		c := h.counters[id]
		c.newEpoch(v)
		if to := v.Home(id); to != self {
			c.handOver(to, r)
			h.handed[id] = c.lock
			delete(h.counters, id)
		}
	}
	for _, id := range sortedKeys(h.elections, cmp.Compare) {
		e := h.elections[id]
		e.newEpoch()
		if to := v.Home(id); to != self {
			e.handOver(to, r)
			delete(h.elections, id)
		}
	}
	clear(h.conds) // who listened is woken
}

// adopt takes up what a lock's home before has handed over.
func (h *servedHome) adopt(msg Message) {
	if msg.Kind == HandElection {
		h.election(msg).over = true
	} else {
		h.counter(msg).adopt(msg)
	}
}

// interrupted takes up that an epoch has ended before all that belongs to these reports had come. Of a counter that was
// being handed over the value may be known, but not which additions are in it.
func (h *servedHome) interrupted(reports []received) {
	for _, in := range reports {
		switch in.msg.Kind {
		case HandCounter:
			h.counter(in.msg).broken = true
		case HandElection:
			h.adopt(in.msg)
		}
	}
}

// rebuilt takes up the reports. A counter that a node has used, and of which nothing has come here, is broken
// if that may be because of a loss.
func (h *servedHome) rebuilt(rb *rebuild) {
	for _, in := range rb.reports {
		switch in.msg.Kind {
		case ReportCounter:
			if h.counters[in.msg.ID] == nil && rb.memoryLost(in.msg.ID) {
				h.counter(in.msg).broken = true
			}
		case ReportLeader:
			h.election(in.msg).report(in.from, in.msg)
		}
	}
}
