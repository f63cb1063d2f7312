package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// condNode is a condition as a node whose goroutines wait for it, or signal it, sees it.
type condNode struct {
	lock Served
	id   ID
	home pagetable.NodeID // in the view of the machine

	waiters []listener
}

// listener is one who waits for a signal.
type listener struct {
	enlisting Waiter // to be woken when the home knows of it; 0 since then
	w         Waiter // to be woken by the signal
}

func (c *condNode) enlist(l listener, r *Ready) {
	c.waiters = append(c.waiters, l)
	r.send(c.home, Message{Kind: Enlist, ID: c.id, Name: c.lock.Name, Class: c.lock.Class, Waiter: l.w})
}

func (c *condNode) find(w Waiter) int {
	return slices.IndexFunc(c.waiters, func(l listener) bool { return l.w == w || l.enlisting == w })
}

// enlisted says that the home knows of a listener, which may have given up.
func (c *condNode) enlisted(msg Message, r *Ready) {
	if i := c.find(msg.Waiter); i >= 0 {
		r.wake(c.waiters[i].enlisting, 0, OK)
		c.waiters[i].enlisting = 0
	}
}

// notified wakes a listener. If it has given up the signal is for somebody else.
func (c *condNode) notified(msg Message, r *Ready) {
	i := c.find(msg.Waiter)
	if i < 0 {
		c.signal(Signal, r)
		return
	}
	c.waiters = slices.Delete(c.waiters, i, i+1)
	r.wake(msg.Waiter, 0, OK)
}

// signal sends a Signal or a Broadcast.
func (c *condNode) signal(kind Kind, r *Ready) {
	r.send(c.home, Message{Kind: kind, ID: c.id, Name: c.lock.Name, Class: c.lock.Class})
}

// cancel forgets a listener and reports whether w was one.
func (c *condNode) cancel(w Waiter, r *Ready) bool {
	i := c.find(w)
	if i < 0 {
		return false
	}
	r.send(c.home, Message{Kind: Forgo, ID: c.id, Waiter: c.waiters[i].w})
	c.waiters = slices.Delete(c.waiters, i, i+1)
	return true
}

// newEpoch wakes all who listen, since the home forgets them and a signal may be lost. Who listens in the new epoch
// misses none: the home answers only when all members have taken it up.
func (c *condNode) newEpoch(r *Ready) {
	for _, l := range c.waiters {
		if l.enlisting != 0 {
			r.wake(l.enlisting, 0, OK)
		}
		r.wake(l.w, 0, OK)
	}
}

// String shows all of the state, for a panic.
func (c *condNode) String() string {
	return fmt.Sprintf("condition %q home=%v waiters=%v", c.lock.Name, c.home, c.waiters)
}
