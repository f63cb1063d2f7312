package locks

import (
	"cmp"

	"pagemesh/pagetable"
)

// servedNode is what a node keeps of the locks that their homes serve.
type servedNode struct {
	counters map[ID]*counterNode
}

func newServedNode() servedNode { return servedNode{counters: make(map[ID]*counterNode)} }

// counter returns the entry of the counter and makes it at the first use.
func (n *servedNode) counter(lock Served, v *View) *counterNode {
	id := lock.ID()
	c := n.counters[id]
	if c == nil {
		c = &counterNode{lock: lock, id: id, home: v.Home(id)}
		n.counters[id] = c
	}
	checkCollision(id, lock.Name, c.lock.Name)
	return c
}

// step takes a message from a home.
func (n *servedNode) step(from pagetable.NodeID, msg Message, r *Ready) {
	c := n.counters[msg.ID]
	if c == nil {
		impossible(from, msg, nil)
	}
	if msg.Kind == Added {
		c.added(from, msg, r)
	} else {
		c.reached(msg, r)
	}
}

// report tells the homes in v of the locks that this node has used.
func (n *servedNode) report(v *View, r *Ready) {
	for _, id := range sortedKeys(n.counters, cmp.Compare) {
		n.counters[id].newEpoch(v.Home(id), r)
	}
}

// askAgain repeats what the new epoch has cut off.
func (n *servedNode) askAgain(r *Ready) {
	for _, id := range sortedKeys(n.counters, cmp.Compare) {
		n.counters[id].askAgain(r)
	}
}

func (n *servedNode) idle() bool {
	for _, c := range n.counters {
		if !c.idle() {
			return false
		}
	}
	return true
}

// Add adds delta to a counter. The waiter is woken with the value that the counter then has, with Lost if the
// counter is broken, with Leaving if the node is. What was written before must be on its way before the Ready
// is performed. Preconditions: CheckName(lock.Name) == nil, and so for the other methods.
func (m *Machine) Add(lock Served, delta int64, w Waiter, r *Ready) {
	m.begin(r)
	if m.node.leaving {
		r.wake(w, 0, Leaving)
		return
	}
	m.node.served.counter(lock, &m.view).add(adder{w, delta}, r)
	m.finish(r)
}

// CancelAdd takes an addition back. True: it was not under way and is forgotten; no Woken comes for it. False:
// it counts, and its Woken comes, or has come.
func (m *Machine) CancelAdd(lock Served, w Waiter) bool {
	c := m.node.served.counters[lock.ID()]
	return c != nil && c.cancelAdd(w)
}

// Watch waits until a counter is from low to high. The waiter is woken with the value that it then has. One
// that it has only for a moment may be missed.
func (m *Machine) Watch(lock Served, low, high int64, w Waiter, r *Ready) {
	m.begin(r)
	if m.node.leaving {
		r.wake(w, 0, Leaving)
		return
	}
	m.node.served.counter(lock, &m.view).watch(watcher{w, low, high}, r)
	m.finish(r)
}

// CancelWatch ends a wait for a counter. What it returns means what it means in CancelLock.
func (m *Machine) CancelWatch(lock Served, w Waiter, r *Ready) bool {
	m.begin(r)
	c := m.node.served.counters[lock.ID()]
	canceled := c != nil && c.cancelWatch(w, r)
	m.finish(r)
	return canceled
}
