package locks

import (
	"cmp"
	"slices"

	"pagemesh/pagetable"
)

// node is the part of a machine that uses locks.
type node struct {
	mutexes  map[ID]*mutexNode
	barriers map[barrierKey]*barrierNode
	pools    map[poolKey]*poolNode
	served   servedNode
	leaving  bool // after Surrender
}

func newNode() node {
	return node{
		mutexes:  make(map[ID]*mutexNode),
		barriers: make(map[barrierKey]*barrierNode),
		pools:    make(map[poolKey]*poolNode),
		served:   newServedNode(),
	}
}

// mutex returns the entry of the mutex called name and makes it at the first use.
func (n *node) mutex(name string, v *View) *mutexNode {
	id := MutexID(name)
	m := n.mutexes[id]
	if m == nil {
		m = &mutexNode{id: id, name: name, home: v.Home(id)}
		n.mutexes[id] = m
	}
	checkCollision(id, name, m.name)
	return m
}

// barrier returns the entry of the barrier and makes it at the first use.
func (n *node) barrier(name string, parties uint32, v *View) *barrierNode {
	key := barrierKey{id: BarrierID(name), parties: parties}
	b := n.barriers[key]
	if b == nil {
		b = &barrierNode{key: key, name: name, home: v.Home(key.id)}
		n.barriers[key] = b
	}
	checkCollision(key.id, name, b.name)
	return b
}

// pool returns the entry of the pool and makes it at the first use.
func (n *node) pool(name string, size uint64, v *View) *poolNode {
	key := poolKey{id: PoolID(name, size), size: size}
	p := n.pools[key]
	if p == nil {
		p = &poolNode{key: key, name: name, home: v.Home(key.id)}
		n.pools[key] = p
	}
	checkCollision(key.id, name, p.name)
	return p
}

// step takes a message from a home, or a Pass from a node.
func (n *node) step(from pagetable.NodeID, msg Message, r *Ready) {
	switch msg.Kind {
	case Grant, Pass, Forward:
		m := n.mutexes[msg.ID]
		if m == nil {
			impossible(from, msg, nil)
		}
		n.stepMutex(m, from, msg, r)
	case Give, Deny, Recall:
		p := n.pools[poolKey{id: msg.ID, size: msg.Size}]
		if p == nil {
			impossible(from, msg, nil)
		}
		n.stepPool(p, msg, r)
	case Added, Reached, Elect, Observed, Enlisted, Notify:
		n.served.step(from, msg, r)
	default:
		b := n.barriers[barrierKey{id: msg.ID, parties: msg.Parties}]
		if b == nil {
			impossible(from, msg, nil)
		}
		n.stepBarrier(b, from, msg, r)
	}
}

func (n *node) stepMutex(m *mutexNode, from pagetable.NodeID, msg Message, r *Ready) {
	if msg.Kind == Forward {
		m.forward(from, msg, r)
		return
	}
	m.granted(from, msg, r)
	if n.leaving {
		m.giveBack(r)
	}
}

func (n *node) stepBarrier(b *barrierNode, from pagetable.NodeID, msg Message, r *Ready) {
	switch msg.Kind {
	case Release:
		b.release(from, msg, r)
	case Withdrawn:
		b.withdrawn(from, msg, r)
	case Hurry:
		b.hurry(r)
	case Refuse:
		b.refuse(from, msg, r)
		if msg.Reason == Mismatch && len(b.waiters) == 0 {
			delete(n.barriers, b.key)
		}
	default:
		impossible(from, msg, b)
	}
}

func (n *node) stepPool(p *poolNode, msg Message, r *Ready) {
	switch msg.Kind {
	case Give:
		p.given(msg, r)
		if n.leaving {
			p.recall(r)
		}
	case Deny:
		p.denied(msg, r)
	case Recall:
		p.recall(r)
	}
}

// newEpoch reports every lock that this node is involved with to its home in v, and then done.
func (n *node) newEpoch(v *View, done Message, r *Ready) {
	for _, id := range sortedKeys(n.mutexes, cmp.Compare) {
		if !n.mutexes[id].newEpoch(v.Home(id), r) {
			delete(n.mutexes, id)
		}
	}
	keys := sortedKeys(n.barriers, func(a, b barrierKey) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.parties, b.parties))
	})
	for _, k := range keys {
		n.barriers[k].newEpoch(v.Home(k.id), r)
	}
	for _, k := range sortedKeys(n.pools, comparePools) {
		if !n.pools[k].newEpoch(v.Home(k.id), n.leaving, r) {
			delete(n.pools, k)
		}
	}
	n.served.report(v, r)
	for _, to := range v.Members {
		r.send(to, done)
	}
	for _, k := range keys {
		n.barriers[k].withdrawAgain(r)
	}
	for _, k := range sortedKeys(n.pools, comparePools) {
		n.pools[k].askAgain(r)
	}
	n.served.askAgain(r)
}

func comparePools(a, b poolKey) int {
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.size, b.size))
}

func (n *node) idle() bool {
	for _, m := range n.mutexes {
		if !m.idle() {
			return false
		}
	}
	for _, b := range n.barriers {
		if len(b.waiters) > 0 {
			return false
		}
	}
	for _, p := range n.pools {
		if !p.idle() {
			return false
		}
	}
	return n.served.idle()
}

func (n *node) surrender(r *Ready) {
	n.leaving = true
	for _, id := range sortedKeys(n.mutexes, cmp.Compare) {
		n.mutexes[id].giveBack(r)
	}
	for _, k := range sortedKeys(n.pools, comparePools) {
		n.pools[k].recall(r)
	}
}

// sortedKeys returns the keys of m in order: the same events must cause the same work.
func sortedKeys[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
