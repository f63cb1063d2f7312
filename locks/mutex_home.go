package locks

import (
	"cmp"
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// mutexHome is a mutex as its home sees it.
//
// Invariant: nodes in queue[1:] are distinct, because a node asks again only when its tenure has begun,
// and its note of that (Granted) comes before the new Acquire.
type mutexHome struct {
	id   ID
	name string

	// queue is who has the mutex and who comes next, in order. The first one has it, or has passed it
	// on to the second and so forth, and no note of that has come yet. Empty: the mutex is free.
	queue []pagetable.NodeID
	token Token // the greatest one known

	// ownerDied says that since the mutex was last known to be in order, it was lost with a node that
	// may have held it.
	ownerDied bool

	found mutexFound // while the home is rebuilding
}

// mutexFound is what the reports of a new epoch say of a mutex.
type mutexFound struct {
	owner   pagetable.NodeID // has it, or 0
	token   Token            // the owner's last one
	waiting []pagetable.NodeID
}

// acquire takes up a node's request.
func (m *mutexHome) acquire(from pagetable.NodeID, msg Message, r *Ready) {
	if i := m.place(from); i > 0 || i >= 0 && i == len(m.queue)-1 {
		impossible(from, msg, m)
	}
	m.enqueue(from, r)
}

// place returns where the node's last entry in the queue is, or -1.
func (m *mutexHome) place(n pagetable.NodeID) int {
	for i := len(m.queue) - 1; i >= 0; i-- {
		if m.queue[i] == n {
			return i
		}
	}
	return -1
}

// enqueue appends a node to the queue and tells the one before it, or grants.
func (m *mutexHome) enqueue(n pagetable.NodeID, r *Ready) {
	m.queue = append(m.queue, n)
	if len(m.queue) == 1 {
		m.grant(r)
		return
	}
	r.send(m.queue[len(m.queue)-2], Message{Kind: Forward, ID: m.id, Node: n})
}

// grant gives the mutex, which nobody has, to the first of the queue.
func (m *mutexHome) grant(r *Ready) {
	m.token = grantToken(r.epoch, m.token)
	r.send(m.queue[0], Message{Kind: Grant, ID: m.id, Token: m.token})
}

// granted notes that the mutex has reached a node, and with it that those before have passed it on.
// Notes of different nodes overtake each other; one that comes late finds its node gone.
func (m *mutexHome) granted(from pagetable.NodeID, msg Message) {
	i := m.place(from)
	if (i > 0) != (msg.Token > m.token) {
		impossible(from, msg, m)
	}
	if i > 0 {
		m.queue = slices.Delete(m.queue, 0, i)
		m.token = msg.Token
	}
}

// returned takes the mutex back from a node that leaves. If the home has sent that node a Forward
// meanwhile, the node ignores it and the home grants.
func (m *mutexHome) returned(from pagetable.NodeID, msg Message, r *Ready) {
	if len(m.queue) == 0 || m.queue[0] != from || msg.Token < m.token {
		impossible(from, msg, m)
	}
	m.token = msg.Token
	m.queue = slices.Delete(m.queue, 0, 1)
	if len(m.queue) > 0 {
		m.grant(r)
	}
}

// report collects what a node says of the mutex in a new epoch.
func (m *mutexHome) report(from pagetable.NodeID, msg Message) {
	if msg.Status == Waiting {
		m.found.waiting = append(m.found.waiting, from)
		return
	}
	if m.found.owner != 0 || msg.Token < m.token {
		impossible(from, msg, m)
	}
	m.found.owner, m.found.token = from, msg.Token
}

// rebuilt makes the queue from the reports: the owner first, then those who wait, in the order that is
// remembered, others after them by id. maybeLost says that a node that may have had the mutex is lost.
// A mutex that was on its way when the epoch began has no owner: its sender has given it up and its
// receiver refuses it. So the first of the queue gets a Grant, and only that one.
func (m *mutexHome) rebuilt(maybeLost bool, r *Ready) {
	f := m.found
	slices.SortFunc(f.waiting, func(a, b pagetable.NodeID) int {
		return cmp.Or(cmp.Compare(m.rank(a), m.rank(b)), cmp.Compare(a, b))
	})
	m.found, m.queue = mutexFound{}, nil
	if f.owner != 0 {
		m.queue = append(m.queue, f.owner)
		m.token = f.token
	} else if maybeLost {
		m.ownerDied = true
	}
	for _, n := range f.waiting {
		m.enqueue(n, r)
	}
}

// rank is a node's place in the remembered queue, behind everybody if it has none. Its last place
// counts: the first of the queue may stand there for a tenure that is over.
func (m *mutexHome) rank(n pagetable.NodeID) int {
	if i := m.place(n); i >= 0 {
		return i
	}
	return len(m.queue)
}

// String shows all of the state, for a panic.
func (m *mutexHome) String() string {
	return fmt.Sprintf("mutex %q queue=%v token=%v found=%v", m.name, m.queue, m.token, m.found)
}
