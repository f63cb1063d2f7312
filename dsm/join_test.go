package dsm

import (
	"errors"
	"testing"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// A node that joins right after another has founded the space finds it not gossiping yet, and so may the
// founder find the node that has just joined.
func TestJoinBeforeGossip(t *testing.T) {
	cfg, err := Config{Cluster: t.Name()}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	founder := newNode(cfg)
	if err := founder.listen(); err != nil {
		t.Fatal(err)
	}
	defer founder.shutdown(nil)
	founder.found()

	joined, err := Open(t.Context(), Config{Cluster: t.Name(), Seeds: []string{founder.ep.Addr()}})
	if err != nil {
		t.Fatal("the founder does not gossip yet:", err)
	}
	defer joined.Close()
	gossip := joined.b.(*node).gossip.Swap(nil)
	defer joined.b.(*node).gossip.Store(gossip)
	if err := founder.startGossip(); err != nil {
		t.Fatal("the other node does not gossip yet:", err)
	}
}

// Another member may learn that a node has joined, and want a page of it, before the node itself does.
func TestPageMessageBeforeFirstView(t *testing.T) {
	cfg, err := Config{Cluster: t.Name()}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(cfg)
	if err := n.listen(); err != nil {
		t.Fatal(err)
	}
	defer n.shutdown(nil)
	n.become(2)
	h := (*handler)(n)
	h.Up(transport.Identity{Node: 1, Incarnation: 1}, "")
	early := coherence.Message{Kind: coherence.Request, Epoch: 1, Page: pagetable.MakePageID(1, 0), Access: pagetable.ReadAccess}
	h.Packet(transport.NewOutbox(n.ep), 1, coherence.NewCodec().Encode(classPage, early), nil)
	if held := n.peers.get(1).held; len(held) != 1 {
		t.Errorf("%d packets are held for the first view, want the one that came", len(held))
	}
}

// TestJoinWithoutHope: what can't succeed is not tried until the time is up.
func TestJoinWithoutHope(t *testing.T) {
	start := time.Now()
	_, err := Open(t.Context(), Config{Seeds: []string{"192.0.2.1:7700"}, JoinTimeout: time.Hour})
	if !errors.Is(err, transport.ErrNotLoopback) || !errors.Is(err, ErrJoin) {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}
