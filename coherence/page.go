package coherence

import (
	"fmt"

	"pagemesh/pagetable"
)

// Page is one page's protocol state at one node: its copy, and its directory entry if the node is the
// page's home. It is a value without behaviour of its own: each method is one step, fills in rd, and
// must not be called again before the caller has performed rd.
type Page struct {
	id   pagetable.PageID
	self pagetable.NodeID
	// home keeps the directory entry; 0 when it was lost.
	home  pagetable.NodeID
	epoch uint64
	copy  copyState
	// dir exists at the home only, from the first request on.
	dir *directory
	// departure is how far this node has come with giving up the page because it leaves.
	departure departure
	// release exists for a page of a release region only, which has no dir.
	release *release
}

// MakePage returns the state of a page that this node has never touched.
func MakePage(id pagetable.PageID, self, home pagetable.NodeID, epoch uint64) Page {
	return Page{id: id, self: self, home: home, epoch: epoch}
}

// ID returns which page this is.
func (p *Page) ID() pagetable.PageID { return p.id }

// Home returns the node that keeps the page's directory entry, 0 if it was lost.
func (p *Page) Home() pagetable.NodeID { return p.home }

// Epoch returns the epoch of the last view the page was told of.
func (p *Page) Epoch() uint64 { return p.epoch }

// Access returns this node's right on the page.
func (p *Page) Access() pagetable.Access { return p.copy.access }

// Fault asks for a right. If the node has it, rd.Woken says so at once; otherwise it says so after
// some later step, or that step's rd.Lost does.
func (p *Page) Fault(want pagetable.Access, rd *Ready) {
	p.begin(rd)
	if p.release != nil {
		p.releaseFault(want, rd)
	} else {
		p.fault(want, rd)
	}
	p.end(rd)
}

// Pin keeps the node's right on the page from being taken until Unpin. It reports false, and does
// nothing, if the node does not have the right.
func (p *Page) Pin(a pagetable.Access) bool { return p.copy.pin(a) }

// Unpin ends one Pin of the same access and serves what waited for it. If nothing did, see Delayed, rd may
// be nil.
func (p *Page) Unpin(a pagetable.Access, rd *Ready) {
	if rd == nil {
		p.copy.unpin(a)
		return
	}
	p.begin(rd)
	if m, ok := p.copy.unpin(a); ok {
		p.dispatch(m, rd)
	}
	p.end(rd)
}

// Delayed reports whether another node waits for a pin on this page to end.
func (p *Page) Delayed() bool { return p.copy.delayed }

// Deferred returns the message that waits, if Delayed.
func (p *Page) Deferred() Message { return p.copy.deferred }

// Step handles a message from another node, or from this one to itself.
// Preconditions: m.Page is this page; m.From is a member of the epoch's view; m.Epoch is not later
// than the page's.
func (p *Page) Step(m Message, rd *Ready) {
	p.begin(rd)
	if p.release != nil {
		p.releaseDispatch(m, rd)
	} else {
		p.dispatch(m, rd)
	}
	p.end(rd)
}

// NewEpoch tells the page of a later view, and who is the page's home in it (0: it is lost). The home
// settles what nodes left open that are no members any more, requests that were queued are forgotten,
// and each node repeats its own. Views in between may have been missed: what counts is who is a member
// now, since a node may have joined, asked for the page and been lost meanwhile.
func (p *Page) NewEpoch(v View, home pagetable.NodeID, rd *Ready) {
	p.begin(rd)
	before := p.home
	p.epoch, p.home = v.Epoch, home
	if p.release != nil {
		p.releaseNewEpoch(before, rd)
		p.end(rd)
		return
	}
	if p.dir != nil {
		p.dirNewEpoch(v, rd)
	}
	p.departNewEpoch(v, rd)
	p.copyNewEpoch(rd)
	p.end(rd)
}

func (p *Page) begin(rd *Ready) {
	rd.Reset()
	rd.Before = p.copy.access
}

func (p *Page) end(rd *Ready) {
	rd.After = p.copy.access
	if !invariantsOn {
		return
	}
	if err := p.check(); err != nil {
		panic(fmt.Sprintf("coherence: %v: %v", err, p))
	}
}

func (p *Page) dispatch(m Message, rd *Ready) {
	switch m.Kind {
	case Request, Surrender, Evict:
		p.request(m, rd)
	case InvalidateAck:
		p.invalidateAck(m, rd)
	case Done:
		p.done(m, rd)
	case Cancelled:
		p.cancelled(m, rd)
	case Grant:
		p.grant(m, rd)
	case Forward:
		p.forward(m, rd)
	case Invalidate:
		p.invalidate(m, rd)
	case Refuse:
		p.refuse(rd)
	case Cancel:
		p.cancel(m, rd)
	case Handoff:
		p.handoff(m, rd)
	case Taken:
		p.taken()
	default:
		p.impossible(m)
	}
}

// send queues a message with this page's sender, page and epoch filled in.
func (p *Page) send(m Message, rd *Ready) {
	m.Page, m.From, m.Epoch = p.id, p.self, p.epoch
	rd.Send = append(rd.Send, m)
}

// impossible stops the node: a peer that passed the handshake broke the protocol, so that no state
// here can be trusted.
func (p *Page) impossible(m Message) {
	panic(fmt.Sprintf("coherence: impossible message %v at %v", m, p))
}

// String returns the whole state as one line of a trace.
func (p *Page) String() string {
	s := fmt.Sprintf("%v@%v home %v e%d %v", p.id, p.self, p.home, p.epoch, &p.copy)
	if p.departure != staying {
		s += " " + p.departure.String()
	}
	if p.dir != nil {
		s += " | " + p.dir.String()
	}
	if p.release != nil {
		s += " | " + p.release.String()
	}
	return s
}
