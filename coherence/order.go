package coherence

import (
	"cmp"
	"slices"

	"pagemesh/pagetable"
)

// Moment is the end of one interval of a node.
type Moment struct {
	Node     pagetable.NodeID
	Interval uint32 // as Intervals counts them: it wraps around
}

// before reports whether m is an earlier moment of the same node than o.
func (m Moment) before(o Moment) bool { return int32(m.Interval-o.Interval) < 0 }

// VectorTime is what happened before something: of each node that it names, all intervals up to a moment. It
// is ascending by node, and names each once.
type VectorTime []Moment

// Has reports whether a moment happened before.
func (t VectorTime) Has(m Moment) bool {
	i, ok := t.find(m.Node)
	return ok && !t[i].before(m)
}

// Covers reports whether all of o happened before, what happened at one node left aside.
func (t VectorTime) Covers(o VectorTime, except pagetable.NodeID) bool {
	for _, m := range o {
		if m.Node != except && !t.Has(m) {
			return false
		}
	}
	return true
}

// Add takes up a moment.
func (t *VectorTime) Add(m Moment) {
	switch i, ok := t.find(m.Node); {
	case !ok:
		*t = slices.Insert(*t, i, m)
	case (*t)[i].before(m):
		(*t)[i] = m
	}
}

// Join takes up all that happened before something else.
func (t *VectorTime) Join(o VectorTime) {
	for _, m := range o {
		t.Add(m)
	}
}

func (t VectorTime) find(n pagetable.NodeID) (int, bool) {
	return slices.BinarySearchFunc(t, n, func(m Moment, n pagetable.NodeID) int { return cmp.Compare(m.Node, n) })
}

// Order is what one node knows of the order of intervals: which of other nodes happened before its next write,
// and before the next acquire of each lock. It is for reports of races only: what a node must see in a release
// region Notices say, which name no interval.
//
// A node is one party here. What its goroutines do counts as done one after the other, since a node can't
// know how they synchronize.
//
// A message about a lock comes after what Tell returns for the lock, on the same way, whoever sends it for
// whatever reason. So the vector time travels with the lock, and nodes that pass it on add nothing of their own.
//
// An epoch counts as a barrier of all nodes: what was known before is dropped, since it may have gone down with a
// member. Nothing that happened in different epochs is ever taken for a race.
//
// Order keeps one vector time for each lock that was released in this epoch.
type Order struct {
	self   pagetable.NodeID
	epoch  uint64
	before VectorTime
	locks  map[uint64]VectorTime
}

// NewEpoch begins an epoch of a node.
func (o *Order) NewEpoch(self pagetable.NodeID, epoch uint64) {
	*o = Order{self: self, epoch: epoch, locks: map[uint64]VectorTime{}}
}

// Epoch returns the present epoch.
func (o *Order) Epoch() uint64 { return o.epoch }

// Before returns what happened before the next write of this node, in memory of its own.
func (o *Order) Before() VectorTime { return slices.Clone(o.before) }

// Released takes up that this node releases a lock, or arrives at a barrier, with its intervals up to that one at
// their homes or on their way there.
func (o *Order) Released(lock uint64, interval uint32) {
	t := o.locks[lock]
	t.Join(o.before)
	if interval != 0 {
		t.Add(Moment{o.self, interval})
	}
	o.locks[lock] = t
}

// Tell returns what goes ahead of a message about a lock; it is valid until the next call. Empty: nothing has to.
func (o *Order) Tell(lock uint64) VectorTime { return o.locks[lock] }

// Learn takes up what came ahead of a message about a lock, in this epoch.
func (o *Order) Learn(lock uint64, t VectorTime) {
	all := o.locks[lock]
	all.Join(t)
	o.locks[lock] = all
}

// News reports whether to acquire a lock would tell this node of something. Then its open interval has to end
// before: what was written in it did not happen after that.
func (o *Order) News(lock uint64) bool { return !o.before.Covers(o.locks[lock], o.self) }

// Acquired takes up that this node has acquired a lock, or has come through a barrier.
func (o *Order) Acquired(lock uint64) { o.before.Join(o.locks[lock]) }
