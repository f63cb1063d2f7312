package locks

import (
	"slices"

	"pagemesh/pagetable"
)

// What is done with an election: 1 and 2 stand for it, and resign when elected; with 2 the election is over
// then. watchFrom asks who leads, watchFrom+1 waits for another leader than the last that was elected.
const endElection = 2

func electionSpec(name string, counts ...uint64) lockSpec {
	return lockSpec{name: name, class: Election, counts: counts, id: Served{Election, name}.ID()}
}

func onceSpec(name string, counts ...uint64) lockSpec {
	return lockSpec{name: name, class: Once, counts: counts, id: Served{Once, name}.ID()}
}

func (l lockSpec) elects() bool { return l.class == Election || l.class == Once }

// leader is who has led, or may have: the home has sent that it does.
type leader struct {
	node  pagetable.NodeID
	token Token
}

func (c *cluster) beginElection(h *host, spec lockSpec, w Waiter, r *Ready) {
	o := &h.waits[w-1]
	p := &c.past[o.lock]
	switch {
	case o.count < watchFrom:
		h.m.Campaign(spec.served(), w, r)
	case o.count == watchFrom:
		o.seen = uint64(^Token(0))
		h.m.Observe(spec.served(), ^Token(0), w, r)
	default:
		if n := len(p.elected); n > 0 {
			o.seen = uint64(p.elected[n-1].token)
		}
		h.m.Observe(spec.served(), Token(o.seen), w, r)
	}
}

// resign ends a leadership.
func (c *cluster) resign(h *host, w Waiter, spec lockSpec) {
	o := &h.waits[w-1]
	p, why := &c.past[o.lock], OK
	if o.count == endElection {
		p.over, why = true, Over
	}
	p.holder = 0
	c.run(h, func(r *Ready) {
		if !h.m.Resign(spec.served(), w, why, r) {
			c.breaks("%v: w%d leads %s and can't resign", h.id, w, spec.name)
		}
	})
}

// checkElected: whoever is elected, or gets a signal, has waited longer than all who still do. (After a view, another
// order holds.)
func (c *cluster) checkElected(elects []Outgoing) {
	for _, o := range elects {
		i := slices.IndexFunc(c.locks, func(l lockSpec) bool { return l.id == o.Msg.ID })
		p, spec := &c.past[i], c.locks[i]
		place := slices.IndexFunc(p.queue, func(q request) bool { return q.node == o.To && q.waiter == o.Msg.Waiter })
		if len(c.views) == 1 {
			if place < 0 || place > 0 && o.Msg.Reason == OK && len(elects) == 1 {
				c.breaks("%v is served by %s out of turn: %v wait", o.To, spec.name, p.queue)
				return
			}
			p.queue = slices.Delete(slices.Clone(p.queue), place, place+1)
		}
		if o.Msg.Kind == Elect && o.Msg.Reason == OK {
			p.elected = append(slices.Clip(p.elected), leader{o.To, o.Msg.Token})
		}
	}
}

// electionEnded notes the end of a wait for an election.
func (c *cluster) electionEnded(h *host, w *wait, k Woken) {
	p, spec := &c.past[w.lock], c.locks[w.lock]
	w.state = over
	switch {
	case k.Err == Over && p.over && w.count < watchFrom:
	case k.Err != OK:
		c.breaks("%v: w%d of %s is woken with %v", h.id, k.Waiter, spec.name, k.Err)
	case w.count >= watchFrom:
		c.observed(h, w, k)
	case p.holder != 0:
		c.breaks("%v leads %s, and so does %v", h.id, spec.name, p.holder)
	case c.knownToBeOver(spec.id):
		c.breaks("%v leads %s, which is over", h.id, spec.name)
	case k.Token <= p.token:
		c.breaks("%v leads %s with token %v after %v", h.id, spec.name, k.Token, p.token)
	default:
		w.state, p.holder, p.token = holding, h.id, k.Token
	}
}

// observed: an observer is told of one that was elected, or that nobody leads.
func (c *cluster) observed(h *host, w *wait, k Woken) {
	p, l := &c.past[w.lock], leader{k.Node, k.Token}
	if k.Token == Token(w.seen) || (k.Token == 0) != (k.Node == 0) || k.Token != 0 && !slices.Contains(p.elected, l) {
		c.breaks("%v: w%d knows token %v of %s, and is told of %v with %v: %v were elected",
			h.id, k.Waiter, Token(w.seen), c.locks[w.lock].name, k.Node, k.Token, p.elected)
	}
}

// knownToBeOver reports whether somebody is left who knows that an election is over.
func (c *cluster) knownToBeOver(id ID) bool {
	return slices.ContainsFunc(c.hosts, func(h *host) bool {
		if !h.fate.alive() {
			return false
		}
		e, k := h.m.node.served.elections[id], h.m.home.served.elections[id]
		return e != nil && e.over || k != nil && k.over || c.handsOver(h, id)
	})
}

// checkQuietElection: nobody stands while nobody leads, nobody waits to be told what is.
func (c *cluster) checkQuietElection(lock int) {
	spec := c.locks[lock]
	home := c.host(c.homes[lock]).m.home.served.elections[spec.id]
	now := Token(0)
	if home != nil && home.leader != 0 {
		now = home.token
	}
	for _, h := range c.hosts {
		for i, w := range h.waits {
			if w.lock != lock || w.state != waiting || !h.fate.alive() {
				continue
			}
			if w.count < watchFrom || Token(w.seen) != now {
				c.breaks("%v: w%d waits for %s for ever", h.id, i+1, spec.name)
			}
		}
	}
}

func (p *print) electionNode(e *electionNode) {
	p.uint(uint64(e.id), uint64(e.home), uint64(e.leader), uint64(e.token), uint64(len(e.observers)))
	p.bools(e.over)
	printList(p, e.candidates)
	for _, o := range e.observers {
		p.uint(uint64(o.w), uint64(o.known))
	}
}

func (p *print) electionHome(e *electionHome) {
	p.uint(uint64(e.id), uint64(e.leader), uint64(e.token), uint64(len(e.queue)), uint64(len(e.observers)))
	p.bools(e.over)
	for _, q := range e.queue {
		p.uint(uint64(q.node), uint64(q.waiter))
	}
	for _, o := range e.observers {
		p.uint(uint64(o.node), uint64(o.w), uint64(o.known))
	}
}
