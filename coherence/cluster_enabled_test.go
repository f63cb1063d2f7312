package coherence

import (
	"slices"

	"pagemesh/pagetable"
)

// enabled appends every event that can happen now to es.
func (c *cluster) enabled(es []event) []event {
	for i := range c.links {
		if l := &c.links[i]; c.canDeliver(l) {
			es = append(es, l.delivery())
		}
	}
	if len(c.joins) > 0 && c.anyRuns() {
		es = append(es, event{kind: join, node: pagetable.NodeID(len(c.nodes) + 1)})
	}
	for i := range c.nodes {
		n := pagetable.NodeID(i + 1)
		switch c.nodes[i].status {
		case running:
			es = c.enabledAt(n, es)
		case crashed:
			if c.canLose(n) {
				es = append(es, event{kind: lose, node: n})
			}
		}
	}
	return es
}

// canLose reports whether somebody is there to order a view without a crashed node.
func (c *cluster) canLose(n pagetable.NodeID) bool { return c.latest().Has(n) && c.anyRuns() }

// anyRuns reports whether a member runs.
func (c *cluster) anyRuns() bool {
	return slices.ContainsFunc(c.latest().Members, func(m Member) bool { return c.isRunning(m.Node) })
}

// delivery returns the event that the link's first packet arrives.
func (l *link) delivery() event {
	p := &l.packets[0]
	return event{kind: deliver, node: l.to, from: l.from, message: p.Kind, page: int(p.Page.Index())}
}

// canDeliver reports whether a link's first packet can be handled. One that was sent in a later epoch
// waits for its receiver to learn that epoch's view, and all behind it wait too.
func (c *cluster) canDeliver(l *link) bool {
	return c.isRunning(l.to) && l.packets[0].Epoch <= c.viewOf(l.to).Epoch
}

// enabledAt appends what a running node or its program can do.
func (c *cluster) enabledAt(n pagetable.NodeID, es []event) []event {
	for page := range c.pages {
		es = c.enabledOn(n, page, es)
	}
	for v := c.node(n).view + 1; v < len(c.views); v++ {
		es = append(es, event{kind: install, node: n, view: v})
	}
	if c.crashes > 0 {
		es = append(es, event{kind: crash, node: n})
	}
	if c.node(n).leaving {
		return c.enabledLeaving(n, es)
	}
	if c.leaves > 0 && c.canLeave(n) {
		es = append(es, event{kind: leave, node: n})
	}
	return es
}

// enabledOn appends what a node's program can do with one page.
func (c *cluster) enabledOn(n pagetable.NodeID, page int, es []event) []event {
	pl := c.look(n, page)
	for o, left := range pl.todo {
		if left > 0 && !c.node(n).leaving {
			es = append(es, event{kind: access, node: n, page: page, op: op(o)})
		}
	}
	if pl.page.copy.readers > 0 {
		es = append(es, event{kind: unpin, node: n, page: page, op: pinRead})
	}
	if pl.page.copy.writers > 0 {
		es = append(es, event{kind: unpin, node: n, page: page, op: pinWrite})
	}
	return es
}

// canLeave reports whether a node may begin to leave: its program holds no pins, it has the latest
// view, nobody else is leaving, and there is somebody to leave everything to.
func (c *cluster) canLeave(n pagetable.NodeID) bool {
	for page := range c.pages {
		if cp := &c.look(n, page).page.copy; cp.readers+cp.writers > 0 {
			return false
		}
	}
	v := c.latest()
	return c.isUpToDate(n) && len(v.Members) > 1 && len(v.Staying()) == len(v.Members)
}

// enabledLeaving appends the next steps of a node that leaves.
func (c *cluster) enabledLeaving(n pagetable.NodeID, es []event) []event {
	if me, _ := c.latest().Member(n); me.Successor == 0 {
		return append(es, event{kind: abandon, node: n})
	}
	done := true
	for page := range c.pages {
		pl := c.look(n, page)
		if !pl.live {
			continue
		}
		done = done && pl.vacate == vacateBegun && pl.page.Vacated()
		switch {
		case pl.vacate == vacateNext && pl.waiting[fetch] == 0:
			es = append(es, event{kind: vacate, node: n, page: page})
		case pl.vacate == fetchNext:
			es = append(es, event{kind: retrieve, node: n, page: page})
		}
	}
	if done {
		es = append(es, event{kind: finish, node: n})
	}
	return es
}
