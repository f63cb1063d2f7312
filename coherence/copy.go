package coherence

import (
	"fmt"

	"pagemesh/pagetable"
)

// copyState is the node side of a page: the right that this node has, and what it has asked for.
//
// Invariant: pending is above access, or NoAccess.
// Invariant: readers+writers > 0 implies access is at least what the strongest pin needs.
type copyState struct {
	access pagetable.Access
	// pending is the right asked of the home and not yet answered. One request at a time: a write
	// fault that finds a read request under way asks when that is answered, unless the answer is enough.
	pending pagetable.Access
	// want is the right to ask for when pending is answered, if that was not enough.
	want pagetable.Access
	// zero: the frame holds zeros that nobody has had the right to write over.
	zero bool
	// readers and writers count the pins.
	readers, writers int32
	// deferred is the home's message that waits for pins to end; valid if delayed. There is at most
	// one, since a home has one transaction a page.
	deferred Message
	delayed  bool
}

func (c *copyState) String() string {
	s := fmt.Sprintf("copy %v", c.access)
	if c.pending != pagetable.NoAccess {
		s += fmt.Sprintf(" pending %v want %v", c.pending, c.want)
	}
	if c.readers+c.writers > 0 {
		s += fmt.Sprintf(" pins r%d w%d", c.readers, c.writers)
	}
	if c.delayed {
		s += fmt.Sprintf(" deferred [%v]", c.deferred)
	}
	return s
}

// pin allows a further pin while a message is deferred: a goroutine that takes a second view of a
// page it has pinned must not wait for itself.
func (c *copyState) pin(a pagetable.Access) bool {
	if a == pagetable.NoAccess || !c.access.Allows(a) {
		return false
	}
	if a == pagetable.WriteAccess {
		c.writers++
	} else {
		c.readers++
	}
	return true
}

// unpin returns the deferred message if this was the last pin it waited for.
func (c *copyState) unpin(a pagetable.Access) (Message, bool) {
	if a == pagetable.WriteAccess {
		c.writers--
	} else {
		c.readers--
	}
	if c.readers < 0 || c.writers < 0 {
		panic("coherence: unpin without pin")
	}
	if !c.delayed || c.blocks(c.deferred) {
		return Message{}, false
	}
	m := c.deferred
	c.deferred, c.delayed = Message{}, false
	return m, true
}

// blocks reports whether a pin must end before m can be served. Readers may go on reading while the
// page is downgraded.
func (c *copyState) blocks(m Message) bool {
	if m.Kind == Forward && m.Access == pagetable.ReadAccess {
		return c.writers > 0
	}
	return c.readers+c.writers > 0
}

// deferIfPinned keeps m for later if a pin is in its way.
func (p *Page) deferIfPinned(m Message) bool {
	if !p.copy.blocks(m) {
		return false
	}
	if p.copy.delayed {
		p.impossible(m)
	}
	p.copy.deferred, p.copy.delayed = m, true
	return true
}

func (p *Page) fault(want pagetable.Access, rd *Ready) {
	c := &p.copy
	switch {
	case c.access.Allows(want):
		rd.Woken = c.access
	case p.home == 0:
		rd.Lost = true
	case c.pending == pagetable.NoAccess:
		p.ask(want, rd)
	case want > c.pending:
		c.want = max(c.want, want)
	}
}

func (p *Page) ask(want pagetable.Access, rd *Ready) {
	p.copy.pending, p.copy.want = want, pagetable.NoAccess
	p.send(Message{Kind: Request, To: p.home, Access: want}, rd)
}

// grant takes a right that the home or the page's owner gives. Beside the answer to a request this can
// be a second one, to a request that was repeated in a new epoch: what the home grants is true anyway.
func (p *Page) grant(m Message, rd *Ready) {
	if m.From != p.home && p.home != 0 {
		p.send(Message{Kind: Done, To: p.home, Txn: m.Txn}, rd)
	}
	c := &p.copy
	if !c.access.Allows(m.Access) {
		p.install(m, rd)
	}
	rd.Woken = c.access
	if !c.access.Allows(c.pending) {
		return
	}
	want := c.want
	c.pending, c.want = pagetable.NoAccess, pagetable.NoAccess
	if want > c.access {
		p.ask(want, rd)
	}
}

// install raises the node's right to what m gives.
func (p *Page) install(m Message, rd *Ready) {
	rd.Install = m.Content
	if m.Content != NoContent {
		p.copy.zero = m.Content == Zeros
	}
	p.copy.access = m.Access
	if m.Access == pagetable.WriteAccess {
		p.copy.zero = false
	}
}

// forward supplies another node with the page.
func (p *Page) forward(m Message, rd *Ready) {
	if p.copy.access == pagetable.NoAccess {
		p.impossible(m)
	}
	if p.deferIfPinned(m) {
		return
	}
	g := Message{Kind: Grant, To: m.Requester, Access: m.Access, Txn: m.Txn, Content: Bytes}
	if p.copy.zero {
		g.Content = Zeros
	}
	if m.Access == pagetable.WriteAccess {
		p.copy.access = pagetable.NoAccess
	} else {
		p.copy.access = pagetable.ReadAccess
	}
	p.send(g, rd)
	if p.self == p.home {
		p.send(Message{Kind: Done, To: p.home, Txn: m.Txn}, rd)
	}
}

func (p *Page) invalidate(m Message, rd *Ready) {
	if p.deferIfPinned(m) {
		return
	}
	p.copy.access = pagetable.NoAccess
	p.send(Message{Kind: InvalidateAck, To: p.home, Txn: m.Txn}, rd)
}

// refuse ends the pending request without the right.
func (p *Page) refuse(rd *Ready) {
	p.copy.pending, p.copy.want = pagetable.NoAccess, pagetable.NoAccess
	rd.Lost = true
}

// cancel answers the home, which has lost the other party of a forwarding. What it forwarded and a
// pin here still delays is not sent any more.
func (p *Page) cancel(m Message, rd *Ready) {
	c := &p.copy
	if c.delayed && c.deferred.Kind == Forward && c.deferred.Txn == m.Txn {
		c.deferred, c.delayed = Message{}, false
	}
	p.send(Message{Kind: Cancelled, To: p.home, Txn: m.Txn, Access: c.access}, rd)
}

// copyNewEpoch repeats an open request at the home of the new view. Without a home it ends the
// request, and what the lost home asked for while a pin delayed it is void.
func (p *Page) copyNewEpoch(rd *Ready) {
	c := &p.copy
	if p.home == 0 {
		c.deferred, c.delayed = Message{}, false
	}
	switch {
	case c.pending == pagetable.NoAccess:
	case p.home == 0:
		p.refuse(rd)
	default:
		p.ask(max(c.pending, c.want), rd)
	}
}
