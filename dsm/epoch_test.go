package dsm

import (
	"testing"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// newHome returns a node that is the home of every page of a region in a view with members 2 and 3,
// which nobody runs.
func newHome(t *testing.T) (*node, *region) {
	t.Helper()
	cfg, err := Config{Cluster: t.Name()}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(cfg)
	if err := n.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.shutdown(nil) })
	n.found()
	v := n.view()
	for range 2 {
		next, id, err := v.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		v = next.Join(coherence.Member{Node: id, Incarnation: uint64(id)})
		(*handler)(n).Up(transport.Identity{Node: id, Incarnation: uint64(id)}, "")
	}
	v, _, err = v.AddRegion(pagetable.Region{
		Name: "r", Size: 4096, Placement: pagetable.Placement{Nodes: []pagetable.NodeID{n.self}},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.install(v)
	return n, n.cur.Load().regions[1]
}

// send has a message of another node about the region's first page arrive.
func send(n *node, from pagetable.NodeID, m coherence.Message) {
	m.Page = pagetable.MakePageID(1, 0)
	(*handler)(n).Packet(transport.NewOutbox(n.ep), from, coherence.NewCodec().Encode(classPage, m), nil)
}

// A view is there a moment before its last page has been told of it. A request of the new epoch that a
// page of the old one put into its queue would be forgotten with the queue, and never be answered.
func TestRequestWaitsUntilItsPageHasTheView(t *testing.T) {
	n, r := newHome(t)
	send(n, 2, coherence.Message{Kind: coherence.Request, Epoch: 1, Access: pagetable.ReadAccess})
	next := n.build(n.cur.Load(), n.view().Lose([]pagetable.NodeID{3}))
	n.cur.Store(next)
	send(n, 2, coherence.Message{Kind: coherence.Request, Epoch: 2, Access: pagetable.WriteAccess})
	if held := n.peers.get(2).held; len(held) != 1 {
		t.Fatalf("%d packets are held, want the one that came too early: %v", len(held), &r.pages.Get(0).proto)
	}
	n.tellPages(next)
	n.release(n.peers.get(2))
	if held := n.peers.get(2).held; len(held) != 0 {
		t.Errorf("%d packets are still held", len(held))
	}
}

// A request that is on its way to its page when the node begins to leave must not make a page that has
// nothing to hand over into one that has.
func TestLeavingHomeServesNoRequest(t *testing.T) {
	n, r := newHome(t)
	n.leaving.Store(true)
	m := coherence.Message{Kind: coherence.Request, From: 2, Epoch: 1, Access: pagetable.WriteAccess}
	m.Page, m.To = pagetable.MakePageID(1, 0), n.self
	n.newWork().message(r, m, nil)
	if pg := r.pages.Get(0); !pg.proto.Vacated() {
		t.Errorf("the page was given to a node: %v", &pg.proto)
	}
}

// A node may join, use a page, and be lost between two views of its home. What it has sent may arrive
// after the second.
func TestMessageOfAForgottenMember(t *testing.T) {
	n, _ := newHome(t)
	(*handler)(n).Up(transport.Identity{Node: 4, Incarnation: 4}, "")
	send(n, 4, coherence.Message{Kind: coherence.Request, Epoch: 1, Access: pagetable.WriteAccess})
	n.install(n.view().Lose([]pagetable.NodeID{3}))
	send(n, 4, coherence.Message{Kind: coherence.InvalidateAck, Epoch: 1, Txn: 1}) // it panics if it is handled
}
