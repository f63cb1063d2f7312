package coherence

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// event is one thing that can happen to a cluster. Its String is the line of a scenario that makes it
// happen.
type event struct {
	kind    eventKind
	node    pagetable.NodeID // where it happens, or whom it is about
	from    pagetable.NodeID // deliver only
	message Kind             // deliver only
	page    int
	op      op  // access and unpin only
	view    int // install only
}

type eventKind uint8

const (
	// deliver: the first packet from one node arrives at another.
	deliver eventKind = iota
	// access: a program needs the page.
	access
	// unpin: a program gives back what op has pinned.
	unpin
	// crash: the node stops.
	crash
	// lose: a view without the crashed node is ordered.
	lose
	// install: the node learns a later view.
	install
	// leave: the node begins to leave.
	leave
	// vacate: the leaving node tries to give the page away.
	vacate
	// retrieve: it first has to take the page for writing.
	retrieve
	// finish: it has vacated every page, and a view without it is ordered.
	finish
	// abandon: its successor is lost, so it stops.
	abandon
	// join: a new node becomes a member. The others learn it later.
	join
)

var eventNames = [...]string{
	crash: "crash", lose: "lost", install: "learn", leave: "leave", vacate: "vacate",
	retrieve: "retrieve", finish: "finish", abandon: "abandon", join: "join",
}

func (e event) String() string {
	switch e.kind {
	case deliver:
		return fmt.Sprintf("%v→%v %v", e.from, e.node, e.message)
	case access:
		return fmt.Sprintf("%v %v %d", e.node, e.op, e.page)
	case unpin:
		return fmt.Sprintf("%v un%v %d", e.node, e.op, e.page)
	case vacate, retrieve:
		return fmt.Sprintf("%v %v %d", e.node, eventNames[e.kind], e.page)
	case install:
		return fmt.Sprintf("%v learn %d", e.node, e.view)
	}
	return fmt.Sprintf("%v %v", e.node, eventNames[e.kind])
}

// do performs one event that is possible. The error says which promise was broken.
func (c *cluster) do(e event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	c.suspect = e.page
	if err := c.perform(e); err != nil {
		return err
	}
	return c.checkAfter(e)
}

func (c *cluster) perform(e event) error {
	switch e.kind {
	case deliver:
		return c.deliver(e)
	case access:
		c.spend(e)
		return c.access(e.node, e.page, e.op)
	case unpin:
		return c.unpin(e.node, e.page, e.op.access())
	case crash:
		c.crashes--
		c.crash(e.node)
	case abandon:
		c.crash(e.node)
	case lose:
		c.lose(e.node)
	case install:
		return c.install(e.node, e.view)
	case leave:
		return c.leave(e.node)
	case vacate:
		return c.vacate(e.node, e.page)
	case retrieve:
		c.at(e.node, e.page).vacate = vacateNext
		return c.access(e.node, e.page, fetch)
	case finish:
		return c.finish(e.node)
	case join:
		return c.join(e.node)
	}
	return nil
}

func (c *cluster) deliver(e event) error {
	p := c.take(e.from, e.node)
	if c.node(e.node).leaving && p.Kind.Opens() {
		c.note("%v drops it", e.node)
		return nil
	}
	pl := c.touch(e.node, int(p.Page.Index()))
	return c.step(pl, p)
}

// step brings a message to its page. A pin may keep it there, or the page may ignore it.
func (c *cluster) step(pl *place, p packet) error {
	c.census.kinds[p.Kind]++
	if p.Epoch > pl.page.Epoch() {
		return fmt.Errorf("%v at epoch %d", p, pl.page.Epoch())
	}
	before := pl.page.Delayed()
	pl.page.Step(p.Message, &c.rd)
	if !before && pl.page.Delayed() {
		c.census.deferred++
		c.note("%v keeps it until the pin ends", p.To)
	}
	return c.effects(pl, &p)
}

// spend takes an access from those that the explorer may start.
func (c *cluster) spend(e event) {
	if pl := c.at(e.node, e.page); pl.todo[e.op] > 0 {
		pl.todo[e.op]--
	}
}

func (c *cluster) access(n pagetable.NodeID, page int, o op) error {
	pl := c.touch(n, page)
	if o == evict {
		pl.page.Evict(&c.rd)
		return c.effects(pl, nil)
	}
	pl.waiting[o]++
	pl.page.Fault(o.access(), &c.rd)
	return c.effects(pl, nil)
}

func (c *cluster) unpin(n pagetable.NodeID, page int, a pagetable.Access) error {
	pl := c.at(n, page)
	pl.page.Unpin(a, &c.rd)
	return c.effects(pl, nil)
}

// effects performs a Ready in the order that doc.go numbers, and then what the node tells itself.
func (c *cluster) effects(pl *place, cause *packet) error {
	c.local = c.local[:0]
	if err := c.effect(pl, cause); err != nil {
		return err
	}
	for i := 0; i < len(c.local); i++ {
		m := c.local[i]
		c.census.kinds[m.Kind]++
		pl.page.Step(m, &c.rd)
		if err := c.effect(pl, &packet{Message: m}); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) effect(pl *place, cause *packet) error {
	rd := &c.rd
	if err := c.put(pl, rd.Install, cause); err != nil {
		return err
	}
	if rd.Before != rd.After && c.log != nil {
		c.log("%v has %v, had %v", pl.page.self, rd.After, rd.Before)
	}
	for _, m := range rd.Send {
		if err := c.send(pl, m); err != nil {
			return err
		}
	}
	if rd.Woken > rd.After {
		return fmt.Errorf("%v wakes those who need %v", &pl.page, rd.Woken)
	}
	if err := c.wake(pl, rd.Woken); err != nil {
		return err
	}
	if rd.Lost {
		return c.fail(pl)
	}
	return nil
}

// put installs what came with cause.
func (c *cluster) put(pl *place, content Content, cause *packet) error {
	switch content {
	case Zeros:
		pl.frame = 0
	case Bytes:
		if cause == nil || cause.Content != Bytes || cause.From == cause.To {
			return fmt.Errorf("%v installs bytes that did not come", &pl.page)
		}
		pl.frame = cause.version
	}
	return nil
}

func (c *cluster) send(pl *place, m Message) error {
	n := pl.page.self
	switch {
	case m.From != n || m.Page != pl.page.id || m.Epoch != pl.page.epoch || m.To == 0:
		return fmt.Errorf("%v sends %v", &pl.page, m)
	case m.Content == Bytes && c.rd.After == pagetable.WriteAccess:
		return fmt.Errorf("%v sends bytes that it may still write: %v", &pl.page, m)
	case m.To == n && m.Content == Bytes:
		return fmt.Errorf("%v sends bytes to itself: %v", &pl.page, m)
	}
	p := packet{Message: m}
	if m.Content == Bytes {
		p.version = pl.frame
	}
	if c.log != nil {
		c.log("%v", p)
	}
	if m.Kind == Grant && !c.isRunning(m.To) {
		c.memory[m.Page.Index()].exposed = true
	}
	if m.To == n {
		c.local = append(c.local, m)
	} else {
		c.post(p)
	}
	return nil
}

// wake lets the waiting faults that a right serves make their one access each.
func (c *cluster) wake(pl *place, right pagetable.Access) error {
	for o := range opEnd {
		for pl.waiting[o] > 0 && right.Allows(o.access()) {
			pl.waiting[o]--
			if err := c.serve(pl, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// serve makes one access.
func (c *cluster) serve(pl *place, o op) error {
	mem := &c.memory[pl.page.id.Index()]
	n := pl.page.self
	switch o {
	case read:
		c.note("%v reads v%d", n, pl.frame)
	case write:
		mem.latest++
		pl.frame = mem.latest
		c.note("%v writes v%d", n, pl.frame)
		return nil
	case pinRead, pinWrite:
		if !pl.page.Pin(o.access()) {
			return fmt.Errorf("%v gives a woken fault no pin", &pl.page)
		}
		c.note("%v pins v%d", n, pl.frame)
		if c.pinned != nil {
			c.pinned(event{kind: unpin, node: n, page: int(pl.page.id.Index()), op: o})
		}
	case fetch:
		return nil
	}
	return mem.sees(pl)
}

// sees checks that what the node can read is the last write.
func (m *memory) sees(pl *place) error {
	if pl.frame != m.latest {
		return fmt.Errorf("%v can be read as version %d, the last write was %d", &pl.page, pl.frame, m.latest)
	}
	return nil
}

// fail ends the waiting faults.
func (c *cluster) fail(pl *place) error {
	c.note("%v is told that the page is lost", pl.page.self)
	pl.waiting = counts{}
	c.census.lost++
	if !c.memory[pl.page.id.Index()].exposed {
		return fmt.Errorf("%v is lost, but no crash hit a node that had it", &pl.page)
	}
	return nil
}

func (c *cluster) crash(n pagetable.NodeID) {
	for page := range c.pages {
		if c.holds(n, page) {
			c.memory[page].exposed = true
		}
	}
	c.node(n).status = crashed
	c.cut(func(l link) bool { return l.to == n })
}

// holds reports whether a page may be lost with a node: it is the home, or has the page, or the page
// is under way to it or from it.
func (c *cluster) holds(n pagetable.NodeID, page int) bool {
	pl := c.look(n, page)
	if pl.live && (pl.page.Access() != pagetable.NoAccess || pl.page.Home() == n) {
		return true
	}
	for _, l := range c.links {
		for _, p := range l.packets {
			if (l.from == n || l.to == n) && p.Access != pagetable.NoAccess && int(p.Page.Index()) == page &&
				(p.Kind == Grant || p.Kind == Handoff) {
				return true
			}
		}
	}
	return c.home(page) == n
}

// lose orders a view without n. If n was the coordinator, the first node that runs takes its place.
func (c *cluster) lose(n pagetable.NodeID) {
	v := c.latest()
	for page := range c.pages {
		c.memory[page].exposed = c.memory[page].exposed || c.home(page) == n
	}
	if v.Coordinator == n {
		first := slices.IndexFunc(v.Members, func(m Member) bool { return c.isRunning(m.Node) })
		v = v.TakeOver(v.Members[first].Node, v.Term+1)
	}
	c.order(v.Lose([]pagetable.NodeID{n}))
}

// install gives a node a later view, as package dsm does. What still comes from a node that is gone is
// dropped; one that is not known yet has joined in a view of this epoch or a later one. Each page is
// told.
func (c *cluster) install(n pagetable.NodeID, view int) error {
	old, v := c.viewOf(n), c.views[view]
	c.node(n).view = view
	c.cut(func(l link) bool {
		return l.to == n && !v.Has(l.from) && l.packets[0].Epoch < v.Epoch
	})
	if v.Epoch == old.Epoch {
		return nil
	}
	for page := range c.pages {
		if !c.look(n, page).live {
			continue
		}
		c.suspect = page
		pl := c.at(n, page)
		pl.page.NewEpoch(v.View, v.homes[page], &c.rd)
		if err := c.effects(pl, nil); err != nil {
			return err
		}
	}
	return nil
}

// leave begins a departure: the node's program has ended, and the node takes no requests any more.
func (c *cluster) leave(n pagetable.NodeID) error {
	v, err := c.latest().StartLeave(n)
	if err != nil {
		return err
	}
	c.order(v)
	c.leaves--
	c.node(n).leaving = true
	return c.install(n, len(c.views)-1)
}

// vacate is what a leaving node does with each page until it succeeds.
func (c *cluster) vacate(n pagetable.NodeID, page int) error {
	pl := c.at(n, page)
	pl.waiting = counts{}
	me, _ := c.viewOf(n).Member(n)
	if pl.page.Home() != n {
		pl.page.Surrender(&c.rd)
	} else if !pl.page.HandOff(me.Successor, &c.rd) {
		pl.vacate = fetchNext
		c.note("%v has to take the page first", n)
		return nil
	}
	pl.vacate = vacateBegun
	return c.effects(pl, nil)
}

// finish orders the view without a node that has vacated every page. What others still send to it goes
// nowhere.
func (c *cluster) finish(n pagetable.NodeID) error {
	v, err := c.latest().FinishLeave(n)
	if err != nil {
		return err
	}
	c.order(v)
	c.node(n).status = left
	c.cut(func(l link) bool { return l.to == n })
	return nil
}

// join makes n, whose id is the next one, a member.
func (c *cluster) join(n pagetable.NodeID) error {
	v, next, err := c.latest().Reserve()
	if err != nil || next != n {
		return fmt.Errorf("%v joins as %v: %v", n, next, err)
	}
	c.order(v.Join(Member{Node: n, Addr: n.String()}))
	c.addNode()
	if len(c.joins) > 0 {
		c.give(n, c.joins[0])
		c.joins = c.joins[1:]
	}
	return nil
}

// note writes a line of a trace.
func (c *cluster) note(format string, args ...any) {
	if c.log != nil {
		c.log(format, args...)
	}
}
