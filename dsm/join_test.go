package dsm

import "testing"

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
