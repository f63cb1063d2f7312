package locks

import (
	"cmp"

	"pagemesh/pagetable"
)

// home is the part of a machine that orders the locks that are homed at its node.
type home struct {
	mutexes  map[ID]*mutexHome
	barriers map[ID]*barrierHome
	pools    map[ID]*poolHome
	served   servedHome
	rebuild  rebuild
	// doubts say of which mutexes this home may not have heard from the one before it.
	doubts    []doubt
	since     uint64 // the epoch in which this home began
	firstLoss uint64 // the epoch of the first loss that anybody has told of; 0: there was none
}

func newHome(v *View) home {
	return home{
		mutexes:  make(map[ID]*mutexHome),
		barriers: make(map[ID]*barrierHome),
		pools:    make(map[ID]*poolHome),
		served:   newServedHome(),
		rebuild:  rebuild{past: []func(ID) pagetable.NodeID{v.Home}},
		since:    v.Epoch,
	}
}

// mutex returns the entry of the mutex that msg names and makes it at the first use.
func (h *home) mutex(msg Message) *mutexHome {
	m := h.mutexes[msg.ID]
	if m == nil {
		m = &mutexHome{id: msg.ID, name: msg.Name, lost: h.doubted(msg.ID)}
		h.mutexes[msg.ID] = m
	}
	checkCollision(msg.ID, msg.Name, m.name)
	return m
}

// barrier returns the entry of the barrier that msg names and makes it at the first use: who comes
// first decides on the number of parties.
func (h *home) barrier(msg Message) *barrierHome {
	b := h.barriers[msg.ID]
	if b == nil {
		b = &barrierHome{id: msg.ID, name: msg.Name, parties: msg.Parties}
		h.barriers[msg.ID] = b
	}
	checkCollision(msg.ID, msg.Name, b.name)
	return b
}

// pool returns the entry of the pool that msg names and makes it at the first use: who comes first decides
// on the size.
func (h *home) pool(msg Message) *poolHome {
	p := h.pools[msg.ID]
	if p == nil {
		p = &poolHome{id: msg.ID, name: msg.Name, size: msg.Size, free: msg.Size}
		h.pools[msg.ID] = p
	}
	checkCollision(msg.ID, msg.Name, p.name)
	return p
}

// step takes a message from a node, or a Handover from another home. While the home is rebuilding,
// requests wait.
func (h *home) step(from pagetable.NodeID, msg Message, r *Ready) {
	switch msg.Kind {
	case ReportMutex, ReportBarrier, ReportPool, ReportCounter, ReportLeader,
		Handover, HandoverMutex, HandCounter, HandAdder, HandElection:
		h.rebuild.report(from, msg)
	case ReportsDone:
		h.reportsDone(from, msg, r)
	default:
		if !h.rebuild.settled() {
			h.rebuild.deferred = append(h.rebuild.deferred, received{from, msg})
			return
		}
		h.request(from, msg, r)
	}
}

// reportsDone takes up what a node has handed over, which no later epoch makes void, and ends the
// rebuilding if the node was the last.
func (h *home) reportsDone(from pagetable.NodeID, msg Message, r *Ready) {
	last := h.rebuild.done(from, msg)
	if msg.Reason == Lost && from != r.self {
		h.rebuild.cutOff(from)
	}
	if msg.Count != 0 && msg.Count <= h.since && from != r.self {
		h.lossIn(msg.Count)
		h.rebuild.doubtful = append(h.rebuild.doubtful, from)
	}
	for _, in := range h.rebuild.handovers(from) {
		switch in.msg.Kind {
		case Handover:
			h.barrier(in.msg).adopt(from, in.msg)
		case HandoverMutex:
			h.adopt(from, in.msg)
		default:
			h.served.adopt(in.msg)
		}
	}
	if last {
		h.rebuilt(r)
	}
}

// request takes a message of a node in the ordinary course of things.
func (h *home) request(from pagetable.NodeID, msg Message, r *Ready) {
	switch msg.Kind {
	case Acquire:
		h.mutex(msg).acquire(from, msg, r)
	case Arrive:
		h.barrier(msg).arrive(from, msg, r)
	case Granted, Told, Return:
		h.requestMutex(from, msg, r)
	case Withdraw:
		b := h.barriers[msg.ID]
		if b == nil {
			impossible(from, msg, nil)
		}
		b.withdraw(from, msg, r)
	case Take:
		h.pool(msg).take(from, msg, r)
	case PutBack, Drop:
		h.requestPool(from, msg, r)
	default:
		h.served.request(from, msg, r)
	}
}

// requestMutex takes what is said of a mutex that has been asked for.
func (h *home) requestMutex(from pagetable.NodeID, msg Message, r *Ready) {
	m := h.mutexes[msg.ID]
	switch {
	case m == nil:
		impossible(from, msg, nil)
	case msg.Kind == Granted:
		m.granted(from, msg)
	case msg.Kind == Told:
		m.told(msg)
	default:
		m.returned(from, msg, r)
	}
}

func (h *home) requestPool(from pagetable.NodeID, msg Message, r *Ready) {
	p := h.pools[msg.ID]
	switch {
	case p == nil:
		impossible(from, msg, nil)
	case msg.Kind == PutBack:
		p.putBack(from, msg, r)
	default:
		p.drop(from, msg, r)
	}
}

// adopt takes up the HandoverMutex of a mutex's earlier home.
func (h *home) adopt(from pagetable.NodeID, msg Message) {
	if m := h.mutexes[msg.ID]; m != nil {
		impossible(from, msg, m)
	}
	h.mutexes[msg.ID] = &mutexHome{
		id: msg.ID, name: msg.Name, token: msg.Token,
		died: msg.Reason == OwnerDied, lost: msg.Reason == Lost, adopted: true,
	}
}

// newEpoch begins to rebuild. What is homed elsewhere now is forgotten; its new home learns of a
// mutex from here and from the nodes, of a pool from the nodes, and of a barrier from here.
func (h *home) newEpoch(self pagetable.NodeID, v *View, r *Ready) {
	h.served.interrupted(h.rebuild.reports)
	h.rebuild.begin(self, v)
	if len(h.rebuild.lost) > 0 {
		h.lossIn(v.Epoch)
	}
	for _, id := range sortedKeys(h.barriers, cmp.Compare) {
		b := h.barriers[id]
		b.breakIfLost(v.Lost)
		if to := v.Home(id); to != self {
			b.handOver(to, r)
			delete(h.barriers, id)
			continue
		}
		b.newEpoch()
	}
	for _, id := range sortedKeys(h.mutexes, cmp.Compare) {
		m := h.mutexes[id]
		m.found = mutexFound{}
		if to := v.Home(id); to != self {
			m.handOver(to, h.rebuild.lost, r)
			delete(h.mutexes, id)
		}
	}
	for id, p := range h.pools {
		p.newEpoch()
		if v.Home(id) != self {
			delete(h.pools, id)
		}
	}
	h.served.newEpoch(self, v, r)
}

// rebuilt makes the state of the new epoch from what is remembered and what was reported, and then
// takes up the requests that have come meanwhile.
func (h *home) rebuilt(r *Ready) {
	rb := h.rebuild.take()
	h.doubt(&rb)
	h.rebuildMutexes(&rb, r)
	h.rebuildBarriers(&rb, r)
	h.rebuildPools(&rb)
	h.served.rebuilt(&rb)
	for _, in := range rb.deferred {
		h.request(in.from, in.msg, r)
	}
}

func (h *home) rebuildMutexes(rb *rebuild, r *Ready) {
	for _, in := range rb.reports {
		if in.msg.Kind == ReportMutex {
			h.mutex(in.msg).report(in.from, in.msg)
		}
	}
	for _, id := range sortedKeys(h.mutexes, cmp.Compare) {
		h.mutexes[id].rebuilt(rb.lost, r)
	}
}

func (h *home) rebuildBarriers(rb *rebuild, r *Ready) {
	for _, in := range rb.reports {
		if in.msg.Kind != ReportBarrier {
			continue
		}
		unknown := h.barriers[in.msg.ID] == nil
		b := h.barrier(in.msg)
		b.broken = b.broken || unknown && rb.memoryLost(in.msg.ID)
		b.report(in.from, in.msg, r)
	}
}

func (h *home) rebuildPools(rb *rebuild) {
	for _, in := range rb.reports {
		if in.msg.Kind == ReportPool {
			h.pool(in.msg).report(in.from, in.msg)
		}
	}
	for _, p := range h.pools {
		p.rebuilt(rb.lost)
	}
}
