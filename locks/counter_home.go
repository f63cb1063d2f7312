package locks

import (
	"cmp"
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// counterHome is a counter as its home sees it.
type counterHome struct {
	lock   Served
	id     ID
	value  int64
	broken bool // an earlier home is lost, and the value with it; for good

	batches  []batch    // the last one of every member that has added, by ascending id
	watchers []watching // first come, first told; none of them has reached what it waits for
}

// batch is what a home keeps of the last batch of additions of a node: if it comes again, because its answer
// was cut off by a new epoch, it gets the same one and doesn't count.
type batch struct {
	node   pagetable.NodeID
	number uint64
	value  int64 // of the counter with it
}

// watching is a watcher of a node.
type watching struct {
	node pagetable.NodeID
	watcher
}

// last returns the entry of a node's last batch, and makes one of number 0 if there is none.
func (c *counterHome) last(n pagetable.NodeID) *batch {
	i, ok := slices.BinarySearchFunc(c.batches, n, func(b batch, n pagetable.NodeID) int { return cmp.Compare(b.node, n) })
	if !ok {
		c.batches = slices.Insert(c.batches, i, batch{node: n})
	}
	return &c.batches[i]
}

// add counts a batch, once.
func (c *counterHome) add(from pagetable.NodeID, msg Message, r *Ready) {
	if c.broken {
		r.send(from, Message{Kind: Added, ID: c.id, Number: msg.Number, Reason: Lost})
		return
	}
	b := c.last(from)
	again := msg.Number == b.number
	switch {
	case msg.Number == b.number+1:
		c.value += msg.Value
		b.number, b.value = msg.Number, c.value
	case !again || b.number == 0:
		impossible(from, msg, c)
	}
	r.send(from, Message{Kind: Added, ID: c.id, Number: b.number, Value: b.value})
	if !again {
		c.tell(r)
	}
}

// tell answers the watchers for whom the present value will do.
func (c *counterHome) tell(r *Ready) {
	c.watchers = slices.DeleteFunc(c.watchers, func(w watching) bool { return c.answer(w, r) })
}

// answer answers a watcher if the present value will do for it.
func (c *counterHome) answer(w watching, r *Ready) bool {
	m := Message{Kind: Reached, ID: c.id, Waiter: w.w, Value: c.value}
	switch {
	case c.broken:
		m.Value, m.Reason = 0, Lost
	case c.value < w.low || c.value > w.high:
		return false
	}
	r.send(w.node, m)
	return true
}

// watch answers a watcher, now or later.
func (c *counterHome) watch(from pagetable.NodeID, msg Message, r *Ready) {
	w := watching{from, watcher{msg.Waiter, msg.Low, msg.High}}
	if !c.answer(w, r) {
		c.watchers = append(c.watchers, w)
	}
}

// unwatch forgets a watcher that has given up, unless it is answered already.
func (c *counterHome) unwatch(from pagetable.NodeID, msg Message) {
	c.watchers = slices.DeleteFunc(c.watchers, func(w watching) bool { return w.node == from && w.w == msg.Waiter })
}

// newEpoch forgets the watchers, who ask again, and nodes that are gone. What they have added stays.
func (c *counterHome) newEpoch(v *View) {
	c.watchers = nil
	c.batches = slices.DeleteFunc(c.batches, func(b batch) bool {
		return slices.Contains(v.Left, b.node) || slices.Contains(v.Lost, b.node)
	})
}

// handOver tells the counter's next home what this one knows.
func (c *counterHome) handOver(to pagetable.NodeID, r *Ready) {
	m := Message{Kind: HandCounter, ID: c.id, Name: c.lock.Name, Class: c.lock.Class, Value: c.value}
	if c.broken {
		m.Reason = Lost
	}
	r.send(to, m)
	for _, b := range c.batches {
		r.send(to, Message{
			Kind: HandAdder, ID: c.id, Name: c.lock.Name, Class: c.lock.Class,
			Node: b.node, Number: b.number, Value: b.value,
		})
	}
}

// adopt takes up what the home before has handed over.
func (c *counterHome) adopt(msg Message) {
	if msg.Kind == HandCounter {
		c.value, c.broken = msg.Value, msg.Reason == Lost
		return
	}
	*c.last(msg.Node) = batch{msg.Node, msg.Number, msg.Value}
}

// String shows all of the state, for a panic.
func (c *counterHome) String() string {
	return fmt.Sprintf("%v %q value=%d broken=%v batches=%v watchers=%v",
		c.lock.Class, c.lock.Name, c.value, c.broken, c.batches, c.watchers)
}
