package dsm

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// The first byte of a packet's header says which part of the node it is for.
const (
	classPage    byte = 'p' // coherence.Message
	classLock    byte = 'l' // locks.Message
	classNotice  byte = 'n' // coherence.Notices, before a locks.Message that lets the receiver acquire
	classStamped byte = 's' // coherence.Message with a Stamp, if races are looked for
	classTime    byte = 't' // coherence.LockTime, before a locks.Message, if races are looked for
	classView    byte = 'v' // the body is a coherence.View
	classCall    byte = 'c' // a question, see call.go
	classAnswer  byte = 'a' // its answer
	classGoodbye byte = 'g' // the sender closes
)

// maxHeld bounds the packets that wait for a view, per peer.
const maxHeld = 1 << 16

// peer is a connected node.
type peer struct {
	node pagetable.NodeID
	// mu is held while a packet of the peer is handled; it guards the fields below.
	mu   sync.Mutex
	work *work
	// member: a view with the node was installed. Until then the node is a guest, see guests.go.
	member bool
	// gone: a view without the node was installed; what still comes from it is dropped.
	gone bool
	// held are packets that came before the view that they were sent in. They are handled, in order,
	// before any later packet of the peer.
	held []heldPacket
	// room is how many bytes of guestRoom the held packets take, as long as the peer is a guest.
	room int64
	// departed: the node said goodbye. down: its connection has ended.
	departed, down atomic.Bool
}

type heldPacket struct{ header, body []byte }

// peerSet holds the connected peers. Reads take no lock.
type peerSet struct {
	mu     sync.Mutex
	set    atomic.Pointer[map[pagetable.NodeID]*peer]
	guests []*peer      // the first to come first; guarded by mu
	room   atomic.Int64 // bytes that guests have sent and that are held
}

func (ps *peerSet) get(n pagetable.NodeID) *peer {
	if m := ps.set.Load(); m != nil {
		return (*m)[n]
	}
	return nil
}

func (ps *peerSet) all() []*peer {
	if m := ps.set.Load(); m != nil {
		return slices.Collect(maps.Values(*m))
	}
	return nil
}

// add takes up a peer, in the place of one with its id, and forgets another one.
func (ps *peerSet) add(p, forget *peer) {
	next := map[pagetable.NodeID]*peer{}
	if m := ps.set.Load(); m != nil {
		maps.Copy(next, *m)
	}
	if forget != nil && next[forget.node] == forget {
		delete(next, forget.node)
	}
	next[p.node] = p
	ps.set.Store(&next)
}

// handler is the Space as the transport sees it.
type handler node

var _ transport.Handler = (*handler)(nil)

// Up implements transport.Handler.
func (h *handler) Up(id transport.Identity, _ string) {
	s := (*node)(h)
	s.meet(&peer{node: id.Node, work: s.newWork()})
}

// Down implements transport.Handler. A connection that ends while its node is a member means that the
// node is lost: what was under way between the two can't be made up for.
func (h *handler) Down(n pagetable.NodeID, err error) {
	s := (*node)(h)
	p := s.peers.get(n)
	if p == nil {
		return // a guest that was shown out
	}
	p.down.Store(true)
	s.forgetGuest(p)
	s.calls.failPeer(n)
	select {
	case <-s.done:
		return
	default:
	}
	s.running.Go(func() { s.suspect(p, err) })
}

// Stream implements transport.Handler.
func (h *handler) Stream(purpose transport.Purpose, conn net.Conn) {
	s := (*node)(h)
	if g := s.gossip.Load(); g != nil && purpose == transport.PurposeGossip {
		g.HandleStream(conn)
		return
	}
	defer conn.Close()
	if purpose == transport.PurposeControl {
		s.serveControl(conn)
	}
}

// Packet implements transport.Handler.
func (h *handler) Packet(out *transport.Outbox, from pagetable.NodeID, header, body []byte) {
	s := (*node)(h)
	p := s.peers.get(from)
	if p == nil {
		return // a guest that is being shown out
	}
	var err error
	if len(header) > 0 && header[0] == classView {
		// Before what follows on this connection is handled, and without p.mu: a new view goes
		// through all peers.
		err = s.learn(from, body)
	} else {
		p.mu.Lock()
		p.work.out = out
		err = s.packet(p, header, body)
		p.mu.Unlock()
	}
	if err != nil {
		s.refusePeer(from, err)
	}
}

// refusePeer ends the connection to a peer that has sent what no node of this version sends.
func (s *node) refusePeer(n pagetable.NodeID, err error) {
	s.log.Error("packet refused, connection ends", "peer", n, "error", err)
	s.running.Go(func() { s.ep.Disconnect(n) })
}

// packet handles or holds one packet. The caller holds p.mu.
func (s *node) packet(p *peer, header, body []byte) error {
	if len(header) == 0 {
		return fmt.Errorf("empty header")
	}
	if p.gone {
		return nil
	}
	if !p.member {
		return s.holdGuest(p, header, body)
	}
	if len(p.held) > 0 && ordered(header[0]) {
		return p.hold(header, body)
	}
	done, err := s.handle(p, header, body)
	if err != nil || done {
		return err
	}
	return p.hold(header, body)
}

// ordered reports whether packets of a class must not overtake each other.
func ordered(class byte) bool {
	switch class {
	case classPage, classStamped, classLock, classNotice, classTime:
		return true
	}
	return false
}

// handle handles a packet of a member, or returns false if it has to wait for a view.
func (s *node) handle(p *peer, header, body []byte) (done bool, err error) {
	switch header[0] {
	case classPage, classStamped, classLock:
		return s.protocol(p, header, body)
	case classNotice:
		return true, s.intervals.learn(p, header, body)
	case classTime:
		return s.races.learn(p, header[1:])
	case classCall:
		return true, s.serveCall(p, header[1:], body)
	case classAnswer:
		return true, s.calls.answer(p.node, header[1:], body)
	case classGoodbye:
		p.departed.Store(true)
		return true, nil
	}
	return false, fmt.Errorf("packet class %q is unknown", header[0])
}

// protocol handles a packet whose order matters, or returns false if it has to wait for the view that
// its sender has.
func (s *node) protocol(p *peer, header, body []byte) (done bool, err error) {
	if header[0] == classLock {
		return s.sync.packet(p, header[1:])
	}
	m, err := s.decode(p, header)
	if err != nil {
		return false, err
	}
	m.From, m.To = p.node, s.self
	st := s.cur.Load()
	if st == nil || m.Epoch > st.view.Epoch {
		return false, nil // a node that joins may be heard of before it has its first view
	}
	r := st.regions[m.Page.Region()]
	if r == nil {
		return false, nil
	}
	if err := r.admits(m, body); err != nil {
		return false, err
	}
	if !st.view.Has(p.node) && m.Epoch < st.view.Epoch {
		return true, nil // it joined and was lost in views that this node has missed
	}
	return p.work.message(r, m, body), nil
}

// decode reads a message of the page protocol, and what it is stamped with.
func (s *node) decode(p *peer, header []byte) (m coherence.Message, err error) {
	w := p.work
	w.stamp = coherence.Stamp{}
	if header[0] != classStamped {
		return w.codec.Decode(header[1:])
	}
	if !s.races.on {
		return m, errors.New("a stamp comes to a node that does not detect races")
	}
	m, w.stamp, err = w.codec.DecodeStamped(p.node, header[1:])
	return m, err
}

// admits checks what of a message only the region can tell.
func (r *region) admits(m coherence.Message, body []byte) error {
	want := 0
	if m.Content == coherence.Bytes {
		want = r.pageSize()
	}
	switch {
	case m.Content == coherence.Diff && m.Fits(r.release):
		if err := coherence.CheckDiff(body, r.pageSize()); err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
		want = len(body)
	case !m.Fits(r.release):
		return fmt.Errorf("%v: the region has %v consistency", m, r.meta.Load().Consistency)
	}
	switch {
	case m.Page.Index() >= r.meta.Load().Pages():
		return fmt.Errorf("%v: the region has %d pages", m, r.meta.Load().Pages())
	case len(body) != want:
		return fmt.Errorf("%v: %d bytes come with it, want %d", m, len(body), want)
	}
	return nil
}

func (p *peer) hold(header, body []byte) error {
	if len(p.held) == maxHeld {
		return fmt.Errorf("%d packets wait for a view that does not come", maxHeld)
	}
	p.held = append(p.held, heldPacket{slices.Clone(header), slices.Clone(body)})
	return nil
}

// release handles what was held, as far as the present view allows.
func (s *node) release(p *peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.recognize(p)
	if !p.member {
		return
	}
	p.work.out = transport.NewOutbox(s.ep)
	defer p.work.out.Flush()
	for len(p.held) > 0 && !p.gone {
		h := p.held[0]
		done, err := s.handle(p, h.header, h.body)
		if err != nil {
			s.refusePeer(p.node, err)
			break
		}
		if !done {
			return
		}
		p.held = p.held[1:]
	}
	p.held = nil
}
