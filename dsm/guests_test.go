package dsm

import (
	"context"
	"errors"
	"testing"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// admitTo returns n's view with one more member.
func admitTo(t *testing.T, n *node) (coherence.View, pagetable.NodeID) {
	t.Helper()
	v, id, err := n.view().Reserve()
	if err != nil {
		t.Fatal(err)
	}
	return v.Join(coherence.Member{Node: id, Incarnation: 1}), id
}

func TestGuestIsHeardOnceItIsMember(t *testing.T) {
	n, r := newHome(t)
	v, id := admitTo(t, n)
	(*handler)(n).Up(transport.Identity{Node: id, Incarnation: 1}, "")
	send(n, id, coherence.Message{Kind: coherence.Request, Epoch: 1, Access: pagetable.ReadAccess})
	if r.pages.Get(0) != nil {
		t.Fatal("a page has heard of a guest")
	}
	n.install(v)
	if r.pages.Get(0) == nil {
		t.Error("what the member had sent as a guest was dropped")
	}
	if p := n.peers.get(id); len(p.held) != 0 || n.peers.room.Load() != 0 || len(n.peers.guests) != 0 {
		t.Errorf("%d packets are held, guests take %d bytes, there are %d", len(p.held), n.peers.room.Load(), len(n.peers.guests))
	}
}

// A connection may end after a node was admitted and before this one learns so.
func TestGuestThatIsGoneIsLost(t *testing.T) {
	n, _ := newHome(t)
	v, id := admitTo(t, n)
	h := (*handler)(n)
	h.Up(transport.Identity{Node: id, Incarnation: 1}, "")
	h.Down(id, errors.New("gone"))
	n.install(v)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := n.awaitView(ctx, func(v coherence.View) bool { return !v.Has(id) }); err != nil {
		t.Errorf("%v is still a member: %v", id, err)
	}
}

func TestGuestsTakeLittleRoom(t *testing.T) {
	n, _ := newHome(t)
	h, out := (*handler)(n), transport.NewOutbox(n.ep)
	page := coherence.NewCodec().Encode(classPage, coherence.Message{Kind: coherence.Grant, Page: pagetable.MakePageID(1, 0), Epoch: 9})
	for i := range 5 * maxGuests {
		id := pagetable.NodeID(100 + i)
		h.Up(transport.Identity{Node: id, Incarnation: 1}, "")
		for range 3 {
			h.Packet(out, id, page, make([]byte, 1<<20))
		}
		if got := n.peers.room.Load(); got > guestRoom {
			t.Fatalf("guests take %d bytes", got)
		}
	}
	if got := len(n.peers.guests); got > maxGuests {
		t.Errorf("there are %d guests", got)
	}
	for i := range 5 * maxGuests {
		h.Down(pagetable.NodeID(100+i), nil)
	}
	if got := n.peers.room.Load(); got != 0 {
		t.Errorf("guests that are gone take %d bytes", got)
	}
}
