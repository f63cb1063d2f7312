package locks

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// electionNode is an election as a node that takes part in it, or observes it, sees it.
type electionNode struct {
	lock Served
	id   ID
	home pagetable.NodeID // in the view of the machine

	leader Waiter // who leads at this node, or 0
	token  Token  // valid if somebody does
	over   bool   // a leader has ended the election, for good

	candidates []Waiter   // whose Campaign is under way
	observers  []observer // whose Observe is
}

// observer is a waiter for another leader than the one with a token, or than nobody if that is 0.
type observer struct {
	w     Waiter
	known Token
}

// campaign has w stand for election, unless that is over.
func (e *electionNode) campaign(w Waiter, r *Ready) {
	if e.over {
		r.wake(w, 0, Over)
		return
	}
	e.candidates = append(e.candidates, w)
	e.stand(w, r)
}

func (e *electionNode) stand(w Waiter, r *Ready) {
	r.send(e.home, Message{Kind: Campaign, ID: e.id, Name: e.lock.Name, Class: e.lock.Class, Waiter: w})
}

// elected ends the wait of a candidate: it leads, or the election is over. One that has given up resigns.
func (e *electionNode) elected(from pagetable.NodeID, msg Message, r *Ready) {
	i := slices.Index(e.candidates, msg.Waiter)
	if i >= 0 {
		e.candidates = slices.Delete(e.candidates, i, i+1)
	}
	switch {
	case msg.Reason == Over:
		e.over = true
		if i >= 0 {
			r.wake(msg.Waiter, 0, Over)
		}
	case e.leader != 0 || e.over:
		impossible(from, msg, e)
	case i < 0:
		r.send(e.home, Message{Kind: Resign, ID: e.id, Token: msg.Token})
	default:
		e.leader, e.token = msg.Waiter, msg.Token
		r.wake(msg.Waiter, msg.Token, OK)
	}
}

// resign ends w's leadership, and the election with it if why is Over. It reports whether w led.
func (e *electionNode) resign(w Waiter, why Reason, r *Ready) bool {
	if e.leader == 0 || e.leader != w {
		return false
	}
	e.leader, e.over = 0, why == Over
	r.send(e.home, Message{Kind: Resign, ID: e.id, Token: e.token, Reason: why})
	return true
}

func (e *electionNode) observe(o observer, r *Ready) {
	e.observers = append(e.observers, o)
	e.ask(o, r)
}

func (e *electionNode) ask(o observer, r *Ready) {
	r.send(e.home, Message{
		Kind: Observe, ID: e.id, Name: e.lock.Name, Class: e.lock.Class, Waiter: o.w, Token: o.known,
	})
}

// observed ends the wait of an observer, unless it has given up.
func (e *electionNode) observed(msg Message, r *Ready) {
	if e.forget(msg.Waiter) {
		r.Wake = append(r.Wake, Woken{Waiter: msg.Waiter, Token: msg.Token, Node: msg.Node})
	}
}

// cancel forgets a candidate or an observer and reports whether w was one.
func (e *electionNode) cancel(w Waiter, r *Ready) bool {
	if !e.forget(w) {
		i := slices.Index(e.candidates, w)
		if i < 0 {
			return false
		}
		e.candidates = slices.Delete(e.candidates, i, i+1)
	}
	r.send(e.home, Message{Kind: Forgo, ID: e.id, Waiter: w})
	return true
}

func (e *electionNode) forget(w Waiter) bool {
	i := slices.IndexFunc(e.observers, func(o observer) bool { return o.w == w })
	if i < 0 {
		return false
	}
	e.observers = slices.Delete(e.observers, i, i+1)
	return true
}

// idle reports whether nobody at this node leads or waits.
func (e *electionNode) idle() bool { return e.leader == 0 && len(e.candidates)+len(e.observers) == 0 }

// newEpoch reports who leads at this node, or that the election is over. It returns false if the entry can go.
func (e *electionNode) newEpoch(home pagetable.NodeID, r *Ready) bool {
	e.home = home
	m := Message{Kind: ReportLeader, ID: e.id, Name: e.lock.Name, Class: e.lock.Class}
	switch {
	case e.over:
		m.Reason = Over
	case e.leader != 0:
		m.Token = e.token
	default:
		return !e.idle()
	}
	r.send(home, m)
	return true
}

// askAgain repeats what the new epoch has made the home forget.
func (e *electionNode) askAgain(r *Ready) {
	for _, w := range e.candidates {
		e.stand(w, r)
	}
	for _, o := range e.observers {
		e.ask(o, r)
	}
}

// String shows all of the state, for a panic.
func (e *electionNode) String() string {
	return fmt.Sprintf("%v %q home=%v leader=%d token=%v over=%v candidates=%v observers=%v",
		e.lock.Class, e.lock.Name, e.home, e.leader, e.token, e.over, e.candidates, e.observers)
}
