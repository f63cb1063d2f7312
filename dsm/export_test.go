package dsm

import (
	"pagemesh/pagetable/vm"
	"pagemesh/transport"
)

// OnMemory returns cfg for a node whose endpoint is on a network in memory.
func OnMemory(n *transport.MemoryNetwork, cfg Config) Config {
	cfg.listen = n.Listen
	return cfg
}

// Words returns b as words.
func Words(b []byte) []uint64 { return vm.Cast[uint64](b) }

// Questions returns how many questions an attached program has put to its node.
func Questions(s *Space) uint64 {
	a := s.b.(*attachment)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.next
}
