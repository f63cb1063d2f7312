package locks

import (
	"cmp"
	"slices"

	"pagemesh/pagetable"
)

// LockStatus is a lock as its home sees it.
type LockStatus struct {
	Name string
	Kind string // "mutex", "barrier", "rwmutex", "semaphore", or that of a Class
	// Holder is the node where a mutex is or was last held, as far as the home knows, or where somebody leads; 0 if
	// it is free, or nobody does.
	Holder pagetable.NodeID
	// Waiting are the nodes that wait: for a mutex in the order of the queue, for a barrier those that
	// have arrived in the present phase, by id, for a counter those that watch it, in the order in which they came.
	Waiting []pagetable.NodeID
	// Token is the greatest fencing token of a mutex that the home knows.
	Token Token
	// Acquires counts a mutex's acquisitions as of Token, or a barrier's completed phases.
	Acquires uint64
	// Holders are the nodes that have permits of a semaphore, or a share of a read/write mutex, by id:
	// in use or cached.
	Holders []pagetable.NodeID
	// Permits is the size of a semaphore, and Free how many of them are at the home.
	Permits, Free int
	// OwnerDied says that the owner of a mutex has died, or may have, and that nobody has been told, as far
	// as the home knows. Of a read/write mutex it
	// says that a node is lost that may have held it to write.
	OwnerDied bool
	Parties   int   // of a barrier
	Arrived   int   // of a barrier, in the present phase
	Broken    bool  // of a barrier: a node that took part in it is lost; of a counter: its home is
	Value     int64 // of a counter
	Over      bool  // of an election: a leader has ended it, for good
}

// Status describes the locks that are homed at this node, by name and kind.
func (m *Machine) Status() []LockStatus {
	var all []LockStatus
	for _, e := range m.home.mutexes {
		all = append(all, e.status())
	}
	for _, e := range m.home.barriers {
		all = append(all, e.status())
	}
	for _, e := range m.home.pools {
		all = append(all, e.status())
	}
	for _, e := range m.home.served.counters {
		all = append(all, e.status())
	}
	for _, e := range m.home.served.elections {
		all = append(all, e.status())
	}
	for _, e := range m.home.served.conds {
		all = append(all, e.status())
	}
	slices.SortFunc(all, func(a, b LockStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}

func (m *mutexHome) status() LockStatus {
	s := LockStatus{
		Name: m.name, Kind: "mutex", Token: m.token, Acquires: m.token.Count(), OwnerDied: m.died || m.lost,
	}
	if len(m.queue) > 0 {
		s.Holder, s.Waiting = m.queue[0], slices.Clone(m.queue[1:])
	}
	return s
}

func (b *barrierHome) status() LockStatus {
	s := LockStatus{
		Name: b.name, Kind: "barrier", Acquires: b.phase,
		Parties: int(b.parties), Arrived: int(b.arrived), Broken: b.broken,
	}
	for _, p := range b.participants {
		if p.arrived > 0 {
			s.Waiting = append(s.Waiting, p.node)
		}
	}
	return s
}

func (p *poolHome) status() LockStatus {
	s := LockStatus{Name: p.name, Kind: "semaphore", Permits: int(p.size), Free: int(p.free)}
	if p.size == Everything {
		s = LockStatus{
			Name: p.name, Kind: "rwmutex", Token: p.token, Acquires: p.token.Count(), OwnerDied: p.ownerDied,
		}
	}
	for _, g := range p.given {
		s.Holders = append(s.Holders, g.node)
		if g.count == Everything {
			s.Holder = g.node
		}
	}
	slices.Sort(s.Holders)
	for _, q := range p.queue {
		s.Waiting = append(s.Waiting, q.node)
	}
	return s
}

func (c *counterHome) status() LockStatus {
	s := LockStatus{Name: c.lock.Name, Kind: c.lock.Class.String(), Value: c.value, Broken: c.broken}
	for _, w := range c.watchers {
		s.Waiting = append(s.Waiting, w.node)
	}
	return s
}

func (e *electionHome) status() LockStatus {
	s := LockStatus{
		Name: e.lock.Name, Kind: e.lock.Class.String(), Holder: e.leader, Token: e.token, Acquires: e.token.Count(),
		Over: e.over,
	}
	for _, q := range e.queue {
		s.Waiting = append(s.Waiting, q.node)
	}
	return s
}

func (c *condHome) status() LockStatus {
	s := LockStatus{Name: c.lock.Name, Kind: c.lock.Class.String()}
	for _, q := range c.queue {
		s.Waiting = append(s.Waiting, q.node)
	}
	return s
}
