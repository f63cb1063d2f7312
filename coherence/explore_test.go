package coherence

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"testing"
	"time"
)

// model is a system in one of its states. The explorer knows nothing else about it.
type model[M any, E fmt.Stringer] interface {
	clone() M
	// enabled appends every event that can happen in this state.
	enabled(events []E) []E
	// do performs one of them. The error says which promise was broken.
	do(event E) error
	// atRest returns which promise is broken if nothing more can happen in this state.
	atRest() error
	// fingerprint appends bytes that differ for states with different futures.
	fingerprint(b []byte) []byte
}

// explorer walks through every state that a model can get into, depth first, each state once. On the
// way it finds out whether every run ends: one that does not would come to a state that it has been in.
type explorer[M model[M, E], E fmt.Stringer] struct {
	seeds [2]maphash.Seed
	buf   []byte
	// seen holds the states by their fingerprint's hash; true while the state is on the path. That two
	// of 10^9 states have one hash of 128 bits has a probability of 10^-20.
	seen map[digest]bool
	path []step[M, E]
	explored
}

type digest [2]uint64

// step is a state on the path, and which of its events have been tried.
type step[M any, E fmt.Stringer] struct {
	state  M
	digest digest
	events []E
	next   int
}

// explored says how far an exploration went.
type explored struct {
	states, transitions, ends, depth int
}

func (x *explored) add(o explored) {
	x.states += o.states
	x.transitions += o.transitions
	x.ends += o.ends
	x.depth = max(x.depth, o.depth)
}

func (x explored) String() string {
	return fmt.Sprintf("%d states, %d transitions, %d ends, %d events deep", x.states, x.transitions, x.ends, x.depth)
}

// violation is a broken promise and the events that lead to it.
type violation[E fmt.Stringer] struct {
	err    error
	events []E
}

// Error returns the events as lines of a scenario.
func (v *violation[E]) Error() string {
	var b strings.Builder
	for _, e := range v.events {
		fmt.Fprintln(&b, e)
	}
	return fmt.Sprintf("%v\nafter %d events:\n%s", v.err, len(v.events), &b)
}

func newExplorer[M model[M, E], E fmt.Stringer]() *explorer[M, E] {
	return &explorer[M, E]{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, seen: map[digest]bool{}}
}

// explore fails t with the shortest run that breaks a promise of the model, if there is one.
func explore[M model[M, E], E fmt.Stringer](t *testing.T, start M) explored {
	t.Helper()
	began := time.Now()
	x := newExplorer[M, E]()
	v := x.walk(start.clone())
	t.Logf("explored %v, in %v", x.explored, time.Since(began).Round(time.Millisecond))
	if v == nil {
		return x.explored
	}
	if shorter := newExplorer[M, E]().shortest(start, len(v.events)); shorter != nil {
		v = shorter
	}
	t.Fatal(v.Error())
	return x.explored
}

func (x *explorer[M, E]) digest(m M) digest {
	x.buf = m.fingerprint(x.buf[:0])
	return digest{maphash.Bytes(x.seeds[0], x.buf), maphash.Bytes(x.seeds[1], x.buf)}
}

// walk returns the first broken promise, nil if all hold in every state.
func (x *explorer[M, E]) walk(start M) *violation[E] {
	if err := x.enter(start, x.digest(start)); err != nil {
		return &violation[E]{err, nil}
	}
	for len(x.path) > 0 {
		top := &x.path[len(x.path)-1]
		if top.next == len(top.events) {
			x.seen[top.digest] = false
			x.path = x.path[:len(x.path)-1]
			continue
		}
		top.next++
		if err := x.follow(top.state, top.events[top.next-1]); err != nil {
			return &violation[E]{err, x.trace()}
		}
	}
	return nil
}

// follow goes from a state to the one after e, unless it was there before.
func (x *explorer[M, E]) follow(from M, e E) error {
	x.transitions++
	next := from.clone()
	if err := next.do(e); err != nil {
		return err
	}
	d := x.digest(next)
	if onPath, seen := x.seen[d]; onPath {
		return errors.New("back in a state of this run: it may never end")
	} else if seen {
		return nil
	}
	return x.enter(next, d)
}

// enter puts a new state on the path.
func (x *explorer[M, E]) enter(m M, d digest) error {
	x.states++
	x.seen[d] = true
	var events []E
	if n := len(x.path); n < cap(x.path) {
		events = x.path[:n+1][n].events[:0] // the memory of a step that is over
	}
	events = m.enabled(events)
	x.path = append(x.path, step[M, E]{m, d, events, 0})
	x.depth = max(x.depth, len(x.path)-1)
	if len(events) > 0 {
		return nil
	}
	x.ends++
	return m.atRest()
}

// trace returns the events that were taken along the path. A last state without events was entered by
// the event of the one before it.
func (x *explorer[M, E]) trace() (events []E) {
	for _, s := range x.path {
		if s.next > 0 {
			events = append(events, s.events[s.next-1])
		}
	}
	return events
}

// maxShortest bounds the memory that the search for a shortest run takes.
const maxShortest = 500_000

// run is a state and the events that led to it.
type run[M any, E fmt.Stringer] struct {
	state  M
	events *chain[E]
	length int
}

// chain is a run's last event and those before it. Runs share their beginnings.
type chain[E fmt.Stringer] struct {
	event  E
	before *chain[E]
}

// shortest walks breadth first and returns the shortest run that breaks a promise, or nil if there is
// none of at most limit events or it would take too much memory.
func (x *explorer[M, E]) shortest(start M, limit int) *violation[E] {
	queue := []run[M, E]{{state: start.clone()}}
	for len(queue) > 0 && len(x.seen) < maxShortest {
		r := queue[0]
		queue = queue[1:]
		events := r.state.enabled(nil)
		if len(events) == 0 {
			if err := r.state.atRest(); err != nil {
				return r.violation(err)
			}
		}
		for _, e := range events {
			next := run[M, E]{r.state.clone(), &chain[E]{e, r.events}, r.length + 1}
			if err := next.state.do(e); err != nil {
				return next.violation(err)
			}
			d := x.digest(next.state)
			if _, seen := x.seen[d]; !seen && next.length < limit {
				x.seen[d] = true
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func (r *run[M, E]) violation(err error) *violation[E] {
	events := make([]E, r.length)
	for c, i := r.events, r.length-1; c != nil; c, i = c.before, i-1 {
		events[i] = c.event
	}
	return &violation[E]{err, events}
}
