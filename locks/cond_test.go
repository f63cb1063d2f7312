package locks

import "slices"

// What is done with a condition. Whoever listens has two waits: until the home knows, and for the signal.
const (
	enlisting = 1 + iota
	signaling
	broadcasting
	listening
)

func condSpec(name string, counts ...uint64) lockSpec {
	return lockSpec{name: name, class: Cond, counts: counts, id: Served{Cond, name}.ID()}
}

// signals are what has happened to a condition.
type signals struct {
	sent, woken int // signals by nodes that have not crashed, and wakings
	broadcasts  int
}

func (c *cluster) beginCond(h *host, spec lockSpec, w Waiter, r *Ready) {
	o := h.waits[w-1]
	p := &c.past[o.lock].signals
	switch o.count {
	case enlisting:
		h.waits = append(h.waits, wait{lock: o.lock, count: listening})
		h.m.Enlist(spec.served(), w, w+1, r)
		return
	case signaling:
		p.sent++
		h.m.Signal(spec.served(), false, r)
	case broadcasting:
		p.broadcasts++
		h.m.Signal(spec.served(), true, r)
	}
	h.waits[w-1].state = over
}

// cancelCond gives up both waits of a listener.
func (c *cluster) cancelCond(h *host, w Waiter, spec lockSpec) {
	first := w
	if h.waits[w-1].count == listening {
		first--
	}
	h.waits[first-1].state, h.waits[first].state = over, over
	if !c.canceled(h, w, spec) {
		c.breaks("%v: w%d listens to %s and can't be canceled", h.id, w, spec.name)
	}
}

// condEnded notes the end of a wait for a condition.
func (c *cluster) condEnded(h *host, w *wait, k Woken) {
	p, spec := &c.past[w.lock].signals, c.locks[w.lock]
	w.state = over
	if k.Err != OK {
		c.breaks("%v: w%d of %s is woken with %v", h.id, k.Waiter, spec.name, k.Err)
	}
	if w.count == enlisting {
		// What the listener must not miss: in terms of what has happened by now.
		h.waits[k.Waiter].heard = *p
		h.waits[k.Waiter].enlisted = true
		return
	}
	p.woken++
	if len(c.views) == 1 && p.broadcasts == 0 && p.woken > p.sent {
		c.breaks("%d signals to %s have woken %d", p.sent, spec.name, p.woken)
	}
}

// checkQuietCond: nobody listens who was there when a signal came that has woken nobody else.
func (c *cluster) checkQuietCond(lock int) {
	p := c.past[lock].signals
	for _, h := range c.hosts {
		for i, w := range h.waits {
			if w.lock != lock || w.state != waiting || !h.fate.alive() {
				continue
			}
			since := w.heard
			if !w.enlisted || p.broadcasts > since.broadcasts || p.sent-since.sent > p.woken-since.woken {
				c.breaks("%v: w%d listens to %s for ever: %+v when it was enlisted, %+v now", h.id, i+1, c.locks[lock].name, since, p)
			}
		}
	}
}

// deaf notes that what a host has signaled may be lost with it.
func (c *cluster) deaf(h *host, lock int) {
	p := &c.past[lock].signals
	for _, w := range h.waits {
		if w.lock == lock && w.count == signaling {
			p.sent--
		}
	}
	if slices.ContainsFunc(h.waits, func(w wait) bool { return w.lock == lock && w.count == broadcasting }) {
		for _, o := range c.hosts {
			for i := range o.waits {
				o.waits[i].heard.broadcasts = 1 << 30
			}
		}
	}
}

func (p *print) condNode(c *condNode) {
	p.uint(uint64(c.id), uint64(c.home), uint64(len(c.waiters)))
	for _, l := range c.waiters {
		p.uint(uint64(l.enlisting), uint64(l.w))
	}
}

func (p *print) condHome(c *condHome) {
	p.uint(uint64(c.id), uint64(len(c.queue)))
	for _, q := range c.queue {
		p.uint(uint64(q.node), uint64(q.waiter))
	}
}

func (p *print) signals(s signals) { p.uint(uint64(s.sent), uint64(s.woken), uint64(s.broadcasts)) }
