package transport

import (
	"errors"
	"maps"
	"slices"
)

// Cut breaks the connections between two addresses, streams included, and lets no new one come about
// before Heal. Both ends see Down; of what was on its way a part arrives first.
func (n *MemoryNetwork) Cut(a, b string) {
	n.mu.Lock()
	n.cuts[unordered(a, b)] = true
	if m := n.endpoints[a]; m != nil {
		for _, node := range slices.Sorted(maps.Keys(m.ends)) {
			if end := m.ends[node]; end.addr == b {
				end.breakLocked(errors.New("the network was cut"))
			}
		}
	}
	streams := n.streamsLocked(func(s *memoryStream) bool { return s.ends == unordered(a, b) })
	n.mu.Unlock()
	closeAll(streams)
}

// Heal ends a Cut. Connections that it broke stay broken.
func (n *MemoryNetwork) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cuts, unordered(a, b))
	n.changeLocked()
}

// Crash ends the endpoint at addr as if its process died: its handler is not called again, its methods
// return ErrClosed, its address is free; only a handler call in progress still ends. The others get a part of what it had sent, then nothing, and
// Down after Faults.Detect. No effect if there is no such endpoint.
func (n *MemoryNetwork) Crash(addr string) {
	n.mu.Lock()
	m := n.endpoints[addr]
	if m == nil {
		n.mu.Unlock()
		return
	}
	delete(n.endpoints, addr)
	m.gone = true
	for _, node := range slices.Sorted(maps.Keys(m.ends)) {
		end := m.ends[node]
		end.shut, end.inbox, end.ending, end.staged = true, nil, false, nil
		end.endLocked(0, memoryArrival{silent: true})
		end.other.loseLocked()
		end.other.endLocked(n.faults.Detect, memoryArrival{cause: end.other.describe(errors.New("the node has crashed"))})
	}
	streams := n.streamsLocked(func(s *memoryStream) bool { return s.owner == m })
	n.changeLocked()
	n.mu.Unlock()
	closeAll(streams)
}
