package locks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pagemesh/pagetable"
)

// cluster is a space of real machines and the wires between them, without time: whoever drives it
// chooses the event that comes next. Each event is checked against what doc.go promises (see
// promise_test.go), and the first promise that is broken stays in broken.
type cluster struct {
	locks []lockSpec
	hosts []*host     // the host of node n is hosts[n-1]
	wires [][]Message // by from*width+to: what is under way, in order
	width pagetable.NodeID
	views []View   // as they were ordered; every host performs them one after the other
	past  []record // by lock
	// Of the last view.
	members []pagetable.NodeID // and those that have joined since
	homes   []pagetable.NodeID // by lock
	done    [kinds]int         // events that have happened
	ready   Ready
	trace   func(effect string) // nil: nobody listens
	// broken says which promise was broken first; "" if none.
	broken string
}

// lockSpec is a lock that the hosts use. One without parties, permits and class is a mutex.
type lockSpec struct {
	name    string
	parties int
	permits uint64   // of a pool
	counts  []uint64 // how many of them one takes, or what one does with a lock that is served
	class   Class    // of a lock that its home serves
	id      ID
	// lockstep are nodes with one user of the barrier each, as many as there are parties, who wait again
	// and again and never cancel: nobody may end a round that another has not begun. nil: others do.
	lockstep []pagetable.NodeID
}

func mutexSpec(name string) lockSpec { return lockSpec{name: name, id: MutexID(name)} }

func barrierSpec(name string, parties int) lockSpec {
	return lockSpec{name: name, parties: parties, id: BarrierID(name)}
}

func rwSpec(name string) lockSpec {
	return lockSpec{name: name, permits: Everything, counts: []uint64{1, Everything}, id: PoolID(name, Everything)}
}

func semaphoreSpec(name string, permits uint64, counts ...uint64) lockSpec {
	return lockSpec{name: name, permits: permits, counts: counts, id: PoolID(name, permits)}
}

func lockstepSpec(name string, users ...pagetable.NodeID) lockSpec {
	return lockSpec{name: name, parties: len(users), id: BarrierID(name), lockstep: users}
}

// host is a node.
type host struct {
	id    pagetable.NodeID
	m     *Machine
	fate  fate
	view  int    // index of the last view that it has performed
	waits []wait // that ever began here; Waiter w is waits[w-1]
	uses  []use  // by lock
}

// fate is where a host is in its life.
type fate uint8

const (
	up      fate = iota
	leaving      // has surrendered
	parting      // a view without it is ordered, which it has still to perform
	gone         // has left, or was never here
	crashed
)

// alive reports whether the host takes part in events.
func (f fate) alive() bool { return f < gone }

// wait is one goroutine in Lock or Wait.
type wait struct {
	lock  int
	state waitState
	count uint64 // permits, or what is done
	// tenure is the one in which a mutex must serve it, counted as in use.
	tenure int
	// seen is the last phase of which somebody had returned when this wait began at a barrier.
	seen uint64
	// told: a holder knows that somebody waits for the mutex.
	told bool
	// Of a listener: the home knows of it, and what had happened to the condition by then.
	enlisted bool
	heard    signals
}

type waitState uint8

const (
	waiting   waitState = iota
	canceling           // at a barrier
	holding
	over
)

// event is one step of a cluster. What a field means depends on the kind.
type event struct {
	kind  eventKind
	node  pagetable.NodeID // where it happens
	from  pagetable.NodeID // deliver, lose: the sender
	lock  int              // begin
	count uint64           // begin: permits, or what is done with a lock that is served
	w     Waiter           // end, die, cancel
}

type eventKind uint8

const (
	begin     eventKind = iota + 1 // Lock or Wait
	end                            // Unlock
	die                            // Abandon: whoever holds the mutex dies, not its node
	cancel                         // CancelLock or CancelWait
	deliver                        // the first message of a wire arrives
	lose                           // what a crashed node had sent is lost
	perform                        // the node takes up the next view
	crash                          // the node is gone, and a view without it is ordered
	surrender                      // the node begins to leave
	depart                         // a view without the surrendered node is ordered
	join                           // the node, a new one, becomes a member
	move                           // a view with the node as the home of everything is ordered
	kinds
)

func (c *cluster) describe(e event) string {
	switch e.kind {
	case begin:
		return fmt.Sprintf("%v begins to wait for %s", e.node, c.locks[e.lock].name)
	case end:
		return fmt.Sprintf("%v: w%d unlocks", e.node, e.w)
	case die:
		return fmt.Sprintf("%v: w%d dies", e.node, e.w)
	case cancel:
		return fmt.Sprintf("%v: w%d is canceled", e.node, e.w)
	case deliver:
		return fmt.Sprintf("%v→%v arrives: %s", e.from, e.node, c.text(c.wire(e.from, e.node)[0]))
	case lose:
		return fmt.Sprintf("%v→%v: what is under way is lost", e.from, e.node)
	case perform:
		return fmt.Sprintf("%v performs the view of epoch %d", e.node, c.views[c.host(e.node).view+1].Epoch)
	case crash:
		return fmt.Sprintf("%v crashes", e.node)
	case surrender:
		return fmt.Sprintf("%v surrenders", e.node)
	case depart:
		return fmt.Sprintf("%v departs", e.node)
	case join:
		return fmt.Sprintf("%v joins", e.node)
	case move:
		return fmt.Sprintf("%v becomes the home of all locks", e.node)
	}
	return fmt.Sprintf("event %d", e.kind)
}

// maxJoins is how many nodes may join a cluster.
const maxJoins = 4

// newCluster returns n hosts in the first view. Every lock is homed at home.
func newCluster(n int, home pagetable.NodeID, specs ...lockSpec) *cluster {
	c := &cluster{locks: specs, width: pagetable.NodeID(n + maxJoins + 1), past: make([]record, len(specs))}
	c.wires = make([][]Message, c.width*c.width)
	c.ready.own = make([]Message, 0, 8)
	for i := range n {
		c.members = append(c.members, pagetable.NodeID(i+1))
	}
	c.order(slices.Repeat([]pagetable.NodeID{home}, len(specs)), View{})
	for _, id := range c.members {
		c.join(id)
	}
	return c
}

// join makes a host for a node, in the present view.
func (c *cluster) join(id pagetable.NodeID) {
	last := len(c.views) - 1
	c.hosts = append(c.hosts, &host{id: id, m: New(id, c.views[last]), view: last, uses: make([]use, len(c.locks))})
}

// order appends a view of the next epoch.
func (c *cluster) order(homes []pagetable.NodeID, v View) {
	for _, h := range c.hosts {
		if h.fate.alive() && (h.view < len(c.views)-1 || !h.m.Settled()) {
			c.hurry()
		}
	}
	v.Epoch, v.Members = uint64(len(c.views)+1), c.members
	v.Home = func(id ID) pagetable.NodeID {
		return homes[slices.IndexFunc(c.locks, func(l lockSpec) bool { return l.id == id })]
	}
	c.views, c.homes = append(slices.Clip(c.views), v), homes
}

func (c *cluster) host(n pagetable.NodeID) *host { return c.hosts[n-1] }

func (c *cluster) wire(from, to pagetable.NodeID) []Message { return c.wires[from*c.width+to] }

// setWire replaces what is under way. Clones of a cluster share the memory of wires, so that nothing
// may be written behind the end of q.
func (c *cluster) setWire(from, to pagetable.NodeID, q []Message) {
	c.wires[from*c.width+to] = slices.Clip(q)
}

// step performs one event, which must be possible, and checks it.
func (c *cluster) step(e event) {
	defer func() {
		if p := recover(); p != nil {
			c.breaks("panic: %v", p)
		}
	}()
	c.done[e.kind]++
	if e.kind == join {
		c.members = append(slices.Clip(c.members), e.node)
		c.join(e.node)
	}
	h := c.host(e.node)
	switch e.kind {
	case begin:
		c.begin(h, e.lock, e.count)
	case end:
		c.end(h, e.w)
	case die:
		c.die(h, e.w)
	case cancel:
		c.cancel(h, e.w)
	case deliver:
		c.deliver(e.from, h)
	case lose:
		c.setWire(e.from, e.node, nil)
	case perform:
		c.perform(h)
	case crash:
		c.crash(h)
	case surrender:
		h.fate = leaving
		c.run(h, func(r *Ready) { h.m.Surrender(r) })
	case depart:
		h.fate = parting
		c.remove(h.id, View{Left: []pagetable.NodeID{h.id}})
	case move:
		c.order(slices.Repeat([]pagetable.NodeID{h.id}, len(c.locks)), View{})
	}
}

func (c *cluster) begin(h *host, lock int, count uint64) {
	spec := c.locks[lock]
	w := wait{lock: lock, count: count, tenure: h.uses[lock].forwards + 1, seen: c.past[lock].returned}
	h.waits = append(h.waits, w)
	c.past[lock].begun++
	h.uses[lock].begun++
	id := Waiter(len(h.waits))
	c.run(h, func(r *Ready) {
		switch {
		case spec.class != 0:
			c.beginServed(h, spec, id, r)
		case spec.parties > 0:
			h.m.Wait(spec.name, spec.parties, id, r)
		case spec.permits > 0:
			h.m.Take(spec.name, spec.permits, count, id, r)
		default:
			h.m.Lock(spec.name, id, r)
		}
	})
}

func (c *cluster) end(h *host, w Waiter) {
	id := &h.waits[w-1]
	p, lock := &c.past[id.lock], c.locks[id.lock].id
	id.state = over
	spec := c.locks[id.lock]
	switch {
	case spec.permits > 0:
		c.put(h, id, spec)
		return
	case spec.class != 0:
		c.resign(h, w, spec)
		return
	}
	p.holder = 0
	if !id.told {
		p.token += 2 // the holder has unlocked and locked it twice by itself
	}
	c.run(h, func(r *Ready) {
		if !h.m.Return(lock, w, p.token, r) {
			c.breaks("%v: w%d holds %s and can't unlock it", h.id, w, c.locks[id.lock].name)
		}
	})
}

// die ends a possession by the death of its holder.
func (c *cluster) die(h *host, w Waiter) {
	id := &h.waits[w-1]
	p, lock := &c.past[id.lock], c.locks[id.lock].id
	id.state, p.holder, p.untold = over, 0, true
	p.deaths++
	c.run(h, func(r *Ready) {
		if !h.m.Abandon(lock, w, 0, r) {
			c.breaks("%v: w%d holds %s and can't die", h.id, w, c.locks[id.lock].name)
		}
	})
}

// put returns the permits that a wait has brought.
func (c *cluster) put(h *host, w *wait, spec lockSpec) {
	c.past[w.lock].taken -= w.count
	c.run(h, func(r *Ready) {
		if !h.m.Put(spec.name, spec.permits, w.count, r) {
			c.breaks("%v has %d of %s and can't put them back", h.id, w.count, spec.name)
		}
	})
}

func (c *cluster) cancel(h *host, w Waiter) {
	id := &h.waits[w-1]
	spec := c.locks[id.lock]
	if spec.class != 0 {
		c.cancelServed(h, w, spec)
		return
	}
	if spec.parties > 0 {
		id.state = canceling
		c.run(h, func(r *Ready) { h.m.CancelWait(spec.id, spec.parties, w, r) })
		return
	}
	id.state = over
	canceled := false
	if spec.permits > 0 {
		c.run(h, func(r *Ready) { canceled = h.m.CancelTake(spec.name, spec.permits, w, r) })
	} else {
		canceled = h.m.CancelLock(spec.id, w)
	}
	if !canceled {
		c.breaks("%v: w%d waits for %s and can't be canceled", h.id, w, spec.name)
	}
}

func (c *cluster) deliver(from pagetable.NodeID, h *host) {
	q := c.wire(from, h.id)
	msg := q[0]
	c.setWire(from, h.id, q[1:])
	c.run(h, func(r *Ready) {
		if msg.Epoch == h.m.Epoch() {
			c.arrived(from, h, msg)
		}
		h.m.Step(from, msg, r)
	})
}

// perform takes up the next view. A node that parts is gone with it; what it says comes out still.
func (c *cluster) perform(h *host) {
	h.view++
	v := c.views[h.view]
	c.renewed(h)
	c.run(h, func(r *Ready) { h.m.NewEpoch(v, r) })
	if slices.Contains(v.Left, h.id) {
		c.vanish(h, gone)
	}
	c.forget()
}

func (c *cluster) crash(h *host) {
	c.vanish(h, crashed)
	for i := range c.past {
		p := &c.past[i]
		if p.holder == h.id {
			p.holder, p.untold = 0, true
		}
		if h.uses[i].begun > 0 || c.wasHome(h.id, i) {
			p.deaths++
		}
		p.taken -= h.taken(i)
		p.mayBreak = p.mayBreak || h.uses[i].begun > 0 && c.locks[i].class == 0
		p.unsure += h.adding(i)
		c.deaf(h, i)
	}
	c.remove(h.id, View{Lost: []pagetable.NodeID{h.id}})
	c.forget()
}

// wasHome reports whether a node was the home of a lock in a view that somebody may still have.
func (c *cluster) wasHome(n pagetable.NodeID, lock int) bool {
	return slices.ContainsFunc(c.views, func(v View) bool { return v.Home(c.locks[lock].id) == n })
}

// taken returns how many permits of a pool are in use at h.
func (h *host) taken(lock int) (n uint64) {
	for _, w := range h.waits {
		if w.lock == lock && w.state == holding {
			n += w.count
		}
	}
	return n
}

// vanish takes a host out of the events.
func (c *cluster) vanish(h *host, f fate) {
	h.fate = f
	for _, from := range c.hosts {
		c.setWire(from.id, h.id, nil)
	}
}

// remove orders a view without n. What n was the home of is shared out among those who stay.
func (c *cluster) remove(n pagetable.NodeID, v View) {
	c.members = slices.DeleteFunc(slices.Clone(c.members), func(m pagetable.NodeID) bool { return m == n })
	stay := slices.DeleteFunc(slices.Clone(c.members), func(m pagetable.NodeID) bool { return c.host(m).fate != up })
	if len(stay) == 0 {
		stay = c.members
	}
	homes := slices.Clone(c.homes)
	for i, home := range homes {
		if home == n {
			homes[i] = stay[i%len(stay)]
			c.past[i].mayBreak = c.past[i].mayBreak || c.host(n).fate == crashed
		}
	}
	c.order(homes, v)
}

// run has a host take an event and performs the Ready.
func (c *cluster) run(h *host, event func(r *Ready)) {
	r := &c.ready
	clear(r.own[:cap(r.own)])
	event(r)
	var gives, elects []Outgoing
	// Machine.finish empties r.own and leaves the messages in its memory.
	for _, msg := range r.own[:cap(r.own)] {
		if msg.Kind == 0 {
			break
		}
		c.show(h.id, h.id, msg)
		c.arrived(h.id, h, msg)
		switch msg.Kind {
		case Give:
			gives = append(gives, Outgoing{h.id, msg})
		case Elect, Notify:
			elects = append(elects, Outgoing{h.id, msg})
		}
	}
	for _, o := range r.Send {
		switch o.Msg.Kind {
		case Give:
			gives = append(gives, o)
		case Elect, Notify:
			elects = append(elects, o)
		}
		c.send(h.id, o)
	}
	c.checkGiven(gives)
	c.checkElected(elects)
	for _, k := range r.Wake {
		c.woken(h, k)
	}
	c.wanted(h, r.Wanted)
	r.Reset()
}

func (c *cluster) send(from pagetable.NodeID, o Outgoing) {
	c.show(from, o.To, o.Msg)
	if to := c.host(o.To); to.fate.alive() {
		c.setWire(from, o.To, append(c.wire(from, o.To), o.Msg))
	}
}

// show traces a message that is sent.
func (c *cluster) show(from, to pagetable.NodeID, msg Message) {
	if c.trace != nil {
		c.trace(fmt.Sprintf("%v→%v %s", from, to, c.text(msg)))
	}
}

// text returns the message's trace form, with the lock's name instead of its id.
func (c *cluster) text(msg Message) string {
	s := msg.String()
	for _, l := range c.locks {
		s = strings.ReplaceAll(s, " "+l.id.String(), " "+strconv.Quote(l.name))
	}
	return s
}

// deliverable reports whether the first message from a node to another can arrive: a message of a
// later epoch waits for the view of that epoch.
func (c *cluster) deliverable(from, to pagetable.NodeID) bool {
	q := c.wire(from, to)
	return len(q) > 0 && q[0].Epoch <= c.host(to).m.Epoch()
}
