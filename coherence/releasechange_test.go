package coherence

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// rview is what every member agrees on, as far as release regions care.
type rview struct {
	epoch uint64
	homes []pagetable.NodeID // of the pages; 0: lost
	gone  []pagetable.NodeID // all nodes that are no members any more
}

// rchange is something that happens to a node and not to a page.
type rchange uint8

const (
	noChange rchange = iota
	// rcrash: the node stops, and a view without it is ordered.
	rcrash
	// rleave: the node hands its pages over to the next one.
	rleave
	// rfinish: it has, and a view without it is ordered.
	rfinish
	// rlearn: the node takes up the latest view.
	rlearn
)

var rchangeNames = [...]string{rcrash: "crashes", rleave: "leaves", rfinish: "has left", rlearn: "learns the view"}

func (c rchange) String() string { return rchangeNames[c] }

func (c *rcluster) latest() rview { return c.views[len(c.views)-1] }

// enabledChanges appends what may happen to nodes. Only those without threads leave, and only those whose threads
// are done crash, but not the home of the locks.
func (c *rcluster) enabledChanges(es []revent) []revent {
	for i := range c.nodes {
		n := pagetable.NodeID(i + 1)
		nd := &c.nodes[i]
		empty, done := c.uses(n)
		switch {
		case nd.status != running:
			continue
		case done && c.crashes > 0 && (empty || !c.isLeaving()):
			es = append(es, revent{thread: -1, to: n, change: rcrash})
		}
		switch {
		case nd.view < len(c.views)-1:
			es = append(es, revent{thread: -1, to: n, change: rlearn})
		case nd.leaving && c.vacated(n):
			es = append(es, revent{thread: -1, to: n, change: rfinish})
		case empty && !nd.leaving && c.leaves > 0 && c.stays(c.successor(n)):
			es = append(es, revent{thread: -1, to: n, change: rleave})
		}
	}
	return es
}

// uses reports whether a node has no threads, or only such as are done.
func (c *rcluster) uses(n pagetable.NodeID) (empty, done bool) {
	if n == lockHome {
		return false, false
	}
	empty, done = true, true
	for _, t := range c.threads {
		if t.node == n {
			empty = false
			done = done && t.next == len(t.program)
		}
	}
	return empty, done
}

// isLeaving reports whether some node is handing over what it homes, to one that must not crash.
func (c *rcluster) isLeaving() bool {
	return slices.ContainsFunc(c.nodes, func(n rnode) bool { return n.leaving && n.status == running })
}

func (c *rcluster) stays(n pagetable.NodeID) bool {
	return c.node(n).status == running && !c.node(n).leaving
}

// successor returns the node that takes over what another one homes. It has threads, so that it stays.
func (c *rcluster) successor(n pagetable.NodeID) pagetable.NodeID {
	return c.threads[int(n)%len(c.threads)].node
}

func (c *rcluster) vacated(n pagetable.NodeID) bool {
	for p := range c.pages {
		if !c.place(n, p).page.Vacated() {
			return false
		}
	}
	return true
}

func (c *rcluster) change(e revent) error {
	n := e.to
	nd := c.node(n)
	switch e.change {
	case rcrash:
		c.crashes--
		nd.status = crashed
		c.crash(n)
		c.order(n, 0)
	case rleave:
		c.leaves--
		nd.leaving = true
		return c.handOver(n)
	case rfinish:
		nd.status = left
		c.order(n, c.successor(n))
	case rlearn:
		return c.learn(n)
	}
	return nil
}

// crash notes which pages may be lost.
func (c *rcluster) crash(n pagetable.NodeID) {
	for p := range c.pages {
		if c.place(n, p).page.release.homed || c.latest().homes[p] == n {
			c.exposed[p] = true
		}
	}
}

// order makes a view without n, whose pages are homed at next from now on. What is under way to n is lost.
func (c *rcluster) order(n, next pagetable.NodeID) {
	v := c.latest()
	v.epoch++
	v.homes = slices.Clone(v.homes)
	for p, home := range v.homes {
		if home == n {
			v.homes[p] = next
		}
	}
	v.gone = append(slices.Clip(v.gone), n)
	c.views = append(slices.Clip(c.views), v)
	c.links = slices.DeleteFunc(c.links, func(l rlink) bool { return l.to == n })
}

func (c *rcluster) handOver(n pagetable.NodeID) error {
	for p := range c.pages {
		pl := c.place(n, p)
		if pl.page.Home() != n {
			pl.page.Surrender(&c.rd)
		} else if !pl.page.HandOff(c.successor(n), &c.rd) {
			return fmt.Errorf("%v can't hand over", &pl.page)
		}
		if err := c.effects(pl, nil); err != nil {
			return err
		}
	}
	return nil
}

// learn takes up the latest view. What is under way from nodes that have crashed is dropped.
func (c *rcluster) learn(n pagetable.NodeID) error {
	v := c.latest()
	c.node(n).view = len(c.views) - 1
	c.node(n).notices.Forget(v.gone)
	if c.watched != nil {
		c.watched.orders[n-1].NewEpoch(n, v.epoch)
	}
	var lost []rpacket
	c.links = slices.DeleteFunc(c.links, func(l rlink) bool {
		if l.to != n || c.node(l.from).status != crashed {
			return false
		}
		lost = append(lost, l.packets...)
		return true
	})
	for p := range c.pages {
		pl := c.place(n, p)
		pl.page.NewEpoch(View{Epoch: v.epoch}, v.homes[p], &c.rd)
		if err := c.effects(pl, nil); err != nil {
			return err
		}
	}
	return c.grantAgain(lost)
}

// grantAgain has the home of the locks give on those that were under way from a node that has crashed.
func (c *rcluster) grantAgain(lost []rpacket) error {
	for _, p := range lost {
		if p.sync != grantLock {
			continue
		}
		if p.To == lockHome {
			return c.acquired(p.thread)
		}
		p.From = lockHome
		p.notices = c.node(lockHome).notices.Tell(p.To, nil)
		p.time = c.timeOf(lockHome, p.lock)
		c.postSync(p)
	}
	return nil
}

// fail ends the accesses of threads that wait for a page that is lost.
func (c *rcluster) fail(pl *rplace) error {
	page := int(pl.page.id.Index())
	if !c.exposed[page] {
		return fmt.Errorf("%v is lost, and no home of it has crashed", &pl.page)
	}
	c.census.lost++
	for i := range c.threads {
		t := &c.threads[i]
		if t.state == faulting && t.node == pl.page.self && t.program[t.next].page == page {
			t.state = ready
			t.next++
		}
	}
	return nil
}
