package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// poolKey tells pools at a node apart, like barrierKey: takes that disagree on the size of one name.
type poolKey struct {
	id   ID
	size uint64
}

// poolNode is a pool as a node that takes from it sees it.
//
// Invariant: used <= here; owed != 0 implies used == here, because what is owed and not used is paid at once.
type poolNode struct {
	key  poolKey
	name string
	home pagetable.NodeID // in the view of the machine

	here  uint64 // permits at this node
	used  uint64 // those of them that somebody has taken; the others are cached
	owed  uint64 // how many go back to the home as soon as they are not used
	token Token  // the greatest one known

	waiters []taker // whose Take is under way, first come, first served
}

// taker is a waiter for permits.
type taker struct {
	w     Waiter
	count uint64
}

// take serves w from what is cached here, or asks. Nobody overtakes one who has asked.
func (p *poolNode) take(t taker, r *Ready) {
	if len(p.waiters) == 0 && p.here-p.used >= t.count {
		p.serve(t, r)
		return
	}
	p.waiters = append(p.waiters, t)
	p.ask(t, r)
}

func (p *poolNode) ask(t taker, r *Ready) {
	r.send(p.home, Message{
		Kind: Take, ID: p.key.id, Name: p.name, Size: p.key.size, Waiter: t.w, Count: t.count,
	})
}

// serve gives permits that are here to a waiter. Whoever takes all of the pool gets a token of its own;
// others get that of the last who did.
func (p *poolNode) serve(t taker, r *Ready) {
	p.used += t.count
	if t.count == p.key.size {
		p.token++
	}
	r.wake(t.w, p.token, OK)
}

// put takes permits back from whoever had taken them, and reports whether so many were taken.
func (p *poolNode) put(count uint64, r *Ready) bool {
	if count > p.used {
		return false
	}
	p.used -= count
	p.pay(r)
	return true
}

// pay returns what is owed and not used.
func (p *poolNode) pay(r *Ready) {
	count := min(p.owed, p.here-p.used)
	if count == 0 {
		return
	}
	p.owed -= count
	p.here -= count
	r.send(p.home, Message{Kind: PutBack, ID: p.key.id, Size: p.key.size, Count: count, Token: p.token})
}

// recall makes all that is here owed. What is given later is not.
func (p *poolNode) recall(r *Ready) {
	p.owed = p.here
	p.pay(r)
}

// cancel forgets a waiter and reports whether it was one. If what it waits for comes all the same, it
// is cached.
func (p *poolNode) cancel(w Waiter, r *Ready) bool {
	i := p.find(w)
	if i < 0 {
		return false
	}
	p.waiters = slices.Delete(p.waiters, i, i+1)
	r.send(p.home, Message{Kind: Drop, ID: p.key.id, Size: p.key.size, Waiter: w})
	return true
}

func (p *poolNode) find(w Waiter) int {
	return slices.IndexFunc(p.waiters, func(t taker) bool { return t.w == w })
}

// given receives permits for a waiter, which may have given up.
func (p *poolNode) given(msg Message, r *Ready) {
	p.here += msg.Count
	p.token = max(p.token, msg.Token)
	if i := p.find(msg.Waiter); i >= 0 {
		t := p.waiters[i]
		p.waiters = slices.Delete(p.waiters, i, i+1)
		p.serve(t, r)
	}
	p.pay(r)
}

// denied ends a wait, unless the waiter has given up.
func (p *poolNode) denied(msg Message, r *Ready) {
	if i := p.find(msg.Waiter); i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
		r.wake(msg.Waiter, 0, msg.Reason)
	}
}

// idle reports whether nobody at this node waits for permits or has some.
func (p *poolNode) idle() bool { return p.used == 0 && len(p.waiters) == 0 }

// newEpoch reports the permits that are here, which nobody has recalled yet; a node that leaves owes them
// all the same. It returns false if there are none and nobody waits: the entry can go.
func (p *poolNode) newEpoch(home pagetable.NodeID, leaving bool, r *Ready) bool {
	p.home, p.owed = home, 0
	if leaving {
		p.owed = p.used
	}
	if p.here > 0 {
		r.send(home, Message{
			Kind: ReportPool, ID: p.key.id, Name: p.name, Size: p.key.size, Count: p.here, Token: p.token,
		})
	}
	return p.here > 0 || len(p.waiters) > 0
}

// askAgain repeats what the new epoch has made the home forget.
func (p *poolNode) askAgain(r *Ready) {
	for _, t := range p.waiters {
		p.ask(t, r)
	}
}

// String shows all of the state, for a panic.
func (p *poolNode) String() string {
	return fmt.Sprintf("pool %q of %d home=%v here=%d used=%d owed=%d token=%v waiters=%v",
		p.name, p.key.size, p.home, p.here, p.used, p.owed, p.token, p.waiters)
}
