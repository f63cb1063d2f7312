package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// mutexNode is a mutex as a node that uses it sees it.
//
// A tenure is a node's stay with the mutex, from the Grant or Pass that brings it to the Pass that
// takes it away. There are at most two: the present one and the one that has been asked for. The home
// answers every Acquire but the newest of the queue with a Forward to the one before, so Forwards
// reach a node in the order of its tenures.
//
// Invariant: holder != 0 implies here; next of the present tenure != 0 implies holder != 0, because an
// idle mutex is passed on at once; asked while here implies that too; late waiters exist only while the
// tenure asked for has a next.
type mutexNode struct {
	id   ID
	name string
	home pagetable.NodeID // in the view of the machine

	here   bool   // the mutex is at this node: held if holder is not 0, else cached
	holder Waiter // who holds it, or 0
	token  Token  // valid while here: the last one used, or the first one to use if fresh
	fresh  bool   // token came with the mutex and nobody has used it yet

	present tenure   // valid while here
	asked   bool     // an Acquire is under way
	wanted  tenure   // valid while asked
	late    []Waiter // came after the end of the wanted tenure; the next Acquire is for them

	returned bool // the node is leaving and has given the mutex back

	died  bool  // valid while here: a holder died with the mutex, and nobody has been told
	death death // what the home may not know when an epoch ends
}

// death is what a node knows of an owner's death when it has the mutex no more. The report of a later
// token is the truer one; of two with one token, that of the node where the holder was told.
type death struct {
	token Token // 0: it knows of none
	due   bool  // the holder with that token, or a later one, is to be told; else the one with it was told
}

// tenure is who is to be served during a stay, and where the mutex goes then.
type tenure struct {
	waiters []Waiter         // first come, first served
	next    pagetable.NodeID // from a Forward; 0 while the tenure is open to more waiters
}

func (t *tenure) open() bool { return t.next == 0 }

// lock serves w or queues it. A waiter that comes after the Forward that ended a tenure must go
// through a new Acquire, so that no node can keep the mutex from the others.
func (m *mutexNode) lock(w Waiter, r *Ready) {
	switch {
	case m.here && m.present.open():
		m.present.waiters = append(m.present.waiters, w)
		m.serveOrWant(r)
	case !m.asked:
		m.ask(r)
		m.wanted.waiters = append(m.wanted.waiters, w)
	case m.wanted.open():
		m.wanted.waiters = append(m.wanted.waiters, w)
	default:
		m.late = append(m.late, w)
	}
}

func (m *mutexNode) ask(r *Ready) {
	m.asked = true
	r.send(m.home, Message{Kind: Acquire, ID: m.id, Name: m.name})
}

// serveOrWant serves whoever has come, or says that the holder is waited for.
func (m *mutexNode) serveOrWant(r *Ready) {
	if m.holder == 0 {
		m.serve(r)
	} else {
		r.Wanted = append(r.Wanted, m.id)
	}
}

// isWanted reports whether somebody waits for the holder.
func (m *mutexNode) isWanted() bool { return len(m.present.waiters) > 0 || !m.present.open() }

// unlock ends w's possession and reports whether w had it. last is the last token that w used; died says
// that w didn't end it by itself.
func (m *mutexNode) unlock(w Waiter, last Token, died bool, r *Ready) bool {
	if !m.here || m.holder != w {
		return false
	}
	m.holder, m.token, m.died = 0, max(m.token, last), died
	m.serve(r)
	return true
}

// cancel takes w out of the queue and reports whether it was there. The request stays: a mutex that
// comes and finds nobody is cached, or passed on.
func (m *mutexNode) cancel(w Waiter) bool {
	for _, q := range []*[]Waiter{&m.present.waiters, &m.wanted.waiters, &m.late} {
		if i := slices.Index(*q, w); i >= 0 {
			*q = slices.Delete(*q, i, i+1)
			return true
		}
	}
	return false
}

// serve gives the idle mutex to the first waiter, or passes it on, or leaves it cached.
// Preconditions: here and holder == 0.
func (m *mutexNode) serve(r *Ready) {
	t := &m.present
	switch {
	case len(t.waiters) > 0:
		m.holder = t.waiters[0]
		t.waiters = slices.Delete(t.waiters, 0, 1)
		if !m.fresh {
			m.token++
		}
		m.fresh = false
		r.wake(m.holder, m.token, tell(m.died))
		if m.died {
			m.died, m.death = false, death{token: m.token}
			r.send(m.home, Message{Kind: Told, ID: m.id, Token: m.token})
		}
	case !t.open():
		r.send(t.next, Message{Kind: Pass, ID: m.id, Token: m.token + 1, Reason: m.leave()})
		t.next = 0
	}
}

// leave notes that the mutex leaves the node, and returns what its next holder is to be told.
func (m *mutexNode) leave() Reason {
	due := m.died
	m.here, m.died = false, false
	if due {
		m.death = death{token: m.token + 1, due: true}
	}
	return tell(due)
}

// forward is told that next comes after this node.
func (m *mutexNode) forward(from pagetable.NodeID, msg Message, r *Ready) {
	switch {
	case m.here && m.present.open():
		m.present.next = msg.Node
		m.serveOrWant(r)
	case m.asked && m.wanted.open():
		m.wanted.next = msg.Node
	case m.returned && !m.here && !m.asked:
		// The home has the mutex back, or will have when the Return arrives, and grants it itself.
	default:
		impossible(from, msg, m)
	}
}

// granted receives the mutex: a Grant from the home or a Pass from a node.
func (m *mutexNode) granted(from pagetable.NodeID, msg Message, r *Ready) {
	if m.here || !m.asked {
		impossible(from, msg, m)
	}
	m.here, m.asked = true, false
	m.token, m.fresh, m.died = msg.Token, true, msg.Reason == OwnerDied
	m.present, m.wanted = m.wanted, tenure{waiters: m.present.waiters[:0]}
	if msg.Kind == Pass {
		r.send(m.home, Message{Kind: Granted, ID: m.id, Token: msg.Token, Reason: msg.Reason})
	} else {
		m.death = death{} // the home knew everything when it granted
	}
	if len(m.late) > 0 {
		m.ask(r)
		m.wanted.waiters, m.late = m.late, m.wanted.waiters
	}
	m.serve(r)
}

// giveBack returns the mutex to its home if it is cached here.
func (m *mutexNode) giveBack(r *Ready) {
	if m.here && m.holder == 0 {
		m.returned = true
		r.send(m.home, Message{Kind: Return, ID: m.id, Token: m.token, Reason: m.leave()})
	}
}

// idle reports whether nobody at this node waits for the mutex or holds it.
func (m *mutexNode) idle() bool {
	return m.holder == 0 && len(m.present.waiters)+len(m.wanted.waiters)+len(m.late) == 0
}

// newEpoch forgets the queue, which the home rebuilds, and reports what is left. It returns false if
// nothing is: the entry can go.
func (m *mutexNode) newEpoch(home pagetable.NodeID, r *Ready) bool {
	m.home = home
	waiters := slices.Concat(m.present.waiters, m.wanted.waiters, m.late)
	m.present, m.wanted, m.late, m.asked = tenure{}, tenure{}, nil, false
	report := Message{Kind: ReportMutex, ID: m.id, Name: m.name, Reason: tell(m.here && m.died)}
	if !m.here && m.death.token != 0 {
		m.reportDeath(r)
	}
	switch {
	case m.holder != 0:
		m.present.waiters = waiters
		if len(waiters) > 0 {
			r.Wanted = append(r.Wanted, m.id)
		}
		report.Status, report.Token = Held, m.token
	case m.here:
		report.Status, report.Token = Cached, m.token
	case len(waiters) > 0:
		m.asked, m.wanted.waiters = true, waiters
		report.Status = Waiting
	default:
		return m.death.token != 0
	}
	r.send(home, report)
	return true
}

// reportDeath tells the home of a new epoch what became of the owner's death that this node knows of. The
// message that said it may be one that the epoch has cut off.
func (m *mutexNode) reportDeath(r *Ready) {
	r.send(m.home, Message{
		Kind: ReportMutex, ID: m.id, Name: m.name, Status: Gone, Token: m.death.token, Reason: tell(m.death.due),
	})
}

// String shows all of the state, for a panic.
func (m *mutexNode) String() string {
	return fmt.Sprintf("mutex %q home=%v here=%v holder=%d token=%v fresh=%v present=%v asked=%v wanted=%v late=%v returned=%v died=%v death=%v",
		m.name, m.home, m.here, m.holder, m.token, m.fresh, m.present, m.asked, m.wanted, m.late, m.returned, m.died, m.death)
}
