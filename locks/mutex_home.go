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

	// died says that an owner has died and that, as of token, nobody has been told.
	died bool
	// lost says that a node was lost with the mutex, or may have been, and that nobody has had it since.
	lost bool
	// adopted: another home has handed it over, and reports have still to say who has it.
	adopted bool

	found mutexFound // while the home is rebuilding
}

// mutexFound is what the reports of a new epoch say of a mutex.
type mutexFound struct {
	owner   pagetable.NodeID // has it, or 0
	token   Token            // the owner's last one
	died    bool             // the owner's next holder is to be told that one died
	waiting []pagetable.NodeID
	deaths  []death // what those who had it know
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
	m.token, m.died, m.lost = grantToken(r.epoch, m.token), m.died || m.lost, false
	r.send(m.queue[0], Message{Kind: Grant, ID: m.id, Token: m.token, Reason: tell(m.died)})
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
		m.token, m.died = msg.Token, msg.Reason == OwnerDied
	}
}

// told notes that a holder has heard of the death that the home has granted with, unless it knows of a later
// holder.
func (m *mutexHome) told(msg Message) {
	if msg.Token >= m.token {
		m.died = false
	}
}

// returned takes the mutex back from a node that leaves. If the home has sent that node a Forward
// meanwhile, the node ignores it and the home grants.
func (m *mutexHome) returned(from pagetable.NodeID, msg Message, r *Ready) {
	if len(m.queue) == 0 || m.queue[0] != from || msg.Token < m.token {
		impossible(from, msg, m)
	}
	m.token, m.died = msg.Token, msg.Reason == OwnerDied
	m.queue = slices.Delete(m.queue, 0, 1)
	if len(m.queue) > 0 {
		m.grant(r)
	}
}

// report collects what a node says of the mutex in a new epoch.
func (m *mutexHome) report(from pagetable.NodeID, msg Message) {
	f := &m.found
	switch {
	case msg.Status == Waiting:
		f.waiting = append(f.waiting, from)
	case msg.Status == Gone:
		f.deaths = append(f.deaths, death{msg.Token, msg.Reason == OwnerDied})
	case f.owner != 0 || msg.Token < m.token:
		impossible(from, msg, m)
	default:
		f.owner, f.token, f.died = from, msg.Token, msg.Reason == OwnerDied
	}
}

// mayHave reports whether one of the nodes has the mutex, as far as the home knows, or may have.
func (m *mutexHome) mayHave(nodes []pagetable.NodeID) bool {
	return m.adopted && len(nodes) > 0 || slices.ContainsFunc(nodes, func(n pagetable.NodeID) bool { return m.place(n) >= 0 })
}

// rebuilt makes the queue from the reports: the owner first, then those who wait, in the order that is
// remembered, others after them by id. lost are the nodes that were lost meanwhile. A mutex that was on its way when the epoch began has no owner: its sender has given it up and its
// receiver refuses it. So the first of the queue gets a Grant, and only that one.
func (m *mutexHome) rebuilt(lost []pagetable.NodeID, r *Ready) {
	m.lost, m.adopted = m.lost || m.mayHave(lost), false
	f := m.found
	slices.SortFunc(f.waiting, func(a, b pagetable.NodeID) int {
		return cmp.Or(cmp.Compare(m.rank(a), m.rank(b)), cmp.Compare(a, b))
	})
	m.found, m.queue = mutexFound{}, nil
	if f.owner != 0 {
		m.queue = append(m.queue, f.owner)
		m.token, m.died, m.lost = f.token, f.died, false
	} else {
		m.learn(f.deaths)
	}
	for _, n := range f.waiting {
		m.enqueue(n, r)
	}
}

// learn takes the latest word on an owner's death.
func (m *mutexHome) learn(deaths []death) {
	for _, d := range deaths {
		if d.token > m.token || d.token == m.token && !d.due {
			m.token, m.died = d.token, d.due
		}
	}
}

// handOver tells the mutex's next home what this one knows. lost are the nodes that were lost since this one
// knew where the mutex is.
func (m *mutexHome) handOver(to pagetable.NodeID, lost []pagetable.NodeID, r *Ready) {
	msg := Message{Kind: HandoverMutex, ID: m.id, Name: m.name, Token: m.token, Reason: tell(m.died)}
	if m.lost || m.mayHave(lost) {
		msg.Reason = Lost
	}
	r.send(to, msg)
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
	return fmt.Sprintf("mutex %q queue=%v token=%v died=%v lost=%v adopted=%v found=%v",
		m.name, m.queue, m.token, m.died, m.lost, m.adopted, m.found)
}
