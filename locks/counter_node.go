package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// counterNode is a counter as a node that uses it sees it.
//
// At most one batch of additions is under way. Those that come meanwhile make the next one, so that many
// goroutines that count at once cost a message now and then.
type counterNode struct {
	lock Served
	id   ID
	home pagetable.NodeID // in the view of the machine

	number   uint64    // of the last batch; the home counts each number once
	sent     []adder   // the batch that is under way, in the order in which they came
	next     []adder   // the batch after that
	watchers []watcher // whose Watch is under way
}

// adder is a waiter for its addition.
type adder struct {
	w     Waiter
	delta int64
}

// watcher is a waiter for a value from low to high.
type watcher struct {
	w         Waiter
	low, high int64
}

func (c *counterNode) add(a adder, r *Ready) {
	c.next = append(c.next, a)
	c.sendNext(r)
}

// sendNext sends the next batch, if none is under way.
func (c *counterNode) sendNext(r *Ready) {
	if len(c.sent) > 0 || len(c.next) == 0 {
		return
	}
	c.sent, c.next = c.next, c.sent
	c.number++
	c.send(r)
}

func (c *counterNode) send(r *Ready) {
	r.send(c.home, Message{
		Kind: Add, ID: c.id, Name: c.lock.Name, Class: c.lock.Class, Number: c.number, Value: sum(c.sent),
	})
}

func sum(batch []adder) (s int64) {
	for _, a := range batch {
		s += a.delta
	}
	return s
}

// added ends the waits of a batch. Each gets the value that the counter had with it and those before it.
func (c *counterNode) added(from pagetable.NodeID, msg Message, r *Ready) {
	if len(c.sent) == 0 || msg.Number != c.number {
		impossible(from, msg, c)
	}
	value := msg.Value - sum(c.sent)
	for _, a := range c.sent {
		value += a.delta
		r.wakeValue(a.w, value, msg.Reason)
	}
	c.sent = c.sent[:0]
	c.sendNext(r)
}

// cancelAdd takes an addition back and reports whether it could: not if it is under way.
func (c *counterNode) cancelAdd(w Waiter) bool {
	i := slices.IndexFunc(c.next, func(a adder) bool { return a.w == w })
	if i < 0 {
		return false
	}
	c.next = slices.Delete(c.next, i, i+1)
	return true
}

func (c *counterNode) watch(w watcher, r *Ready) {
	c.watchers = append(c.watchers, w)
	c.ask(w, r)
}

func (c *counterNode) ask(w watcher, r *Ready) {
	r.send(c.home, Message{
		Kind: Watch, ID: c.id, Name: c.lock.Name, Class: c.lock.Class, Waiter: w.w, Low: w.low, High: w.high,
	})
}

// reached ends the wait of a watcher, unless it has given up.
func (c *counterNode) reached(msg Message, r *Ready) {
	if c.forget(msg.Waiter) {
		r.wakeValue(msg.Waiter, msg.Value, msg.Reason)
	}
}

// cancelWatch forgets a watcher and reports whether it was one.
func (c *counterNode) cancelWatch(w Waiter, r *Ready) bool {
	if !c.forget(w) {
		return false
	}
	r.send(c.home, Message{Kind: Forgo, ID: c.id, Waiter: w})
	return true
}

func (c *counterNode) forget(w Waiter) bool {
	i := slices.IndexFunc(c.watchers, func(o watcher) bool { return o.w == w })
	if i < 0 {
		return false
	}
	c.watchers = slices.Delete(c.watchers, i, i+1)
	return true
}

// idle reports whether nobody at this node waits.
func (c *counterNode) idle() bool { return len(c.sent)+len(c.next)+len(c.watchers) == 0 }

// newEpoch reports the counter: the home may not know that there is something that it should know.
func (c *counterNode) newEpoch(home pagetable.NodeID, r *Ready) {
	c.home = home
	r.send(home, Message{Kind: ReportCounter, ID: c.id, Name: c.lock.Name, Class: c.lock.Class})
}

// askAgain repeats what may not have arrived, or been answered, before the epoch began.
func (c *counterNode) askAgain(r *Ready) {
	if len(c.sent) > 0 {
		c.send(r)
	}
	for _, w := range c.watchers {
		c.ask(w, r)
	}
}

// String shows all of the state, for a panic.
func (c *counterNode) String() string {
	return fmt.Sprintf("%v %q home=%v number=%d sent=%v next=%v watchers=%v",
		c.lock.Class, c.lock.Name, c.home, c.number, c.sent, c.next, c.watchers)
}
