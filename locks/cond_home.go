package locks

import (
	"slices"

	"pagemesh/pagetable"
)

// condHome is a condition as its home sees it: those who listen, first come, first served.
type condHome struct {
	lock  Served
	id    ID
	queue []candidate
}

// enlist notes a listener, and says so: only then does it let others change what it waits for.
func (c *condHome) enlist(from pagetable.NodeID, msg Message, r *Ready) {
	c.queue = append(c.queue, candidate{from, msg.Waiter})
	r.send(from, Message{Kind: Enlisted, ID: c.id, Waiter: msg.Waiter})
}

// notify wakes the first count listeners, or all if they are fewer.
func (c *condHome) notify(count int, r *Ready) {
	count = min(count, len(c.queue))
	for _, q := range c.queue[:count] {
		r.send(q.node, Message{Kind: Notify, ID: c.id, Waiter: q.waiter})
	}
	c.queue = slices.Delete(c.queue, 0, count)
}

// forgo forgets a listener that has given up, unless it is notified already.
func (c *condHome) forgo(from pagetable.NodeID, msg Message) {
	c.queue = slices.DeleteFunc(c.queue, func(q candidate) bool { return q.node == from && q.waiter == msg.Waiter })
}
