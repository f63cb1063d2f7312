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
	// raccount: all have, and say of which locks they know; what was under way between locks is sent again.
	raccount
)

var rchangeNames = [...]string{
	rcrash: "crashes", rleave: "goes on with leaving", rfinish: "has left", rlearn: "learns the view", raccount: "hears all accounts",
}

// leaveStage is how far a node has come with leaving.
type leaveStage uint8

const (
	stays leaveStage = iota
	// announced: it has asked the others whether they know, so that nobody relies on it any more.
	announced
	// handed: it has handed over its pages.
	handed
	// parting: it has asked again, so that the others have what it sent.
	parting
)

func (c rchange) String() string { return rchangeNames[c] }

func (c *rcluster) latest() rview { return c.views[len(c.views)-1] }

// enabledChanges appends what may happen to nodes. Only those without threads leave, one at a time, and only those
// whose threads are done crash, but not the home of the locks.
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
		case nd.stage == parting && c.allHeard(n):
			es = append(es, revent{thread: -1, to: n, change: rfinish})
		case nd.stage == announced && c.allHeard(n), nd.stage == handed && c.vacated(n),
			nd.stage == stays && empty && c.leaves > 0 && !c.isLeaving() && c.stays(c.successor(n)):
			es = append(es, revent{thread: -1, to: n, change: rleave})
		}
	}
	if len(c.refused) > 0 && c.accounted() {
		es = append(es, revent{thread: -1, to: c.lockHome(c.latest()), change: raccount})
	}
	return es
}

// allHeard reports whether all members have answered a node that leaves.
func (c *rcluster) allHeard(n pagetable.NodeID) bool {
	for i := range c.nodes {
		if other := pagetable.NodeID(i + 1); other != n && c.nodes[i].status == running && !c.node(n).heard.Has(other) {
			return false
		}
	}
	return true
}

// accounted reports whether all members have given account of their locks in the latest view.
func (c *rcluster) accounted() bool {
	return !slices.ContainsFunc(c.nodes, func(n rnode) bool {
		return n.status == running && (n.view < len(c.views)-1 || !n.intervals.Accountable())
	})
}

// uses reports whether a node has no threads, and whether it is of no more use: its threads are done, if it has any,
// and it is not the home of the locks.
func (c *rcluster) uses(n pagetable.NodeID) (empty, done bool) {
	empty, done = true, n != c.lockHome(c.latest())
	for _, t := range c.threads {
		if t.node == n {
			empty = false
			done = done && t.next == len(t.program) && len(c.node(n).intervals.closing) == 0
		}
	}
	return empty, done
}

// isLeaving reports whether some node is handing over what it homes, to one that must not crash.
func (c *rcluster) isLeaving() bool {
	return slices.ContainsFunc(c.nodes, func(n rnode) bool { return n.stage != stays && n.status == running })
}

func (c *rcluster) stays(n pagetable.NodeID) bool {
	return c.node(n).status == running && c.node(n).stage == stays
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
		return c.leave(n)
	case rfinish:
		nd.status = left
		for _, l := range c.links {
			if l.to == n {
				c.refuse(l.packets)
			}
		}
		c.order(n, c.successor(n))
	case rlearn:
		return c.learn(n)
	case raccount:
		return c.sayAgain()
	}
	return nil
}

// leave takes a node one stage further.
func (c *rcluster) leave(n pagetable.NodeID) error {
	nd := c.node(n)
	nd.stage++
	switch nd.stage {
	case announced:
		c.leaves--
	case handed:
		nd.leaving = true
		return c.handOver(n)
	}
	nd.heard = pagetable.CopySet{}
	for i := range c.nodes {
		if to := pagetable.NodeID(i + 1); to != n {
			c.post(rpacket{Message: Message{From: n, To: to, Epoch: c.views[nd.view].epoch}, sync: askLeaver})
		}
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

// learn takes up the latest view. What is under way from nodes that have crashed is dropped, and words of
// synchronization that wait here are void.
func (c *rcluster) learn(n pagetable.NodeID) error {
	v := c.latest()
	nd := c.node(n)
	nd.view = len(c.views) - 1
	nd.notices.Forget(v.gone)
	if c.watched != nil {
		c.watched.orders[n-1].NewEpoch(n, v.epoch)
	}
	c.links = slices.DeleteFunc(c.links, func(l rlink) bool {
		if l.to != n || c.node(l.from).status != crashed {
			return false
		}
		c.refuse(l.packets)
		return true
	})
	c.refuse(nd.held) // before pages are told: a change that went down with its home holds nothing up any more
	nd.held = nil
	for p := range c.pages {
		pl := c.place(n, p)
		pl.page.NewEpoch(View{Epoch: v.epoch}, v.homes[p], &c.rd)
		if err := c.effects(pl, nil); err != nil {
			return err
		}
	}
	return nil
}

// refuse keeps the words that an epoch has made void.
func (c *rcluster) refuse(ps []rpacket) {
	for _, p := range ps {
		if p.sync == grantLock || p.sync == arriveBarrier || p.sync == openBarrier {
			c.refused = append(slices.Clip(c.refused), p)
		}
	}
}

// sayAgain does what the accounts of all nodes lead to: who had arrived at the barrier arrives again, and who had got
// a lock, or could leave the barrier, hears so from the home of the locks. With each account have come the notices of its
// sender; who has left has given one too.
func (c *rcluster) sayAgain() error {
	refused, home := c.refused, c.lockHome(c.latest())
	c.refused = nil
	for i := range c.nodes {
		if n := pagetable.NodeID(i + 1); n != home && c.nodes[i].status != crashed {
			c.node(home).notices.Learn(n, c.nodes[i].notices.Tell(home, nil))
		}
	}
	for _, p := range refused {
		c.census.again++
		var err error
		switch {
		case p.sync == arriveBarrier:
			err = c.arriveFrom(p.thread)
		case p.To == home:
			err = c.acquired(p.thread)
		default:
			p.From, p.time = home, c.timeOf(home, p.lock)
			c.postSync(p)
		}
		if err != nil {
			return err
		}
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
