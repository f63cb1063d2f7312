package coherence

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// dirState is what the home knows about who holds a page.
type dirState uint8

const (
	// unowned: nobody ever asked; the page is zeros.
	unowned dirState = iota
	// shared: every node in copies may read.
	shared
	// exclusive: owner alone holds the page and may write.
	exclusive
	// lost: the only copy went down with its node.
	lost
	// handedOff: owner has the page and is its home from the next epoch on.
	handedOff
)

var dirStateNames = [...]string{"unowned", "shared", "exclusive", "lost", "handed-off"}

func (s dirState) String() string { return dirStateNames[s] }

// phase is how far the transaction in progress has come.
type phase uint8

const (
	idle phase = iota
	// invalidating: the acks of txn.waiting are missing.
	invalidating
	// forwarding: the supplier was told to send the page to the requester, whose Done is missing.
	forwarding
	// cancelling: supplier or requester was lost; the other one's Cancelled (or Done) is missing.
	cancelling
)

var phaseNames = [...]string{"idle", "invalidating", "forwarding", "cancelling"}

func (ph phase) String() string { return phaseNames[ph] }

// request is what a node asks the home for; NoAccess means to be relieved of its copy.
type request struct {
	node   pagetable.NodeID
	access pagetable.Access
	evicts bool // with NoAccess: the node stays in the space, and may ask for the page again
	site   uint32
}

func (r request) String() string {
	switch {
	case r.evicts:
		return fmt.Sprintf("%v evicts", r.node)
	case r.access == pagetable.NoAccess:
		return fmt.Sprintf("%v surrenders", r.node)
	}
	return fmt.Sprintf("%v %v", r.node, r.access)
}

// transaction serves one request. Its requester is 0 once it was lost.
type transaction struct {
	request
	phase    phase
	supplier pagetable.NodeID  // the node that has sent or shall send the bytes; 0 if none need to move
	orphaned bool              // the supplier was lost
	waiting  pagetable.CopySet // nodes whose InvalidateAck is missing
	number   uint32            // counts up, also across transactions
}

// directory is a page's entry at its home: who holds the page, the one transaction in progress, and
// the requests that wait for it, first come first served.
//
// Invariant: shared implies owner is in copies; exclusive implies copies is {owner}; otherwise copies
// is empty.
type directory struct {
	state  dirState
	owner  pagetable.NodeID // supplies the bytes when the home itself has no copy
	copies pagetable.CopySet
	txn    transaction
	queue  []request
}

func (d *directory) String() string {
	s := fmt.Sprintf("dir %v owner %v copies %v", d.state, d.owner, d.copies)
	if d.txn.phase != idle {
		s += fmt.Sprintf(" %v t%d %v by %v supplier %v waiting %v", d.txn.phase, d.txn.number,
			d.txn.access, d.txn.node, d.txn.supplier, d.txn.waiting)
	}
	if len(d.queue) > 0 {
		s += fmt.Sprintf(" queue %v", d.queue)
	}
	return s
}

func (d *directory) set(s dirState, owner pagetable.NodeID, copies pagetable.CopySet) {
	d.state, d.owner, d.copies = s, owner, copies
}

// request starts or queues a transaction.
func (p *Page) request(m Message, rd *Ready) {
	if m.Epoch < p.epoch || p.self != p.home {
		return // its sender repeats it in its new epoch, at the new home
	}
	if p.dir == nil {
		p.dir = &directory{}
	}
	d := p.dir
	if d.state == handedOff {
		return
	}
	r := request{m.From, m.Access, m.Kind == Evict, m.Site}
	if d.txn.phase != idle {
		d.queue = append(d.queue, r)
		return
	}
	p.open(r, rd)
	p.serve(rd)
}

// Busy reports whether this node is the page's home and serves a request right now: the next one has to wait.
func (p *Page) Busy() bool { return p.dir != nil && p.dir.txn.phase != idle }

// serve starts queued requests until one of them has to wait for other nodes.
func (p *Page) serve(rd *Ready) {
	d := p.dir
	for d.txn.phase == idle && len(d.queue) > 0 {
		r := d.queue[0]
		d.queue = slices.Delete(d.queue, 0, 1)
		p.open(r, rd)
	}
	if len(d.queue) == 0 {
		d.queue = nil
	}
}

// open begins a transaction from a stable state (Li and Hudak 1989, section 3.2, with the manager
// fixed per page and the owner kept at the manager).
func (p *Page) open(req request, rd *Ready) {
	d := p.dir
	d.txn = transaction{request: req, number: d.txn.number + 1}
	r := req.node
	switch {
	case d.txn.access == pagetable.NoAccess:
		p.relieve(rd)
	case d.state == lost:
		p.send(Message{Kind: Refuse, To: r}, rd)
	case d.state == unowned:
		p.grantHere(Zeros, rd)
	case d.state == exclusive && d.owner == r:
		d.txn.access = pagetable.WriteAccess
		p.grantHere(NoContent, rd)
	case d.txn.access == pagetable.WriteAccess:
		p.startWrite(rd)
	case d.copies.Has(r):
		p.grantHere(NoContent, rd)
	default:
		p.forwardTo(d.chooseSupplier(p.self), rd)
	}
}

// startWrite first removes every copy that is neither the requester's nor the one to be moved.
func (p *Page) startWrite(rd *Ready) {
	d := p.dir
	d.txn.waiting = d.copies.Clone()
	if d.copies.Has(d.txn.node) {
		d.txn.waiting.Remove(d.txn.node)
	} else {
		d.txn.supplier = d.chooseSupplier(p.self)
		d.txn.waiting.Remove(d.txn.supplier)
	}
	d.txn.phase = invalidating
	for n := range d.txn.waiting.All() {
		p.send(Message{Kind: Invalidate, To: n, Requester: d.txn.node, Txn: d.txn.number, Site: d.txn.site}, rd)
	}
	p.afterAcks(rd)
}

// chooseSupplier prefers the home, which saves a hop.
func (d *directory) chooseSupplier(home pagetable.NodeID) pagetable.NodeID {
	if d.copies.Has(home) {
		return home
	}
	return d.owner
}

func (p *Page) invalidateAck(m Message, rd *Ready) {
	d := p.dir
	if d == nil || d.txn.phase != invalidating || d.txn.number != m.Txn || !d.txn.waiting.Has(m.From) {
		p.impossible(m)
	}
	d.txn.waiting.Remove(m.From)
	d.removeCopy(m.From)
	p.afterAcks(rd)
}

// afterAcks goes on when the last copy is gone. Only now may the bytes move: a reader of an old copy
// must not run beside the new writer.
func (p *Page) afterAcks(rd *Ready) {
	d := p.dir
	switch {
	case d.txn.phase != invalidating || !d.txn.waiting.Empty():
	case d.state == lost || d.txn.node == 0:
		p.close(rd)
	case d.copies.Has(d.txn.node):
		p.grantHere(NoContent, rd)
		p.serve(rd)
	default:
		p.forwardTo(d.txn.supplier, rd)
	}
}

// grantHere ends the transaction with a grant that needs no other node. Packets between two nodes
// stay in order, so the home's next message to the requester can't overtake it.
func (p *Page) grantHere(c Content, rd *Ready) {
	t := p.dir.txn
	p.send(Message{Kind: Grant, To: t.node, Access: t.access, Txn: t.number, Content: c}, rd)
	p.dir.settle()
}

func (p *Page) forwardTo(supplier pagetable.NodeID, rd *Ready) {
	t := &p.dir.txn
	t.phase, t.supplier = forwarding, supplier
	p.send(Message{
		Kind: Forward, To: supplier, Access: t.access, Requester: t.node, Txn: t.number, Site: t.site,
	}, rd)
}

// settle enters what the finished transaction made true.
func (d *directory) settle() {
	t := &d.txn
	t.phase = idle
	if t.access == pagetable.WriteAccess {
		var c pagetable.CopySet
		c.Add(t.node)
		d.set(exclusive, t.node, c)
		return
	}
	if d.state == unowned {
		d.owner = t.node
	}
	d.state = shared
	d.copies.Add(t.node)
}

func (p *Page) done(m Message, rd *Ready) {
	d := p.dir
	if d == nil || d.txn.number != m.Txn || d.txn.phase != forwarding && d.txn.phase != cancelling {
		p.impossible(m)
	}
	d.settle()
	if d.txn.orphaned {
		d.removeCopy(d.txn.supplier)
	}
	p.serve(rd)
}

// removeCopy forgets a holder; the page is lost with its last one.
func (d *directory) removeCopy(n pagetable.NodeID) {
	if !d.copies.Has(n) {
		return
	}
	d.copies.Remove(n)
	switch {
	case d.copies.Empty():
		d.set(lost, 0, pagetable.CopySet{})
	case d.owner == n:
		d.owner = d.copies.First()
	}
}

// close ends a transaction whose requester can't be served.
func (p *Page) close(rd *Ready) {
	t := &p.dir.txn
	t.phase = idle
	if t.node != 0 {
		p.send(Message{Kind: Refuse, To: t.node}, rd)
	}
	p.serve(rd)
}

// dirNewEpoch settles what lost nodes left open. Queued requests are forgotten: their senders repeat
// them in the new epoch.
func (p *Page) dirNewEpoch(v View, rd *Ready) {
	d := p.dir
	d.queue = nil
	if d.txn.phase == forwarding || d.txn.phase == cancelling {
		p.settleForwarding(v, rd)
		return
	}
	for n := range d.copies.All() {
		if !v.Has(n) {
			d.txn.waiting.Remove(n)
			d.removeCopy(n)
		}
	}
	if !v.Has(d.txn.node) {
		d.txn.node = 0
	}
	p.afterAcks(rd)
}

// settleForwarding asks the survivor of requester and supplier what became of the page.
func (p *Page) settleForwarding(v View, rd *Ready) {
	d := p.dir
	t := &d.txn
	for n := range d.copies.All() {
		if !v.Has(n) && n != t.supplier {
			d.removeCopy(n)
		}
	}
	before := *t
	t.orphaned = !v.Has(t.supplier)
	if !v.Has(t.node) {
		t.node = 0
	}
	if t.node == before.node && t.orphaned == before.orphaned {
		return
	}
	t.phase = cancelling
	switch {
	case t.node == 0 && t.orphaned:
		d.removeCopy(t.supplier)
		p.close(rd)
	case t.orphaned:
		p.send(Message{Kind: Cancel, To: t.node, Txn: t.number}, rd)
	default:
		p.send(Message{Kind: Cancel, To: t.supplier, Txn: t.number}, rd)
	}
}

// cancelled ends a forwarding of which one party was lost.
func (p *Page) cancelled(m Message, rd *Ready) {
	d := p.dir
	if d == nil || d.txn.number != m.Txn || d.txn.phase != cancelling {
		return // a Done came first
	}
	t := &d.txn
	if m.From == t.supplier {
		p.supplierKept(m, rd)
		return
	}
	d.removeCopy(t.supplier)
	t.phase = idle
	d.queue = slices.Insert(d.queue, 0, t.request)
	p.serve(rd)
}

// supplierKept ends a forwarding whose requester was lost, by what its supplier still holds.
func (p *Page) supplierKept(m Message, rd *Ready) {
	d := p.dir
	switch m.Access {
	case pagetable.NoAccess:
		d.removeCopy(m.From)
	case pagetable.ReadAccess:
		d.state = shared
	}
	p.close(rd)
}
