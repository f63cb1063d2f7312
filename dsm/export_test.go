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

// Forget has the program's next access to each page of a mapped region fault, though its node has the page.
func Forget(r *Region) error {
	m := r.m.(*mapping)
	return m.a.window.Heal(m.meta.Range())
}

// samplers are those of a node's programs.
type samplers map[*program]*sampler

// Samplers returns them, once each program has one.
func Samplers(s *Space) (samplers, bool) {
	v := s.b.(*node).server
	v.mu.Lock()
	defer v.mu.Unlock()
	all := samplers{}
	for p := range v.programs {
		if all[p] = p.sampler.Load(); all[p] == nil {
			return nil, false
		}
	}
	return all, len(all) > 0
}

// Enable turns sampling on or off.
func (all samplers) Enable(on bool) {
	for p, sm := range all {
		if !on {
			sm = nil
		}
		p.sampler.Store(sm)
	}
}

// FrameSize reads a .gopclntab and returns what it says of one instruction.
func FrameSize(table []byte, text, pc uint64) (size uint64, ok bool) {
	sizes := readFrameSizes(table, text)
	return sizes.at(pc)
}

// Recording says whether nodes record events.
const Recording = recording
