package locks

import (
	"cmp"

	"pagemesh/pagetable"
)

// servedNode is what a node keeps of the locks that their homes serve.
type servedNode struct {
	counters  map[ID]*counterNode
	elections map[ID]*electionNode
	conds     map[ID]*condNode
}

func newServedNode() servedNode {
	return servedNode{
		counters: make(map[ID]*counterNode), elections: make(map[ID]*electionNode), conds: make(map[ID]*condNode),
	}
}

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

// election returns the entry of the election and makes it at the first use.
func (n *servedNode) election(lock Served, v *View) *electionNode {
	id := lock.ID()
	e := n.elections[id]
	if e == nil {
		e = &electionNode{lock: lock, id: id, home: v.Home(id)}
		n.elections[id] = e
	}
	checkCollision(id, lock.Name, e.lock.Name)
	return e
}

// cond returns the entry of the condition and makes it at the first use.
func (n *servedNode) cond(lock Served, v *View) *condNode {
	id := lock.ID()
	c := n.conds[id]
	if c == nil {
		c = &condNode{lock: lock, id: id, home: v.Home(id)}
		n.conds[id] = c
	}
	checkCollision(id, lock.Name, c.lock.Name)
	return c
}

// step takes a message from a home.
func (n *servedNode) step(from pagetable.NodeID, msg Message, r *Ready) {
	switch msg.Kind {
	case Added, Reached:
		c := n.counters[msg.ID]
		if c == nil {
			impossible(from, msg, nil)
		}
		n.stepCounter(c, from, msg, r)
	case Elect, Observed:
		e := n.elections[msg.ID]
		if e == nil {
			impossible(from, msg, nil)
		}
		n.stepElection(e, from, msg, r)
	case Enlisted, Notify:
		c := n.conds[msg.ID]
		if c == nil {
			impossible(from, msg, nil)
		}
		n.stepCond(c, msg, r)
	}
}

func (n *servedNode) stepCounter(c *counterNode, from pagetable.NodeID, msg Message, r *Ready) {
	if msg.Kind == Added {
		c.added(from, msg, r)
	} else {
		c.reached(msg, r)
	}
}

func (n *servedNode) stepElection(e *electionNode, from pagetable.NodeID, msg Message, r *Ready) {
	if msg.Kind == Elect {
		e.elected(from, msg, r)
	} else {
		e.observed(msg, r)
	}
}

func (n *servedNode) stepCond(c *condNode, msg Message, r *Ready) {
	if msg.Kind == Enlisted {
		c.enlisted(msg, r)
	} else {
		c.notified(msg, r)
	}
}

// cancel ends a wait for a lock and reports whether it could.
func (n *servedNode) cancel(lock Served, w Waiter, r *Ready) bool {
	id := lock.ID()
	if c := n.counters[id]; c != nil {
		return c.cancelAdd(w) || c.cancelWatch(w, r)
	}
	if c := n.conds[id]; c != nil {
		return c.cancel(w, r)
	}
	e := n.elections[id]
	return e != nil && e.cancel(w, r)
}

// report tells the homes in v of the locks that this node has used.
func (n *servedNode) report(v *View, r *Ready) {
	for _, id := range sortedKeys(n.counters, cmp.Compare) {
		n.counters[id].newEpoch(v.Home(id), r)
	}
	for _, id := range sortedKeys(n.elections, cmp.Compare) {
		if !n.elections[id].newEpoch(v.Home(id), r) {
			delete(n.elections, id)
		}
	}
	for _, id := range sortedKeys(n.conds, cmp.Compare) {
		n.conds[id].newEpoch(r)
	}
	clear(n.conds)
}

// askAgain repeats what the new epoch has cut off.
func (n *servedNode) askAgain(r *Ready) {
	for _, id := range sortedKeys(n.counters, cmp.Compare) {
		n.counters[id].askAgain(r)
	}
	for _, id := range sortedKeys(n.elections, cmp.Compare) {
		n.elections[id].askAgain(r)
	}
}

func (n *servedNode) idle() bool {
	for _, c := range n.counters {
		if !c.idle() {
			return false
		}
	}
	for _, e := range n.elections {
		if !e.idle() {
			return false
		}
	}
	for _, c := range n.conds {
		if len(c.waiters) > 0 {
			return false
		}
	}
	return true
}
