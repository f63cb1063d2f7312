package dsm

import (
	"errors"
	"fmt"
	"slices"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// A guest is a connected node that the present view does not name. It may be about to join: then this
// node learns so in a moment, and handles what the guest has sent. It may as well be a stranger who knows
// the cluster's name and secret. So a guest gets nothing done and can't take up much room: what it sends is
// held, within limits, and if there are too many guests the first to come has to go.

const (
	// maxGuests is how many guests there may be. Nodes join one at a time.
	maxGuests = 32
	// maxGuestPackets is how many packets of one guest are held.
	maxGuestPackets = 256
	// guestRoom is how many bytes of all guests are held: more than the largest packet.
	guestRoom = 6 << 20
)

// meet takes up a new peer, and shows out a guest if there are too many.
func (s *node) meet(p *peer) {
	s.peers.mu.Lock()
	var first *peer
	if g := s.peers.guests; len(g) >= maxGuests && s.cur.Load() != nil {
		first, s.peers.guests = g[0], g[1:]
	}
	s.peers.guests = append(s.peers.guests, p)
	s.peers.add(p, first)
	s.peers.mu.Unlock()
	if first != nil && !first.down.Load() {
		s.forgetGuest(first)
		s.running.Go(func() { s.ep.Disconnect(first.node) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.recognize(p) // a view that came before the peer was in the set has not told it
}

// recognize makes a guest that the present view names a member. The caller holds p.mu.
func (s *node) recognize(p *peer) {
	st := s.cur.Load()
	if p.member || st == nil || !st.view.Has(p.node) {
		return
	}
	p.member = true
	s.peers.room.Add(-p.room)
	p.room = 0
	s.peers.mu.Lock()
	s.peers.guests = slices.DeleteFunc(s.peers.guests, func(g *peer) bool { return g == p })
	s.peers.mu.Unlock()
	if p.down.Load() {
		s.running.Go(func() { s.suspect(p, errors.New("the connection ended before the node was a member")) })
	}
}

// holdGuest holds a packet of a guest. The caller holds p.mu.
func (s *node) holdGuest(p *peer, header, body []byte) error {
	n := int64(len(header) + len(body))
	if s.cur.Load() != nil && (len(p.held) >= maxGuestPackets || s.peers.room.Load()+n > guestRoom) {
		return fmt.Errorf("%v is no member and has sent %d packets", p.node, len(p.held)+1)
	}
	p.room += n
	s.peers.room.Add(n)
	return p.hold(header, body)
}

// forgetGuest drops what a guest has sent whose connection has ended. It stays in the list, in case a
// view makes it a member after all.
func (s *node) forgetGuest(p *peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.member {
		s.peers.room.Add(-p.room)
		p.held, p.room = nil, 0
	}
}

// mayOrder reports whether a node may send a view: one of the present view, which orders changes in it
// or in the new one. A node that joins has no view and hears from its coordinator.
func (s *node) mayOrder(from pagetable.NodeID, v coherence.View) bool {
	st := s.cur.Load()
	if st == nil {
		return from == v.Coordinator
	}
	return st.view.Has(from) && (from == v.Coordinator || from == st.view.Coordinator)
}
