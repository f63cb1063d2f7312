package locks

import (
	"fmt"

	"pagemesh/pagetable"
)

// View is what locks need to know of the cluster's view. It is never changed once a machine has it.
type View struct {
	// Epoch grows with every view: 1 to MaxEpoch. Epochs may be skipped.
	Epoch uint64
	// Members are the nodes that may be homes and use locks.
	Members []pagetable.NodeID
	// Left are nodes that are no members any more but still perform this view: they report and hand
	// over, then go. One that fails to do so must be in Lost of a later view.
	Left []pagetable.NodeID
	// Lost are the nodes that have crashed since the view that the machine had before.
	Lost []pagetable.NodeID
	// Home returns the home of a lock, one of Members: a pure function, the same at all nodes, and
	// usable as long as the machine.
	Home func(ID) pagetable.NodeID
}

// Machine is the state of all locks at one node, those that it uses and those that are homed there.
// It is not safe for concurrent use.
type Machine struct {
	self    pagetable.NodeID
	view    View
	node    node
	home    home
	refused uint64
}

// New returns the machine of a node in a space where there is nothing to report: the node founds the
// space, or joins and v is the view before the first that counts it as a member. (A node that joins
// then calls NewEpoch like every other.) If views that only add members bring no new epoch, a node that
// joins passes the present view.
func New(self pagetable.NodeID, v View) *Machine {
	checkEpoch(v.Epoch, 0)
	m := &Machine{self: self, view: v, node: newNode()}
	m.home = newHome(&m.view)
	return m
}

// Epoch returns the epoch of the present view.
func (m *Machine) Epoch() uint64 { return m.view.Epoch }

// Refused returns how many messages of older epochs Step has dropped.
func (m *Machine) Refused() uint64 { return m.refused }

// Settled reports whether the home at this node has every report of the present epoch, so that it
// answers requests.
func (m *Machine) Settled() bool { return m.home.rebuild.settled() }

// Lock asks for the mutex called name. The waiter is woken with the token when it has it (it may be
// before Lock returns), with OK or OwnerDied; with Leaving if the node is leaving. Preconditions: CheckName(name) == nil.
func (m *Machine) Lock(name string, w Waiter, r *Ready) {
	m.begin(r)
	if m.node.leaving {
		r.wake(w, 0, Leaving)
		return
	}
	m.node.mutex(name, &m.view).lock(w, r)
	m.finish(r)
}

// Unlock ends w's possession of the mutex and reports whether w had it; if not, nothing changes. What
// was written under the mutex must be on its way before the Ready is performed.
func (m *Machine) Unlock(id ID, w Waiter, r *Ready) bool { return m.unlock(id, w, 0, false, r) }

// Wanted reports whether somebody waits for the holder of a mutex at this node. If it becomes true later,
// Ready.Wanted says so.
func (m *Machine) Wanted(id ID) bool {
	e := m.node.mutexes[id]
	return e != nil && e.isWanted()
}

// Return is Unlock for a holder that has locked and unlocked the mutex by itself in between, each time with
// a token greater by one. last is the last of them.
func (m *Machine) Return(id ID, w Waiter, last Token, r *Ready) bool {
	return m.unlock(id, w, last, false, r)
}

// Abandon is Return for a holder that died while it held the mutex: the next one is told OwnerDied.
func (m *Machine) Abandon(id ID, w Waiter, last Token, r *Ready) bool {
	return m.unlock(id, w, last, true, r)
}

func (m *Machine) unlock(id ID, w Waiter, last Token, died bool, r *Ready) bool {
	m.begin(r)
	e := m.node.mutexes[id]
	if e == nil || !e.unlock(w, last, died, r) {
		return false
	}
	if m.node.leaving {
		e.giveBack(r)
	}
	m.finish(r)
	return true
}

// CancelLock ends a wait for a mutex. True: the waiter was still in the queue and is forgotten; no
// Woken comes for it. False: its Woken is out already, in this or an earlier Ready, and counts: the
// waiter has the mutex and must unlock it (or has been told Leaving).
func (m *Machine) CancelLock(id ID, w Waiter) bool {
	e := m.node.mutexes[id]
	return e != nil && e.cancel(w)
}

// Wait arrives at the barrier called name, which has the given number of parties, and waits for the
// end of the phase. Every wait ends with a Woken: OK, Lost, Mismatch, Canceled after CancelWait, or
// Leaving. Preconditions: CheckName(name) == nil and CheckParties(parties) == nil.
func (m *Machine) Wait(name string, parties int, w Waiter, r *Ready) {
	m.begin(r)
	if m.node.leaving {
		r.wake(w, 0, Leaving)
		return
	}
	m.node.barrier(name, uint32(parties), &m.view).wait(w, r)
	m.finish(r)
}

// CancelWait takes a waiter's arrival at a barrier back, if the phase is not complete by then. In any
// case a Woken comes, or has come, and says how it ended: Canceled, or OK if the phase was complete.
func (m *Machine) CancelWait(id ID, parties int, w Waiter, r *Ready) {
	m.begin(r)
	if b := m.node.barriers[barrierKey{id: id, parties: uint32(parties)}]; b != nil {
		b.cancel(w, r)
	}
	m.finish(r)
}

// Take asks for count permits of the pool called name, which has size permits: a semaphore, or with
// Everything a read/write mutex, of which a reader takes one permit and a writer all. The waiter is woken
// when it has them (it may be before Take returns), with Mismatch if the semaphore has another size, with
// Leaving if the node is. Who takes all gets a token of its own, greater than all before; others get one
// that is not less than that of the last who took all. Preconditions: CheckName(name) == nil, 1 <= count <= size, and
// size is Everything or CheckPermits accepts it.
func (m *Machine) Take(name string, size, count uint64, w Waiter, r *Ready) {
	m.begin(r)
	if m.node.leaving {
		r.wake(w, 0, Leaving)
		return
	}
	m.node.pool(name, size, &m.view).take(taker{w, count}, r)
	m.finish(r)
}

// Put returns count permits and reports whether so many are taken at this node; if not, nothing changes.
// What was written while they were taken must be on its way before the Ready is performed.
func (m *Machine) Put(name string, size, count uint64, r *Ready) bool {
	m.begin(r)
	p := m.node.pools[poolKey{PoolID(name, size), size}]
	if p == nil || !p.put(count, r) {
		return false
	}
	m.finish(r)
	return true
}

// CancelTake ends a wait for permits. What it returns means what it means in CancelLock.
func (m *Machine) CancelTake(name string, size uint64, w Waiter, r *Ready) bool {
	m.begin(r)
	p := m.node.pools[poolKey{PoolID(name, size), size}]
	canceled := p != nil && p.cancel(w, r)
	m.finish(r)
	return canceled
}

// Step takes a message from another node. One of an older epoch is dropped. Preconditions: its epoch
// is not later than the machine's: the caller holds such a message, and all that come from the same
// node after it, until NewEpoch.
func (m *Machine) Step(from pagetable.NodeID, msg Message, r *Ready) {
	m.begin(r)
	if msg.Epoch < m.view.Epoch {
		m.refused++
		return
	}
	if msg.Epoch > m.view.Epoch {
		impossible(from, msg, fmt.Sprintf("machine of %v in epoch %d", m.self, m.view.Epoch))
	}
	m.step(from, msg, r)
	m.finish(r)
}

// NewEpoch takes up a later view. A member that is in v.Left performs it too and then may go.
func (m *Machine) NewEpoch(v View, r *Ready) {
	checkEpoch(v.Epoch, m.view.Epoch)
	done := Message{Kind: ReportsDone}
	if !m.Settled() {
		done.Reason = Lost
	}
	m.view = v
	m.begin(r)
	// The home's part first: what it hands over must arrive before this member's ReportsDone.
	m.home.newEpoch(m.self, &m.view, r)
	done.Count = m.home.firstLoss
	m.node.newEpoch(&m.view, done, r)
	m.finish(r)
}

// Idle reports whether nobody at this node waits for a lock, holds a mutex or has taken permits.
func (m *Machine) Idle() bool { return m.node.idle() }

// Surrender prepares to leave: later Lock, Take and Wait are woken with Leaving, and mutexes and permits
// that are cached here, or come here for nobody, go back to their homes. Preconditions: none, but a node should be Idle
// before it leaves; a mutex that is held goes back when it is unlocked.
func (m *Machine) Surrender(r *Ready) {
	m.begin(r)
	m.node.surrender(r)
	m.finish(r)
}

// begin prepares r for an event.
func (m *Machine) begin(r *Ready) { r.self, r.epoch = m.self, m.view.Epoch }

// finish steps the messages that the node has sent to itself, in order.
func (m *Machine) finish(r *Ready) {
	for i := 0; i < len(r.own); i++ {
		m.step(m.self, r.own[i], r)
	}
	r.own = r.own[:0]
}

func (m *Machine) step(from pagetable.NodeID, msg Message, r *Ready) {
	if !msg.Kind.toHome() {
		m.node.step(from, msg, r)
		return
	}
	if msg.Kind != ReportsDone && m.view.Home(msg.ID) != m.self {
		impossible(from, msg, fmt.Sprintf("the lock's home is %v, not %v", m.view.Home(msg.ID), m.self))
	}
	m.home.step(from, msg, r)
}

func checkEpoch(epoch, before uint64) {
	if epoch <= before || epoch > MaxEpoch {
		panic(fmt.Sprintf("locks: epoch %d after %d: want a later one, at most %d", epoch, before, MaxEpoch))
	}
}

// checkCollision guards against two names with one id, which would share one lock.
func checkCollision(id ID, a, b string) {
	if a != b {
		panic(fmt.Sprintf("locks: the names %q and %q have the same id %v: rename one", a, b, id))
	}
}

// impossible reports a message that no machine sends to one in this state.
func impossible(from pagetable.NodeID, msg Message, state any) {
	panic(fmt.Sprintf("locks: impossible message from %v: %v: %v", from, msg, state))
}
