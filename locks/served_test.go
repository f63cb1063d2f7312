package locks

import (
	"cmp"
	"math"
	"slices"
)

// What is done with a counter: below watchFrom it is the addition of that number, from watchFrom on the wait
// for a value that is at least by how much it is more.
const watchFrom = 1 << 20

func counterSpec(name string, counts ...uint64) lockSpec {
	return lockSpec{name: name, class: Count, counts: counts, id: Served{Count, name}.ID()}
}

func (l lockSpec) counter() bool { return l.class == Count || l.class == WaitGroup }

func (l lockSpec) served() Served { return Served{l.class, l.name} }

// ordered reports whether a wait must not end before another that came before it at its node.
func (l lockSpec) ordered(w, before wait) bool {
	return l.class == 0 || l.counter() && w.count < watchFrom && before.count < watchFrom
}

// span is the values of a counter that an addition has led it over.
type span struct{ above, to uint64 }

func (c *cluster) beginServed(h *host, spec lockSpec, w Waiter, r *Ready) {
	o := &h.waits[w-1]
	switch {
	case spec.elects():
		c.beginElection(h, spec, w, r)
		return
	case spec.class == Cond:
		c.beginCond(h, spec, w, r)
		return
	}
	o.seen = c.past[o.lock].known
	if o.count >= watchFrom {
		h.m.Watch(spec.served(), int64(o.count-watchFrom), math.MaxInt64, w, r)
	} else {
		h.m.Add(spec.served(), int64(o.count), w, r)
	}
}

// cancelServed gives a wait up. An addition that is under way ends in the usual way.
func (c *cluster) cancelServed(h *host, w Waiter, spec lockSpec) {
	if spec.class == Cond {
		c.cancelCond(h, w, spec)
		return
	}
	o := &h.waits[w-1]
	o.state = over
	if o.count < watchFrom && spec.counter() {
		if !c.canceled(h, w, spec) {
			o.state = canceling
		}
		return
	}
	if !c.canceled(h, w, spec) {
		c.breaks("%v: w%d waits for %s and can't be canceled", h.id, w, spec.name)
	}
}

func (c *cluster) canceled(h *host, w Waiter, spec lockSpec) (canceled bool) {
	c.run(h, func(r *Ready) { canceled = h.m.CancelServed(spec.served(), w, r) })
	return canceled
}

// counted notes the end of a wait for a counter.
func (c *cluster) counted(h *host, w *wait, k Woken) {
	p, spec, value := &c.past[w.lock], c.locks[w.lock], uint64(k.Value)
	adds := w.count < watchFrom
	w.state = over
	switch {
	case k.Err == Lost && p.mayBreak:
		return
	case k.Err != OK:
		c.breaks("%v: w%d of %s is woken with %v", h.id, k.Waiter, spec.name, k.Err)
	case adds && value < w.seen+w.count:
		c.breaks("%v: w%d adds %d to %s and makes it %d, which was %d before", h.id, k.Waiter, w.count, spec.name, value, w.seen)
	case !adds && value < max(w.seen, w.count-watchFrom):
		c.breaks("%v: w%d has waited for %s to be %d, and sees %d after %d", h.id, k.Waiter, spec.name, w.count-watchFrom, value, w.seen)
	}
	p.known = max(p.known, value)
	if adds {
		p.added += w.count
		c.led(w, value)
	}
}

// led notes what an addition has led a counter to: nothing that another one has.
func (c *cluster) led(w *wait, to uint64) {
	p, s := &c.past[w.lock], span{to - w.count, to}
	i, _ := slices.BinarySearchFunc(p.led, s, func(a, b span) int { return cmp.Compare(a.to, b.to) })
	if i > 0 && p.led[i-1].to > s.above || i < len(p.led) && p.led[i].above < s.to {
		c.breaks("two additions have led %s to %d: %v", c.locks[w.lock].name, to, p.led)
	}
	p.led = slices.Insert(slices.Clone(p.led), i, s)
}

// adding returns what additions to a counter are under way at h.
func (h *host) adding(lock int) (sum uint64) {
	for _, w := range h.waits {
		if w.lock == lock && w.count < watchFrom && (w.state == waiting || w.state == canceling) {
			sum += w.count
		}
	}
	return sum
}

// forget starts the record of a counter anew if nobody is left who has used it or was its home.
func (c *cluster) forget() {
	for i, spec := range c.locks {
		knows := func(h *host) bool {
			if !h.fate.alive() {
				return false
			}
			used, kept := h.m.node.served.counters[spec.id], h.m.home.served.counters[spec.id]
			return used != nil || kept != nil || c.handsOver(h, spec.id)
		}
		if spec.counter() && !slices.ContainsFunc(c.hosts, knows) {
			p := &c.past[i]
			p.added, p.known, p.led = 0, 0, nil // what is under way may still count
		}
	}
}

// handsOver reports whether something that is handed over is on its way to h, or has come and is not taken up.
func (c *cluster) handsOver(h *host, id ID) bool {
	is := func(m Message) bool { return m.Kind.handsOver() && m.ID == id && m.Epoch >= h.m.Epoch() }
	for _, from := range c.hosts {
		if slices.ContainsFunc(c.wire(from.id, h.id), is) {
			return true
		}
	}
	return slices.ContainsFunc(h.m.home.rebuild.reports, func(in received) bool { return is(in.msg) })
}

// checkQuietCounter: everything was counted once, and nobody waits for what has come to be.
func (c *cluster) checkQuietCounter(lock int) {
	p, spec := &c.past[lock], c.locks[lock]
	home := c.host(c.homes[lock]).m.home.served.counters[spec.id]
	if home == nil {
		home = &counterHome{}
	}
	value := uint64(home.value)
	if !home.broken && (value < p.added || value > p.added+p.unsure) {
		c.breaks("%s is %d, want %d and at most %d more", spec.name, value, p.added, p.unsure)
	}
	for _, h := range c.hosts {
		for i, w := range h.waits {
			if w.lock != lock || w.state != waiting || !h.fate.alive() {
				continue
			}
			if home.broken || w.count < watchFrom || w.count-watchFrom <= value {
				c.breaks("%v: w%d waits for %s for ever", h.id, i+1, spec.name)
			}
		}
	}
}

func (n servedNode) clone() servedNode {
	k := newServedNode()
	for id, c := range n.counters {
		e := *c
		e.sent, e.next, e.watchers = slices.Clone(c.sent), slices.Clone(c.next), slices.Clone(c.watchers)
		k.counters[id] = &e
	}
	for id, o := range n.elections {
		e := *o
		e.candidates, e.observers = slices.Clone(o.candidates), slices.Clone(o.observers)
		k.elections[id] = &e
	}
	for id, o := range n.conds {
		e := *o
		e.waiters = slices.Clone(o.waiters)
		k.conds[id] = &e
	}
	return k
}

func (h servedHome) clone() servedHome {
	k := newServedHome()
	for id, c := range h.counters {
		e := *c
		e.batches, e.watchers = slices.Clone(c.batches), slices.Clone(c.watchers)
		k.counters[id] = &e
	}
	for id, o := range h.elections {
		e := *o
		e.queue, e.observers = slices.Clone(o.queue), slices.Clone(o.observers)
		k.elections[id] = &e
	}
	for id, o := range h.conds {
		e := *o
		e.queue = slices.Clone(o.queue)
		k.conds[id] = &e
	}
	k.handed = h.handed // which is never changed when its epoch has begun
	return k
}

func (p *print) servedNode(n *servedNode) {
	for _, id := range sortedKeys(n.counters, cmp.Compare) {
		c := n.counters[id]
		p.uint(uint64(id), uint64(c.home), c.number, uint64(len(c.sent)), uint64(len(c.next)), uint64(len(c.watchers)))
		for _, a := range slices.Concat(c.sent, c.next) {
			p.uint(uint64(a.w), fold(a.delta))
		}
		for _, w := range c.watchers {
			p.watcher(w)
		}
	}
	for _, id := range sortedKeys(n.elections, cmp.Compare) {
		p.electionNode(n.elections[id])
	}
	for _, id := range sortedKeys(n.conds, cmp.Compare) {
		p.condNode(n.conds[id])
	}
}

func (p *print) servedHome(h *servedHome) {
	for _, id := range sortedKeys(h.counters, cmp.Compare) {
		c := h.counters[id]
		p.uint(uint64(id), fold(c.value), uint64(len(c.batches)), uint64(len(c.watchers)))
		p.bools(c.broken)
		for _, b := range c.batches {
			p.uint(uint64(b.node), b.number, fold(b.value))
		}
		for _, w := range c.watchers {
			p.uint(uint64(w.node))
			p.watcher(w.watcher)
		}
	}
	for _, id := range sortedKeys(h.handed, cmp.Compare) {
		p.uint(uint64(id))
	}
	for _, id := range sortedKeys(h.elections, cmp.Compare) {
		p.electionHome(h.elections[id])
	}
	for _, id := range sortedKeys(h.conds, cmp.Compare) {
		p.condHome(h.conds[id])
	}
}

func (p *print) watcher(w watcher) { p.uint(uint64(w.w), fold(w.low), fold(w.high)) }

func (c *cluster) checkQuietServed(lock int) {
	switch spec := c.locks[lock]; {
	case spec.elects():
		c.checkQuietElection(lock)
	case spec.class == Cond:
		c.checkQuietCond(lock)
	default:
		c.checkQuietCounter(lock)
	}
}
