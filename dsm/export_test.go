package dsm

import "pagemesh/transport"

// OnMemory returns cfg for a node whose endpoint is on a network in memory.
func OnMemory(n *transport.MemoryNetwork, cfg Config) Config {
	cfg.listen = n.Listen
	return cfg
}
