package locks

import (
	"cmp"
	"encoding/binary"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pagemesh/pagetable"
)

// The explorer needs two things of a cluster: a copy that can go another way, and a fingerprint that
// is equal for clusters whose futures are.

// TestCloneKnowsAllFields fails when a struct has got a field that clone and fingerprint may not know.
func TestCloneKnowsAllFields(t *testing.T) {
	for _, s := range []struct {
		v      any
		fields int
	}{
		{Machine{}, 5}, {node{}, 5}, {home{}, 8}, {rebuild{}, 7}, {mutexNode{}, 14}, {tenure{}, 2},
		{death{}, 2}, {doubt{}, 2}, {mutexHome{}, 8}, {mutexFound{}, 5}, {barrierNode{}, 9}, {arrival{}, 2}, {barrierHome{}, 8},
		{participant{}, 4}, {Message{}, 19}, {cluster{}, 12}, {host{}, 6}, {wait{}, 8}, {use{}, 5}, {record{}, 20},
		{poolNode{}, 8}, {taker{}, 2}, {poolHome{}, 9}, {given{}, 3}, {request{}, 3},
		{servedNode{}, 3}, {counterNode{}, 7}, {adder{}, 2}, {watcher{}, 3}, {servedHome{}, 4}, {counterHome{}, 6},
		{batch{}, 3}, {watching{}, 2}, {span{}, 2}, {electionNode{}, 8}, {observer{}, 2}, {electionHome{}, 7},
		{candidate{}, 2}, {observing{}, 2}, {leader{}, 2}, {condNode{}, 4}, {listener{}, 2}, {condHome{}, 3}, {signals{}, 3},
	} {
		if n := reflect.TypeOf(s.v).NumField(); n != s.fields {
			t.Errorf("%T has %d fields, not %d: tell clone and fingerprint", s.v, n, s.fields)
		}
	}
}

func (c *cluster) clone() *cluster {
	d := &cluster{
		locks: c.locks, wires: slices.Clone(c.wires), width: c.width, views: c.views,
		members: c.members, homes: c.homes,
		past: slices.Clone(c.past), done: c.done, broken: c.broken, hosts: make([]*host, len(c.hosts)),
	}
	d.ready.own = make([]Message, 0, 8)
	for i, h := range c.hosts {
		k := *h
		k.waits, k.uses = slices.Clone(h.waits), slices.Clone(h.uses)
		if h.fate.alive() {
			k.m = h.m.clone()
		}
		d.hosts[i] = &k
	}
	return d
}

func (m *Machine) clone() *Machine {
	k := &Machine{self: m.self, view: m.view, refused: m.refused}
	k.node = newNode()
	k.node.leaving = m.node.leaving
	for id, e := range m.node.mutexes {
		k.node.mutexes[id] = e.clone()
	}
	for key, b := range m.node.barriers {
		e := *b
		e.waiters = slices.Clone(b.waiters)
		k.node.barriers[key] = &e
	}
	for key, p := range m.node.pools {
		e := *p
		e.waiters = slices.Clone(p.waiters)
		k.node.pools[key] = &e
	}
	k.node.served = m.node.served.clone()
	k.home = newHome(&m.view)
	k.home.served = m.home.served.clone()
	k.home.rebuild, k.home.doubts = m.home.rebuild, slices.Clone(m.home.doubts)
	k.home.since, k.home.firstLoss = m.home.since, m.home.firstLoss
	for id, e := range m.home.mutexes {
		h := *e
		h.queue, h.found.waiting = slices.Clone(e.queue), slices.Clone(e.found.waiting)
		h.found.deaths = slices.Clone(e.found.deaths)
		k.home.mutexes[id] = &h
	}
	for id, b := range m.home.barriers {
		e := *b
		e.participants = slices.Clone(b.participants)
		k.home.barriers[id] = &e
	}
	for id, p := range m.home.pools {
		e := *p
		e.given, e.queue, e.found = slices.Clone(p.given), slices.Clone(p.queue), slices.Clone(p.found)
		k.home.pools[id] = &e
	}
	rb := &k.home.rebuild
	rb.due, rb.reports, rb.deferred = slices.Clone(rb.due), slices.Clone(rb.reports), slices.Clone(rb.deferred)
	rb.lost, rb.mute, rb.past = slices.Clone(rb.lost), slices.Clone(rb.mute), slices.Clone(rb.past)
	rb.doubtful = slices.Clone(rb.doubtful)
	return k
}

func (m *mutexNode) clone() *mutexNode {
	e := *m
	e.present.waiters, e.wanted.waiters = slices.Clone(m.present.waiters), slices.Clone(m.wanted.waiters)
	e.late = slices.Clone(m.late)
	return &e
}

// print is a fingerprint in the making.
type print []byte

func (p *print) uint(vs ...uint64) {
	for _, v := range vs {
		*p = binary.AppendUvarint(*p, v)
	}
}

func (p *print) bools(vs ...bool) {
	b := byte(1)
	for _, v := range vs {
		b <<= 1
		if v {
			b |= 1
		}
	}
	*p = append(*p, b)
}

func printList[T ~uint32 | ~uint64](p *print, list []T) {
	p.uint(uint64(len(list)))
	for _, v := range list {
		p.uint(uint64(v))
	}
}

// message appends a message. Its name is known by its id.
func (p *print) message(m Message) {
	p.uint(uint64(m.Kind), m.Epoch, uint64(m.ID), uint64(m.Node), uint64(m.Token), uint64(m.Parties),
		m.Size, uint64(m.Waiter), m.Phase, m.Count, m.Released, uint64(m.Status), uint64(m.Reason),
		uint64(m.Class), m.Number, fold(m.Value), fold(m.Low), fold(m.High))
}

func (p *print) received(list []received) {
	p.uint(uint64(len(list)))
	for _, in := range list {
		p.uint(uint64(in.from))
		p.message(in.msg)
	}
}

// appendPrint appends what the cluster's future depends on. Views are known by whom they removed, and
// where they moved the homes.
func (c *cluster) appendPrint(p print) print {
	p.uint(uint64(len(c.views)), uint64(c.done[cancel]), uint64(c.done[crash]), uint64(c.done[surrender]), uint64(c.done[move]), uint64(c.done[die]))
	printList(&p, c.removed())
	printList(&p, c.homes)
	for i := range c.past {
		p.record(&c.past[i])
	}
	for _, h := range c.hosts {
		p.host(h)
		p.doubts(c, h)
	}
	for _, q := range c.wires {
		p.uint(uint64(len(q)))
		for _, m := range q {
			p.message(m)
		}
	}
	return p
}

func (p *print) record(r *record) {
	p.uint(uint64(r.holder), uint64(r.token), uint64(r.begun), uint64(r.canceled), uint64(r.passed), r.returned)
	p.uint(r.taken, r.added, r.unsure, r.known, uint64(len(r.led)))
	for _, s := range r.led {
		p.uint(s.above, s.to)
	}
	p.signals(r.signals)
	p.bools(r.over)
	p.uint(uint64(len(r.elected)))
	for _, l := range r.elected {
		p.uint(uint64(l.node), uint64(l.token))
	}
	p.bools(r.mayBreak, r.untold)
	p.uint(uint64(r.deaths))
	printList(p, r.asked)
	p.uint(uint64(len(r.queue)))
	for _, q := range r.queue {
		p.uint(uint64(q.node), uint64(q.waiter))
	}
	for _, phase := range slices.Sorted(maps.Keys(r.left)) {
		p.uint(phase, uint64(r.left[phase]))
	}
}

func (p *print) host(h *host) {
	p.uint(uint64(h.fate), uint64(h.view), uint64(len(h.waits)))
	for _, u := range h.uses {
		p.uint(uint64(u.tenures), uint64(u.forwards), uint64(u.begun), uint64(u.passed), u.phase)
	}
	for _, w := range h.waits {
		p.uint(uint64(w.state), uint64(w.lock))
		if w.state != over {
			p.uint(uint64(w.tenure), w.seen, w.count)
			p.signals(w.heard)
			p.bools(w.told, w.enlisted)
		}
	}
	if h.fate.alive() {
		p.machine(h.m)
	}
}

// doubts appends which locks a home doubts.
func (p *print) doubts(c *cluster, h *host) {
	for _, l := range c.locks {
		p.bools(h.m.home.doubted(l.id))
	}
}

func (p *print) machine(m *Machine) {
	p.bools(m.node.leaving)
	for _, id := range sortedKeys(m.node.mutexes, cmp.Compare) {
		p.mutexNode(m.node.mutexes[id])
	}
	keys := sortedKeys(m.node.barriers, func(a, b barrierKey) int { return cmp.Compare(a.id, b.id) })
	for _, k := range keys {
		p.barrierNode(m.node.barriers[k])
	}
	for _, k := range sortedKeys(m.node.pools, comparePools) {
		p.poolNode(m.node.pools[k])
	}
	p.servedNode(&m.node.served)
	p.servedHome(&m.home.served)
	for _, id := range sortedKeys(m.home.mutexes, cmp.Compare) {
		e := m.home.mutexes[id]
		p.uint(uint64(id), uint64(e.token), uint64(e.found.owner), uint64(e.found.token))
		p.bools(e.died, e.lost, e.adopted, e.found.died)
		printList(p, e.queue)
		printList(p, e.found.waiting)
		for _, d := range e.found.deaths {
			p.death(d)
		}
	}
	for _, id := range sortedKeys(m.home.barriers, cmp.Compare) {
		p.barrierHome(m.home.barriers[id])
	}
	for _, id := range sortedKeys(m.home.pools, cmp.Compare) {
		p.poolHome(m.home.pools[id])
	}
	p.uint(m.home.since, m.home.firstLoss)
	rb := &m.home.rebuild
	printList(p, rb.due)
	printList(p, rb.lost)
	printList(p, rb.mute)
	printList(p, rb.doubtful)
	p.uint(uint64(len(rb.past))) // the homes of so many views, up to the present one
	p.received(rb.reports)
	p.received(rb.deferred)
}

func (p *print) mutexNode(m *mutexNode) {
	p.uint(uint64(m.id), uint64(m.home), uint64(m.holder), uint64(m.token), uint64(m.present.next), uint64(m.wanted.next))
	p.bools(m.here, m.fresh, m.asked, m.returned, m.died)
	p.death(m.death)
	for _, list := range [][]Waiter{m.present.waiters, m.wanted.waiters, m.late} {
		printList(p, list)
	}
}

func (p *print) death(d death) {
	p.uint(uint64(d.token))
	p.bools(d.due)
}

func (p *print) barrierNode(b *barrierNode) {
	p.uint(uint64(b.key.id), uint64(b.key.parties), uint64(b.home), b.phase, b.released, b.sent, b.expected, uint64(len(b.waiters)))
	p.bools(b.hurried)
	for _, a := range b.waiters {
		p.uint(uint64(a.w))
		p.bools(a.withdrawing)
	}
}

func (p *print) barrierHome(b *barrierHome) {
	p.uint(uint64(b.id), uint64(b.parties), b.phase, uint64(b.arrived), uint64(len(b.participants)))
	p.bools(b.broken, b.hurried)
	for _, x := range b.participants {
		p.uint(uint64(x.node), uint64(x.arrived), x.released, x.expected)
	}
}

func (p *print) poolNode(n *poolNode) {
	p.uint(uint64(n.key.id), n.key.size, uint64(n.home), n.here, n.used, n.owed, uint64(n.token), uint64(len(n.waiters)))
	for _, t := range n.waiters {
		p.uint(uint64(t.w), t.count)
	}
}

func (p *print) poolHome(h *poolHome) {
	p.uint(uint64(h.id), h.size, h.free, uint64(h.token), uint64(len(h.given)), uint64(len(h.queue)), uint64(len(h.found)))
	p.bools(h.ownerDied)
	for _, g := range slices.Concat(h.given, h.found) {
		p.uint(uint64(g.node), g.count, g.recalled)
	}
	for _, q := range h.queue {
		p.uint(uint64(q.node), uint64(q.waiter), q.count)
	}
}

// removed returns the nodes that views have taken out, in their order.
func (c *cluster) removed() []pagetable.NodeID {
	var list []pagetable.NodeID
	for _, v := range c.views {
		list = append(append(list, v.Left...), v.Lost...)
	}
	return list
}
