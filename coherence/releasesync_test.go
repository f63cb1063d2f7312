package coherence

import (
	"slices"

	"pagemesh/pagetable"
)

// This file has what threads of an rcluster synchronize by: locks, which go straight from holder to holder, and a barrier,
// which has a home.

func (c *rcluster) lock(i, lock int) error {
	t, l := &c.threads[i], &c.locks[lock]
	t.state = blocked
	if l.held {
		l.queue = append(l.queue, i)
		return nil
	}
	return c.grant(i, lock)
}

// grant gives a free lock to a thread, with the notices of the node where it was held last.
func (c *rcluster) grant(i, lock int) error {
	t, l := &c.threads[i], &c.locks[lock]
	from := l.last
	l.held, l.last = true, t.node
	switch {
	case from == 0 || from == t.node:
		return c.acquired(i)
	case c.node(from).status == running:
	case t.node == c.lockHome(c.latest()):
		return c.regained(i)
	default:
		from = c.lockHome(c.latest())
	}
	c.postSync(rpacket{
		Message: Message{From: from, To: t.node}, sync: grantLock, thread: i,
		lock: uint64(lock), time: c.timeOf(from, uint64(lock)),
	})
	return nil
}

// regained gives the home of the locks one back, in the view without the node that had it.
func (c *rcluster) regained(i int) error {
	if err := c.learn(c.threads[i].node); err != nil {
		return err
	}
	return c.acquired(i)
}

// acquired goes on with a thread that has its lock, or leaves the barrier.
func (c *rcluster) acquired(i int) error {
	t := &c.threads[i]
	op := t.program[t.next]
	lock := uint64(barrierLock)
	if op.kind == rlockOp {
		lock = uint64(op.word)
	}
	if err := c.meets(t.node, lock); err != nil {
		return err
	}
	c.historyAcquires(i, op)
	t.state = ready
	t.next++
	for _, n := range c.node(t.node).notices.Acquire(nil) {
		pl := c.place(t.node, int(n.Page.Index()))
		if pl.page.release.following.news > 0 && n.Version <= pl.page.release.version {
			c.census.spared++
		}
		pl.page.Invalidate(n.Version, &c.rd)
		if err := c.effects(pl, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *rcluster) historyAcquires(i int, op rop) {
	for _, p := range c.parties(i) {
		if op.kind == rlockOp {
			p.h.acquire(p.index, p.h.locks[op.word])
		} else {
			p.h.acquire(p.index, p.h.opened)
		}
	}
}

// party is a thread in the eyes of a history.
type party struct {
	h     *history
	index int
}

func (c *rcluster) parties(i int) []party {
	ps := []party{{&c.history, i}}
	if c.watched != nil {
		ps = append(ps, party{&c.watched.nodal, int(c.threads[i].node) - 1})
	}
	return ps
}

// release ends the interval of a thread's node. released goes on once the homes have it, or early.
func (c *rcluster) release(i int) (err error) {
	t := &c.threads[i]
	n := c.node(t.node)
	t.state = releasing
	t.interval, err = c.closeInterval(t.node)
	if err != nil || n.intervals.Settled(t.interval) || !n.intervals.Early(n.shuns) {
		return err
	}
	c.census.early++
	return c.released(i)
}

func (c *rcluster) closeInterval(n pagetable.NodeID) (uint32, error) {
	number, pages := c.node(n).intervals.Close()
	for _, id := range pages {
		if err := c.flush(c.place(n, int(id.Index())), number); err != nil {
			return 0, err
		}
	}
	return number, nil
}

func (c *rcluster) released(i int) error {
	t := &c.threads[i]
	op := t.program[t.next]
	if op.kind == rbarrier {
		t.state = blocked
		c.leavesTime(t.node, barrierLock)
		return c.arriveFrom(i)
	}
	l := &c.locks[op.word]
	if op.word != ownLock {
		c.leavesTime(t.node, uint64(op.word))
	}
	for _, p := range c.parties(i) {
		p.h.release(p.index, p.h.locks[op.word])
	}
	l.held = false
	if t.state = settling; op.word == ownLock { // of which this machine knows nothing
		t.state = ready
		t.next++
	}
	if len(l.queue) == 0 {
		return nil
	}
	next := l.queue[0]
	l.queue = l.queue[1:]
	return c.grant(next, op.word)
}

// firstLockHome never crashes, but may leave.
const firstLockHome pagetable.NodeID = 1

// lockHome returns who keeps the barrier in a view, and gives on the locks of nodes that have crashed.
func (c *rcluster) lockHome(v rview) pagetable.NodeID {
	if slices.Contains(v.gone, firstLockHome) {
		return c.successor(firstLockHome)
	}
	return firstLockHome
}

// arriveFrom lets a thread arrive at the barrier, as far as its node knows where that is.
func (c *rcluster) arriveFrom(i int) error {
	n := c.threads[i].node
	home := c.lockHome(c.views[c.node(n).view])
	if n == home {
		return c.arrive(i)
	}
	c.postSync(rpacket{
		Message: Message{From: n, To: home}, sync: arriveBarrier, thread: i,
		lock: barrierLock, time: c.timeOf(n, barrierLock),
	})
	return nil
}

// arrive counts a thread at the barrier, and lets all go when the last one has come.
func (c *rcluster) arrive(i int) error {
	for _, p := range c.parties(i) {
		p.h.release(p.index, p.h.arrived)
	}
	if c.arrived = append(c.arrived, i); len(c.arrived) < len(c.threads) {
		return nil
	}
	for _, p := range c.parties(i) {
		copy(p.h.opened, p.h.arrived)
	}
	all, home := c.arrived, c.lockHome(c.latest())
	c.arrived = nil
	for _, i := range all {
		to := c.threads[i].node
		if to == home {
			if err := c.acquired(i); err != nil {
				return err
			}
			continue
		}
		c.postSync(rpacket{
			Message: Message{From: home, To: to}, sync: openBarrier, thread: i,
			lock: barrierLock, time: c.timeOf(home, barrierLock),
		})
	}
	return nil
}

// postSync puts a word of synchronization under way, when what happened before may be told.
func (c *rcluster) postSync(p rpacket) {
	n := c.node(p.From)
	p.Epoch, p.interval = c.views[n.view].epoch, n.intervals.Closed()
	if p.sync == grantLock && p.From == c.lockHome(c.latest()) {
		p.Epoch = c.latest().epoch // it may have come back from a node that crashed
	}
	n.held = append(slices.Clip(n.held), p)
	c.postHeld(p.From)
}

// postHeld puts the words of a node under way that are not held up any more. Those to one node stay in order.
func (c *rcluster) postHeld(from pagetable.NodeID) {
	n := c.node(from)
	held := n.held
	n.held = nil
	var holdsUp pagetable.CopySet
	for _, p := range held {
		switch {
		case c.node(p.To).status == left:
			c.refuse([]rpacket{p})
		case holdsUp.Has(p.To) || !n.intervals.Clear(p.To, p.interval):
			holdsUp.Add(p.To)
			n.held = append(n.held, p)
			c.census.held++
		default:
			p.notices = n.notices.Tell(p.To, nil)
			c.post(p)
		}
	}
}
