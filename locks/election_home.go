package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// electionHome is an election as its home sees it.
type electionHome struct {
	lock Served
	id   ID

	leader pagetable.NodeID // where somebody leads, or 0
	token  Token            // of the leader, or the greatest one known
	over   bool             // a leader has ended the election, for good

	queue     []candidate // first come, first elected; empty if nobody leads
	observers []observing // none of them waits for what is
}

// candidate is a waiter of a node that stands for election.
type candidate struct {
	node   pagetable.NodeID
	waiter Waiter
}

// observing is an observer of a node.
type observing struct {
	node pagetable.NodeID
	observer
}

// campaign queues a candidate.
func (e *electionHome) campaign(from pagetable.NodeID, msg Message, r *Ready) {
	e.queue = append(e.queue, candidate{from, msg.Waiter})
	e.elect(r)
}

// elect has the first of the queue lead if nobody does, and tells of what has changed. When the election is over,
// so is the wait of all.
func (e *electionHome) elect(r *Ready) {
	if e.over {
		for _, q := range e.queue {
			r.send(q.node, Message{Kind: Elect, ID: e.id, Waiter: q.waiter, Reason: Over})
		}
		e.queue = nil
	}
	if e.leader == 0 && len(e.queue) > 0 {
		q := e.queue[0]
		e.queue = slices.Delete(e.queue, 0, 1)
		e.leader, e.token = q.node, grantToken(r.epoch, e.token)
		r.send(q.node, Message{Kind: Elect, ID: e.id, Waiter: q.waiter, Token: e.token})
	}
	e.observers = slices.DeleteFunc(e.observers, func(o observing) bool { return e.answer(o, r) })
}

// answer tells an observer who leads, if that is not what it knows.
func (e *electionHome) answer(o observing, r *Ready) bool {
	m := Message{Kind: Observed, ID: e.id, Waiter: o.w, Node: e.leader}
	if e.leader != 0 {
		m.Token = e.token
	}
	if m.Token == o.known {
		return false
	}
	r.send(o.node, m)
	return true
}

// resign ends a leadership.
func (e *electionHome) resign(from pagetable.NodeID, msg Message, r *Ready) {
	if e.leader != from || e.token != msg.Token {
		impossible(from, msg, e)
	}
	e.leader, e.over = 0, msg.Reason == Over
	e.elect(r)
}

// observe answers an observer, now or later.
func (e *electionHome) observe(from pagetable.NodeID, msg Message, r *Ready) {
	o := observing{from, observer{msg.Waiter, msg.Token}}
	if !e.answer(o, r) {
		e.observers = append(e.observers, o)
	}
}

// forgo forgets a waiter that has given up, unless it is answered already.
func (e *electionHome) forgo(from pagetable.NodeID, msg Message) {
	e.queue = slices.DeleteFunc(e.queue, func(q candidate) bool { return q.node == from && q.waiter == msg.Waiter })
	e.observers = slices.DeleteFunc(e.observers, func(o observing) bool { return o.node == from && o.w == msg.Waiter })
}

// newEpoch forgets those who wait, who ask again, and the leader, which is reported.
func (e *electionHome) newEpoch() { e.leader, e.queue, e.observers = 0, nil, nil }

// report takes up what a node says of the election in a new epoch.
func (e *electionHome) report(from pagetable.NodeID, msg Message) {
	if msg.Reason == Over {
		e.over = true
		return
	}
	if e.leader != 0 || msg.Token < e.token {
		impossible(from, msg, e)
	}
	e.leader, e.token = from, msg.Token
}

// handOver tells the election's next home that it is over. All else that matters nodes report.
func (e *electionHome) handOver(to pagetable.NodeID, r *Ready) {
	if e.over {
		r.send(to, Message{Kind: HandElection, ID: e.id, Name: e.lock.Name, Class: e.lock.Class})
	}
}

// String shows all of the state, for a panic.
func (e *electionHome) String() string {
	return fmt.Sprintf("%v %q leader=%v token=%v over=%v queue=%v observers=%v",
		e.lock.Class, e.lock.Name, e.leader, e.token, e.over, e.queue, e.observers)
}
