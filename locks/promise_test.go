package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// record is what has happened to a lock, as far as what may happen next depends on it.
type record struct {
	// Of a mutex.
	holder pagetable.NodeID   // where it is held, or 0
	token  Token              // of the last acquisition
	asked  []pagetable.NodeID // whose Acquire has reached the home and whose tenure has not begun
	// untold: the last holder has died, and nobody has had the mutex since.
	untold bool
	// deaths is of how many deaths somebody may still be told.
	deaths int

	// Of a pool: how many permits are in use, and whose Take has reached the home and is not answered.
	taken uint64
	queue []request

	// Of a barrier: waits that have begun, that were taken back, that have ended well, and of how many
	// phases somebody has returned.
	begun, canceled, passed int
	returned                uint64
	left                    map[uint64]int // how many have returned of a phase

	// Of a counter: what was added for sure, what may have been, by nodes that have crashed meanwhile, the
	// greatest value that somebody has seen, and those that additions have led to.
	added, unsure, known uint64
	led                  []span

	// Of an election: who has led with which token, and whether a leader has ever ended it.
	elected []leader
	over    bool

	signals signals // to a condition

	// mayBreak: a node that took part, or the home, has crashed, or views have followed each other faster
	// than the homes could hand the barrier over.
	mayBreak bool
}

// use is what a host has seen of a lock. tenures and forwards count from the beginning of the epoch.
type use struct {
	tenures  int    // that have begun here
	forwards int    // that have come: the n-th ends the n-th tenure for those who come later
	begun    int    // waits
	passed   int    // waits at a barrier that have ended well
	phase    uint64 // of the last Release
}

// breaks notes a broken promise; the first one counts.
func (c *cluster) breaks(format string, args ...any) {
	if c.broken == "" {
		c.broken = fmt.Sprintf(format, args...)
	}
}

// arrived notes a message that h is about to take, or has sent to itself and taken.
func (c *cluster) arrived(from pagetable.NodeID, h *host, msg Message) {
	i := slices.IndexFunc(c.locks, func(l lockSpec) bool { return l.id == msg.ID && (msg.Size == 0 || l.permits == msg.Size) })
	switch msg.Kind {
	case Acquire:
		c.past[i].asked = append(slices.Clip(c.past[i].asked), from)
	case Forward:
		h.uses[i].forwards++
	case Grant, Pass:
		h.uses[i].tenures++
		c.checkTurn(h, i)
	case Release:
		h.uses[i].phase = msg.Phase
	case Take, Drop, Campaign, Enlist, Forgo:
		c.queued(from, i, msg)
	}
}

// checkTurn: nodes get the mutex in the order in which their Acquires reach the home. (After a view in
// which the home has changed or was rebuilt, another order holds; scenario files show it.)
func (c *cluster) checkTurn(h *host, lock int) {
	p := &c.past[lock]
	if len(c.views) > 1 {
		return
	}
	if len(p.asked) == 0 || p.asked[0] != h.id {
		c.breaks("%v gets %s out of turn: %v have asked", h.id, c.locks[lock].name, p.asked)
		return
	}
	p.asked = p.asked[1:]
}

// queued notes that a request for permits has reached the home, or was dropped there.
func (c *cluster) queued(from pagetable.NodeID, lock int, msg Message) {
	p := &c.past[lock]
	if msg.Kind == Take || msg.Kind == Campaign || msg.Kind == Enlist {
		p.queue = append(slices.Clip(p.queue), request{from, msg.Waiter, msg.Count})
		return
	}
	dropped := func(q request) bool { return q.node == from && q.waiter == msg.Waiter }
	p.queue = slices.DeleteFunc(slices.Clone(p.queue), dropped)
}

// checkGiven: whoever is given permits has asked before everybody who still waits. (After a view, another
// order holds.)
func (c *cluster) checkGiven(gives []Outgoing) {
	if len(c.views) > 1 {
		return
	}
	for i, spec := range c.locks {
		last, given := -1, 0 // last: the place of the last who is given
		for _, g := range gives {
			if g.Msg.ID == spec.id && g.Msg.Size == spec.permits {
				who := func(q request) bool { return q.node == g.To && q.waiter == g.Msg.Waiter }
				last, given = max(last, slices.IndexFunc(c.past[i].queue, who)), given+1
			}
		}
		if last+1 != given {
			c.breaks("permits of %s are given out of turn", spec.name)
			return
		}
		c.past[i].queue = c.past[i].queue[given:]
	}
}

// renewed notes that a new epoch begins at h: those who wait there are all served in one tenure, the
// present one if the mutex is here.
func (c *cluster) renewed(h *host) {
	for i := range h.uses {
		u := &h.uses[i]
		u.tenures, u.forwards = 0, 0
		if e := h.m.node.mutexes[c.locks[i].id]; e != nil && e.here {
			u.tenures = 1
		}
	}
	for i := range h.waits {
		h.waits[i].tenure = 1
	}
}

// woken notes the end of a wait.
func (c *cluster) woken(h *host, k Woken) {
	w := &h.waits[k.Waiter-1]
	spec := c.locks[w.lock]
	c.showWoken(h, k)
	if w.state != waiting && w.state != canceling {
		c.breaks("%v: w%d is woken and doesn't wait", h.id, k.Waiter)
	}
	before := func(o wait) bool {
		return o.lock == w.lock && (o.state == waiting || o.state == canceling) && spec.ordered(*w, o)
	}
	if k.Err.Holds() && slices.ContainsFunc(h.waits[:k.Waiter-1], before) {
		c.breaks("%v: w%d of %s overtakes one that came before it", h.id, k.Waiter, spec.name)
	}
	switch {
	case k.Err == Leaving:
		w.state = over
		if h.fate == up {
			c.breaks("%v: w%d is told Leaving by a node that stays", h.id, k.Waiter)
		}
	case spec.elects():
		c.electionEnded(h, w, k)
	case spec.class == Cond:
		c.condEnded(h, w, k)
	case spec.class != 0:
		c.counted(h, w, k)
	case spec.parties > 0:
		c.passed(h, w, k)
	case spec.permits > 0:
		c.taken(h, w, k)
	default:
		c.acquired(h, w, k)
	}
}

// wanted notes that holders at h are waited for, and checks that no other is. One that is told may find
// later that nobody is there any more.
func (c *cluster) wanted(h *host, ids []ID) {
	for i := range h.waits {
		w := &h.waits[i]
		if w.state != holding {
			continue
		}
		id := c.locks[w.lock].id
		w.told = w.told || slices.Contains(ids, id)
		if h.m.Wanted(id) && !w.told {
			c.breaks("%v: w%d has %s and isn't told that somebody waits", h.id, i+1, c.locks[w.lock].name)
		}
	}
}

// showWoken traces the end of a wait.
func (c *cluster) showWoken(h *host, k Woken) {
	name := c.locks[h.waits[k.Waiter-1].lock].name
	switch {
	case c.trace == nil:
	case k.Node != 0:
		c.trace(fmt.Sprintf("%v: w%d is told that %v leads %q, token %v", h.id, k.Waiter, k.Node, name, k.Token))
	case k.Token != 0:
		how := ""
		if k.Err == OwnerDied {
			how = ", owner died"
		}
		c.trace(fmt.Sprintf("%v: w%d has %q, token %v%s", h.id, k.Waiter, name, k.Token, how))
	case k.Err == OK && c.locks[h.waits[k.Waiter-1].lock].class == Count:
		c.trace(fmt.Sprintf("%v: w%d has %q at %d", h.id, k.Waiter, name, k.Value))
	default:
		c.trace(fmt.Sprintf("%v: w%d ends its wait for %q: %v", h.id, k.Waiter, name, k.Err))
	}
}

// acquired notes that w has got a mutex.
func (c *cluster) acquired(h *host, w *wait, k Woken) {
	p, name := &c.past[w.lock], c.locks[w.lock].name
	switch {
	case !k.Err.Holds():
		c.breaks("%v: w%d of mutex %s is woken with %v", h.id, k.Waiter, name, k.Err)
	case p.holder != 0:
		c.breaks("%v gets %s while %v holds it", h.id, name, p.holder)
	case k.Token <= p.token:
		c.breaks("%v gets %s with token %v after %v", h.id, name, k.Token, p.token)
	case w.tenure != h.uses[w.lock].tenures:
		c.breaks("%v: w%d of %s is served in tenure %d instead of %d", h.id, k.Waiter, name,
			h.uses[w.lock].tenures, w.tenure)
	}
	c.checkDeath(h, p, k)
	w.state, p.holder, p.token = holding, h.id, k.Token
	w.told = h.m.Wanted(c.locks[w.lock].id)
}

// checkDeath: whoever comes after a holder that has died is told, and nobody is told of a death of which
// another was told, or of none. A node that has used the mutex or was its home may have held it. Of a mutex that
// nobody has ever held, a home that began after a loss can't know that: its first holder may be told.
func (c *cluster) checkDeath(h *host, p *record, k Woken) {
	switch {
	case k.Err == OK && p.untold:
		c.breaks("%v: w%d is not told that the holder before it died", h.id, k.Waiter)
	case k.Err == OwnerDied && p.deaths == 0 && (p.token != 0 || !c.anyLost()):
		c.breaks("%v: w%d is told of a death that was none, or of which another was told", h.id, k.Waiter)
	case k.Err == OK:
		return
	}
	p.untold = false
	if p.deaths = max(p.deaths-1, 0); c.settled() {
		p.deaths = 0
	}
}

// anyLost reports whether a node has crashed.
func (c *cluster) anyLost() bool {
	return slices.ContainsFunc(c.hosts, func(h *host) bool { return h.fate == crashed })
}

// settled reports whether everybody knows of every loss.
func (c *cluster) settled() bool {
	return !slices.ContainsFunc(c.hosts, func(h *host) bool {
		return h.fate.alive() && (h.view < len(c.views)-1 || !h.m.Settled())
	})
}

// taken notes that w has got permits.
func (c *cluster) taken(h *host, w *wait, k Woken) {
	p, spec := &c.past[w.lock], c.locks[w.lock]
	if k.Err == Mismatch && c.disputed(w.lock) {
		w.state = over
		return
	}
	p.taken += w.count
	all := w.count == spec.permits
	switch {
	case k.Err != OK:
		c.breaks("%v: w%d of %s is woken with %v", h.id, k.Waiter, spec.name, k.Err)
	case p.taken > spec.permits:
		c.breaks("%v: w%d makes it %d of the %d permits of %s", h.id, k.Waiter, p.taken, spec.permits, spec.name)
	case k.Token < p.token || all && k.Token == p.token:
		c.breaks("%v has %s with token %v after %v", h.id, spec.name, k.Token, p.token)
	}
	w.state = holding
	if all {
		p.token = k.Token
	}
}

// passed notes the end of a wait at a barrier.
func (c *cluster) passed(h *host, w *wait, k Woken) {
	p, name := &c.past[w.lock], c.locks[w.lock].name
	switch {
	case k.Err == OK:
		p.passed++
		h.uses[w.lock].passed++
		c.checkPhase(h, w)
	case k.Err == Canceled && w.state == canceling:
		p.canceled++
	case k.Err == Lost && p.mayBreak:
	case k.Err == Mismatch && c.disputed(w.lock):
	default:
		c.breaks("%v: w%d of barrier %s is woken with %v", h.id, k.Waiter, name, k.Err)
	}
	w.state = over
}

// disputed reports whether a barrier is used with several numbers of parties.
func (c *cluster) disputed(lock int) bool {
	same := func(l lockSpec) bool {
		return l.id == c.locks[lock].id && (l.parties != c.locks[lock].parties || l.permits != c.locks[lock].permits)
	}
	return slices.ContainsFunc(c.locks, same)
}

// hurry notes that a view is ordered before everybody has settled in the one before.
func (c *cluster) hurry() {
	for i := range c.past {
		c.past[i].mayBreak = true
		c.past[i].deaths++ // a home that has missed what the one before it knew tells once too often
	}
}

// checkPhase: a phase lets as many go as there are parties, and nobody returns of it before all of them
// have begun to wait.
func (c *cluster) checkPhase(h *host, w *wait) {
	p, spec, phase := &c.past[w.lock], c.locks[w.lock], h.uses[w.lock].phase
	if p.passed > (p.begun-p.canceled)/spec.parties*spec.parties {
		c.breaks("barrier %s lets %d go of %d that have arrived", spec.name, p.passed, p.begun-p.canceled)
	}
	for _, n := range spec.lockstep {
		if u := c.host(n).uses[w.lock]; u.begun < h.uses[w.lock].passed {
			c.breaks("barrier %s: %v ends round %d, %v has begun %d", spec.name, h.id, h.uses[w.lock].passed, n, u.begun)
		}
	}
	if len(c.views) > 1 {
		return // a Release that a new epoch cuts off is repeated, and may then stand for two phases
	}
	if phase <= w.seen {
		c.breaks("barrier %s lets one go of phase %d who came after others had left it", spec.name, phase)
	}
	p.returned = max(p.returned, phase)
	next := map[uint64]int{phase: 1}
	for ph, n := range p.left {
		next[ph] += n
	}
	if p.left = next; next[phase] > spec.parties {
		c.breaks("barrier %s lets %d go in phase %d", spec.name, next[phase], phase)
	} else if next[phase] == spec.parties {
		delete(next, phase)
	}
}

// checkAlways checks what must hold between any two events.
func (c *cluster) checkAlways() {
	for i, spec := range c.locks {
		var here []pagetable.NodeID
		for _, h := range c.hosts {
			if e := h.m.node.mutexes[spec.id]; e != nil && e.here && h.fate.alive() {
				here = append(here, h.id)
			}
		}
		if len(here) > 1 {
			c.breaks("mutex %s is at %v", c.locks[i].name, here)
		}
		c.checkPermits(i)
	}
}

// checkPermits: there are never more permits of a pool than it has, and a node knows how many are in use.
func (c *cluster) checkPermits(lock int) {
	spec, here := c.locks[lock], uint64(0)
	for _, h := range c.hosts {
		p := h.m.node.pools[poolKey{spec.id, spec.permits}]
		if p == nil || !h.fate.alive() {
			continue
		}
		here += p.here
		if p.used != h.taken(lock) || p.used > p.here {
			c.breaks("%v has %d of %s in use, not %d: %v", h.id, h.taken(lock), spec.name, p.used, p)
		}
		if p.owed > 0 && p.used != p.here {
			c.breaks("%v keeps permits of %s that it owes: %v", h.id, spec.name, p)
		}
	}
	c.checkCount(spec)
	if here > spec.permits {
		c.breaks("nodes have %d of the %d permits of %s", here, spec.permits, spec.name)
	}
}

// checkCount: a home knows where all permits are, and keeps none from the first who waits.
func (c *cluster) checkCount(spec lockSpec) {
	for _, h := range c.hosts {
		p := h.m.home.pools[spec.id]
		if p == nil || !h.fate.alive() || !h.m.Settled() {
			continue
		}
		sum := p.free
		for _, g := range p.given {
			sum += g.count
			if g.count == 0 || g.recalled > g.count {
				c.breaks("home %v: %v", h.id, p)
			}
		}
		if sum != p.size || len(p.queue) > 0 && p.queue[0].count <= p.free {
			c.breaks("home %v: %v", h.id, p)
		}
	}
}

// checkQuiet checks a cluster in which nothing is under way and nothing is held.
func (c *cluster) checkQuiet() {
	for i, spec := range c.locks {
		left := 0
		for _, h := range c.hosts {
			if h.fate.alive() {
				left += c.checkQuietHost(h, i)
			}
		}
		if spec.class != 0 {
			c.checkQuietServed(i)
			continue
		}
		if p := c.past[i]; spec.parties > 0 && !p.mayBreak && p.passed+p.canceled+left != p.begun {
			c.breaks("barrier %s: %d began to wait, %d passed, %d were canceled, %d wait", spec.name,
				p.begun, p.passed, p.canceled, left)
		}
		c.checkKnown(i)
		if left > 0 && left >= spec.parties {
			c.breaks("%d wait for %s for ever", left, spec.name)
		}
	}
}

// checkKnown: the home of a mutex knows if the death of an owner was told.
func (c *cluster) checkKnown(lock int) {
	home := c.host(c.homes[lock]).m.home.mutexes[c.locks[lock].id]
	for _, h := range c.hosts {
		e := h.m.node.mutexes[c.locks[lock].id]
		if h.fate.alive() && e != nil && e.here && home.died && !e.died {
			c.breaks("the home of %s does not know that a death was told", c.locks[lock].name)
		}
	}
}

// checkQuietHost returns how many wait for a lock at h. Some may at a barrier, whose other parties
// have not come, unless it is broken.
func (c *cluster) checkQuietHost(h *host, lock int) (left int) {
	for w, o := range h.waits {
		if o.lock == lock && o.state == canceling {
			c.breaks("%v: w%d was canceled and is not woken", h.id, w+1)
		}
		if o.lock == lock && o.state == waiting {
			left++
		}
	}
	if !h.m.Settled() {
		c.breaks("%v never settles", h.id)
	}
	spec := c.locks[lock]
	b := c.host(c.homes[lock]).m.home.barriers[spec.id]
	if left > 0 && b != nil && b.broken {
		c.breaks("%v: %d wait at the broken barrier %s", h.id, left, spec.name)
	}
	return left
}
