package coherence

import (
	"errors"
	"fmt"

	"pagemesh/pagetable"
)

// This file holds what must be true of a cluster: after every event, and when nothing more can happen.

// checkAfter returns which promise does not hold after e. An event about one page breaks none of
// another.
func (c *cluster) checkAfter(e event) error {
	switch e.kind {
	case deliver, access, unpin, vacate, retrieve:
		return c.checkPage(e.page)
	}
	for c.suspect = range c.pages {
		if err := c.checkPage(c.suspect); err != nil {
			return err
		}
	}
	return nil
}

// checkPage looks at every node's state of a page and at the packets about it. A right that is under
// way counts as held by the node it goes to.
func (c *cluster) checkPage(page int) error {
	c.rights = append(c.rights[:0], make([]pagetable.Access, len(c.nodes))...)
	for i := range c.nodes {
		if err := c.checkPlace(pagetable.NodeID(i+1), page); err != nil {
			return err
		}
	}
	for _, l := range c.links {
		for _, p := range l.packets {
			if int(p.Page.Index()) != page || !c.isRunning(l.to) {
				continue
			}
			if err := c.checkPacket(p, page); err != nil {
				return err
			}
		}
	}
	if err := c.checkRights(page); err != nil {
		return err
	}
	return c.checkHome(page)
}

// checkPlace checks one node's part, and that what it can read is the last write.
func (c *cluster) checkPlace(n pagetable.NodeID, page int) error {
	pl := c.look(n, page)
	if !pl.live || !c.isRunning(n) {
		return nil
	}
	if err := pl.page.check(); err != nil {
		return fmt.Errorf("%v: %w", &pl.page, err)
	}
	c.rights[n-1] = pl.page.Access()
	if pl.page.Access() == pagetable.NoAccess {
		return nil
	}
	return c.memory[page].sees(pl)
}

// checkPacket checks what must be true while a packet is under way.
func (c *cluster) checkPacket(p packet, page int) error {
	switch p.Kind {
	case Grant, Handoff:
		c.rights[p.To-1] = max(c.rights[p.To-1], p.Access)
		if p.Content == Bytes && p.version != c.memory[page].latest {
			return fmt.Errorf("%v: the page was written to behind it", p)
		}
	case InvalidateAck:
		if c.isRunning(p.From) && c.look(p.From, page).page.Access() != pagetable.NoAccess {
			return fmt.Errorf("%v, but its sender still has the page", p)
		}
	}
	return nil
}

// checkRights checks that there is one writer or any number of readers.
func (c *cluster) checkRights(page int) error {
	var holder, writer pagetable.NodeID
	holders := 0
	for i, a := range c.rights {
		n := pagetable.NodeID(i + 1)
		if a == pagetable.NoAccess {
			continue
		}
		if writer != 0 || a == pagetable.WriteAccess && holder != 0 {
			return fmt.Errorf("page %d: %v and %v have it, and one of them may write", page, holder, n)
		}
		holder = n
		holders++
		if a == pagetable.WriteAccess {
			writer = n
		}
	}
	c.census.holders = max(c.census.holders, holders)
	return nil
}

// checkHome checks that the home knows every node that has the page, if it is alive.
func (c *cluster) checkHome(page int) error {
	home := c.home(page)
	if home == 0 || !c.isRunning(home) {
		return nil
	}
	d := c.look(home, page).page.dir
	if d != nil && d.state == handedOff {
		return nil
	}
	for i, a := range c.rights {
		n := pagetable.NodeID(i + 1)
		if a == pagetable.NoAccess || d != nil && (d.copies.Has(n) || d.txn.phase != idle && d.txn.node == n) {
			continue
		}
		return fmt.Errorf("page %d: home %v does not know that %v has it: %v", page, home, n, d)
	}
	return nil
}

// atRest returns which promise a cluster breaks in which nothing more can happen.
func (c *cluster) atRest() error {
	if len(c.links) > 0 {
		return fmt.Errorf("%v stays under way", c.links[0].packets[0])
	}
	for i := range c.nodes {
		n := pagetable.NodeID(i + 1)
		if !c.isRunning(n) {
			continue
		}
		if c.node(n).leaving {
			return fmt.Errorf("%v can't finish to leave", n)
		}
		for page := range c.pages {
			if err := c.placeAtRest(n, page); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) placeAtRest(n pagetable.NodeID, page int) error {
	pl := c.look(n, page)
	p := &pl.page
	c.suspect = page
	var err error
	switch {
	case pl.waiting != counts{}:
		err = errors.New("a fault waits forever")
	case pl.todo != counts{}:
		err = errors.New("an access can't begin")
	case p.copy.pending != pagetable.NoAccess:
		err = errors.New("a request is not answered")
	case p.copy.delayed:
		err = errors.New("a message is deferred forever")
	case p.dir != nil && (p.dir.txn.phase != idle || len(p.dir.queue) > 0):
		err = errors.New("a transaction does not end")
	case p.dir != nil && p.home == n:
		err = c.dirAtRest(p.dir, page)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", p, err)
	}
	return nil
}

// dirAtRest compares what the home believes with what is.
func (c *cluster) dirAtRest(d *directory, page int) error {
	if err := c.checkPage(page); err != nil { // it collects the rights
		return err
	}
	for i, a := range c.rights {
		n := pagetable.NodeID(i + 1)
		want := pagetable.NoAccess
		switch {
		case d.state == exclusive && d.owner == n:
			want = pagetable.WriteAccess
		case d.state == shared && d.copies.Has(n):
			want = pagetable.ReadAccess
		}
		if a != want {
			return fmt.Errorf("the home takes %v to have %v, it has %v", n, want, a)
		}
	}
	if d.state == lost && !c.memory[page].exposed {
		return errors.New("lost, but no crash hit a node that had it")
	}
	return nil
}
