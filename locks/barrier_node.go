package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// barrierKey tells barriers at a node apart. Waits that disagree on the number of parties of one name
// are kept apart, so that the home can refuse one kind and serve the other.
type barrierKey struct {
	id      ID
	parties uint32
}

// barrierNode is a barrier as a node that has arrived in it sees it.
//
// A node collects its arrivals until they are as many as were released together the last time, and sends them as
// one: of parties that are goroutines of one node, the home hears once a phase. If the pattern changes, the home
// says that nobody is to hold back (Hurry).
//
// Arrivals of one node are alike. Invariant: sent is the number of arrivals that the home counts for this
// node, plus those on their way to it as Arrive, plus those on their way back as Release, Refuse or Withdrawn.
type barrierNode struct {
	key  barrierKey
	name string
	home pagetable.NodeID // in the view of the machine

	waiters  []arrival // first come, first released
	sent     uint64    // how many of them the home knows of, or will; the others are collected
	expected uint64    // how many to collect in a phase
	hurried  bool      // no more in this phase
	phase    uint64    // of the last Release
	released uint64    // arrivals released since this node knows the barrier
}

// arrival is a waiter at a barrier.
type arrival struct {
	w           Waiter
	withdrawing bool // a Withdraw was sent for it
}

// wait arrives at the barrier.
func (b *barrierNode) wait(w Waiter, r *Ready) {
	b.waiters = append(b.waiters, arrival{w: w})
	b.arrive(r)
}

// collected returns how many arrivals have not been sent.
func (b *barrierNode) collected() uint64 { return uint64(len(b.waiters)) - b.sent }

// arrive sends what is collected, if that is enough.
func (b *barrierNode) arrive(r *Ready) {
	count := b.collected()
	if count == 0 || uint64(len(b.waiters)) < b.expected && !b.hurried {
		return
	}
	b.sent += count
	r.send(b.home, Message{
		Kind: Arrive, ID: b.key.id, Name: b.name, Parties: b.key.parties, Count: count, Released: b.released,
	})
}

// hurry is told that others would wait for what is collected here.
func (b *barrierNode) hurry(r *Ready) {
	b.hurried = true
	b.arrive(r)
}

// cancel asks the home to take w's arrival back, if it was sent, and reports whether w waits here. Either a
// Withdrawn comes, or a Release or Refuse that has crossed. An arrival that is collected is not given in its
// place: it may have come after the phase that w's was counted in.
func (b *barrierNode) cancel(w Waiter, r *Ready) bool {
	i := slices.IndexFunc(b.waiters, func(a arrival) bool { return a.w == w })
	if i < 0 {
		return false
	}
	switch {
	case b.waiters[i].withdrawing:
	case uint64(i) >= b.sent:
		b.waiters = slices.Delete(b.waiters, i, i+1)
		r.wake(w, 0, Canceled)
	default:
		b.waiters[i].withdrawing = true
		b.withdraw(r)
	}
	return true
}

func (b *barrierNode) withdraw(r *Ready) {
	r.send(b.home, Message{Kind: Withdraw, ID: b.key.id, Parties: b.key.parties})
}

// release lets the first waiters go: the phase that their arrivals were counted in is complete.
func (b *barrierNode) release(from pagetable.NodeID, msg Message, r *Ready) {
	if msg.Count > b.sent || msg.Phase <= b.phase {
		impossible(from, msg, b)
	}
	b.phase = msg.Phase
	b.released += msg.Count
	b.expected, b.hurried = msg.Number, false
	b.wakeFirst(msg.Count, OK, r)
	b.arrive(r)
}

// refuse ends waits without release.
func (b *barrierNode) refuse(from pagetable.NodeID, msg Message, r *Ready) {
	if msg.Count > b.sent || msg.Reason == OK {
		impossible(from, msg, b)
	}
	b.wakeFirst(msg.Count, msg.Reason, r)
}

// wakeFirst wakes the first count waiters, those among them that are withdrawing too: what they wait
// for came first.
func (b *barrierNode) wakeFirst(count uint64, why Reason, r *Ready) {
	for _, a := range b.waiters[:count] {
		r.wake(a.w, 0, why)
	}
	b.waiters = slices.Delete(b.waiters, 0, int(count))
	b.sent -= count
}

// withdrawn ends one canceled wait. There may be none left:
//
//  1. w1 and w2 arrive. The home completes a phase with w1's arrival and counts w2's for the next.
//  2. w1 is canceled; its Withdraw crosses the Release.
//  3. The home takes back the only arrival that it has of this node.
//  4. The Release wakes w1. Now w2 waits and nothing is counted for it, so it is collected again.
func (b *barrierNode) withdrawn(from pagetable.NodeID, msg Message, r *Ready) {
	if b.sent == 0 {
		impossible(from, msg, b)
	}
	b.sent--
	if i := slices.IndexFunc(b.waiters, func(a arrival) bool { return a.withdrawing }); i >= 0 {
		r.wake(b.waiters[i].w, 0, Canceled)
		b.waiters = slices.Delete(b.waiters, i, i+1)
	}
	b.arrive(r)
}

// newEpoch reports the barrier, also when nobody waits: the home must know who has taken part.
func (b *barrierNode) newEpoch(home pagetable.NodeID, r *Ready) {
	b.home, b.sent, b.expected, b.hurried = home, uint64(len(b.waiters)), 0, false
	r.send(home, Message{
		Kind: ReportBarrier, ID: b.key.id, Name: b.name, Parties: b.key.parties,
		Count: uint64(len(b.waiters)), Released: b.released,
	})
}

// withdrawAgain repeats the Withdraws whose answer the new epoch has cut off.
func (b *barrierNode) withdrawAgain(r *Ready) {
	for _, a := range b.waiters {
		if a.withdrawing {
			b.withdraw(r)
		}
	}
}

// String shows all of the state, for a panic.
func (b *barrierNode) String() string {
	return fmt.Sprintf("barrier %q parties=%d home=%v waiters=%v sent=%d expected=%d hurried=%v phase=%d released=%d",
		b.name, b.key.parties, b.home, b.waiters, b.sent, b.expected, b.hurried, b.phase, b.released)
}
