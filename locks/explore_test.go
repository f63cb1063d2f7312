package locks

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// long reports whether tests may take minutes.
func long() bool { return os.Getenv("PAGEMESH_LONG") != "" }

// An exploration goes through every order of events of a small cluster: what users do, when messages
// arrive, when nodes take up a view. The home of the lock is n1 at first.
type exploration struct {
	name  string
	spec  lockSpec
	waits [3]int // how many begin at n1, n2 and n3
	// How many waits are canceled, holders die, nodes crash, nodes leave, and homes move, at any moment.
	cancels, deaths, crashes, leaves, moves int
	long                                    bool // only if there is time
}

var explorations = []exploration{
	{name: "mutex", spec: mutexSpec("m"), waits: [3]int{2, 2, 2}, cancels: 1},
	{name: "mutex and crash", spec: mutexSpec("m"), waits: [3]int{1, 2, 1}, crashes: 1},
	{name: "mutex and leave", spec: mutexSpec("m"), waits: [3]int{1, 1, 1}, leaves: 1},
	{name: "mutex and move", spec: mutexSpec("m"), waits: [3]int{0, 1, 1}, moves: 1},
	{name: "mutex and death", spec: mutexSpec("m"), waits: [3]int{1, 2, 1}, deaths: 1, cancels: 1},
	{name: "mutex, death and leave", spec: mutexSpec("m"), waits: [3]int{0, 1, 1}, deaths: 1, leaves: 1},
	{name: "mutex, death and move", spec: mutexSpec("m"), waits: [3]int{0, 1, 1}, deaths: 1, moves: 1, long: true},
	{name: "barrier", spec: barrierSpec("b", 2), waits: [3]int{1, 2, 2}, cancels: 1},
	{name: "barrier in lockstep", spec: lockstepSpec("b", 1, 2, 3), waits: [3]int{3, 3, 3}},
	{name: "barrier and crash", spec: barrierSpec("b", 2), waits: [3]int{2, 2, 1}, crashes: 1},
	{name: "barrier and leave", spec: lockstepSpec("b", 2, 3), waits: [3]int{0, 3, 3}, leaves: 1},
	{name: "barrier and move", spec: lockstepSpec("b", 1, 2), waits: [3]int{2, 2, 0}, moves: 1},

	{name: "read/write", spec: rwSpec("rw"), waits: [3]int{1, 2, 1}, cancels: 1},
	{name: "read/write and crash", spec: rwSpec("rw"), waits: [3]int{1, 1, 1}, crashes: 1},
	{name: "semaphore", spec: semaphoreSpec("s", 3, 1, 2), waits: [3]int{1, 2, 1}, cancels: 1},
	{name: "semaphore and leave", spec: semaphoreSpec("s", 1, 1), waits: [3]int{0, 1, 1}, leaves: 1},
	{name: "semaphore, leave and move", spec: semaphoreSpec("s", 1, 1), waits: [3]int{0, 1, 1}, leaves: 1, moves: 1, long: true},
	{name: "semaphore and move", spec: semaphoreSpec("s", 1, 1), waits: [3]int{0, 1, 1}, moves: 1},

	{name: "counter", spec: counterSpec("c", 1, watchFrom+2), waits: [3]int{1, 2, 1}, cancels: 1},
	{name: "counter and crash", spec: counterSpec("c", 1), waits: [3]int{0, 2, 1}, crashes: 1},
	{name: "counter and leave", spec: counterSpec("c", 1, watchFrom+2), waits: [3]int{0, 1, 1}, leaves: 1},
	{name: "counter and move", spec: counterSpec("c", 1), waits: [3]int{0, 1, 0}, moves: 1},
	{name: "election", spec: electionSpec("e", 1, watchFrom+1), waits: [3]int{1, 2, 1}, cancels: 1},
	{name: "election and crash", spec: electionSpec("e", 1, watchFrom), waits: [3]int{0, 1, 1}, crashes: 1},
	{name: "election and leave", spec: electionSpec("e", 1, watchFrom+1), waits: [3]int{0, 1, 1}, leaves: 1},
	{name: "once", spec: onceSpec("o", 1, 2), waits: [3]int{1, 2, 1}, cancels: 1},
	{name: "once and crash", spec: onceSpec("o", 2), waits: [3]int{1, 2, 1}, crashes: 1},
	{name: "once and leave", spec: onceSpec("o", 2), waits: [3]int{1, 1, 1}, leaves: 1},
	{name: "condition", spec: condSpec("c", enlisting, signaling), waits: [3]int{1, 2, 2}, cancels: 1},
	{name: "condition, broadcast", spec: condSpec("c", enlisting, broadcasting), waits: [3]int{1, 1, 2}},
	{name: "condition and crash", spec: condSpec("c", enlisting, signaling), waits: [3]int{0, 1, 1}, crashes: 1},
	{name: "condition and leave", spec: condSpec("c", enlisting, signaling), waits: [3]int{0, 1, 1}, leaves: 1},

	{name: "mutex, more", spec: mutexSpec("m"), waits: [3]int{3, 3, 2}, cancels: 2, long: true},
	{name: "mutex and crash, more", spec: mutexSpec("m"), waits: [3]int{1, 2, 2}, crashes: 1, cancels: 1, long: true},
	{name: "mutex and crashes", spec: mutexSpec("m"), waits: [3]int{1, 1, 1}, crashes: 2, long: true},
	{name: "mutex and leave, more", spec: mutexSpec("m"), waits: [3]int{2, 2, 1}, leaves: 1, long: true},
	{name: "mutex and leaves", spec: mutexSpec("m"), waits: [3]int{1, 1, 1}, leaves: 2, long: true},
	{name: "mutex, crash and leave", spec: mutexSpec("m"), waits: [3]int{1, 1, 1}, crashes: 1, leaves: 1, long: true},
	{name: "mutex, death and crash", spec: mutexSpec("m"), waits: [3]int{1, 1, 1}, deaths: 1, crashes: 1, long: true},
	{name: "mutex, crash and move", spec: mutexSpec("m"), waits: [3]int{0, 1, 1}, crashes: 1, moves: 1, long: true},
	{name: "mutex, death and moves", spec: mutexSpec("m"), waits: [3]int{0, 1, 1}, deaths: 1, moves: 2, long: true},
	{name: "mutex and move, more", spec: mutexSpec("m"), waits: [3]int{1, 1, 1}, moves: 1, long: true},
	{name: "read/write, more", spec: rwSpec("rw"), waits: [3]int{2, 2, 1}, cancels: 1, long: true},
	{name: "read/write and crash, more", spec: rwSpec("rw"), waits: [3]int{1, 2, 1}, crashes: 1, long: true},
	{name: "read/write and crashes", spec: rwSpec("rw"), waits: [3]int{0, 1, 1}, crashes: 2, long: true},
	{name: "read/write, crash and leave", spec: rwSpec("rw"), waits: [3]int{0, 1, 1}, crashes: 1, leaves: 1, long: true},
	{name: "semaphore, more", spec: semaphoreSpec("s", 3, 1, 2, 3), waits: [3]int{2, 2, 1}, cancels: 1, long: true},
	{name: "semaphore and move, more", spec: semaphoreSpec("s", 2, 1, 2), waits: [3]int{0, 1, 1}, moves: 1, long: true},
	{name: "semaphore and leaves", spec: semaphoreSpec("s", 2, 1, 2), waits: [3]int{1, 1, 1}, leaves: 2, long: true},
	{name: "counter, more", spec: counterSpec("c", 1, 2, watchFrom+2), waits: [3]int{1, 3, 2}, cancels: 2, long: true},
	{name: "counter and crashes", spec: counterSpec("c", 1, watchFrom+2), waits: [3]int{1, 1, 1}, crashes: 2, long: true},
	{name: "counter, crash and leave", spec: counterSpec("c", 1, watchFrom+2), waits: [3]int{1, 1, 1}, crashes: 1, leaves: 1, long: true},
	{name: "counter and move, more", spec: counterSpec("c", 1), waits: [3]int{0, 1, 1}, moves: 1, long: true},
	{name: "election, more", spec: electionSpec("e", 1, watchFrom+1), waits: [3]int{2, 2, 2}, cancels: 1, long: true},
	{name: "election and crash, more", spec: electionSpec("e", 1, watchFrom+1), waits: [3]int{1, 2, 1}, crashes: 1, long: true},
	{name: "election and crashes", spec: electionSpec("e", 1), waits: [3]int{1, 1, 1}, crashes: 2, long: true},
	{name: "election, crash and leave", spec: electionSpec("e", 1), waits: [3]int{1, 1, 1}, crashes: 1, leaves: 1, long: true},
	{name: "election and move", spec: electionSpec("e", 1), waits: [3]int{0, 1, 1}, moves: 1, long: true},
	{name: "once, leave and move", spec: onceSpec("o", 2), waits: [3]int{0, 1, 1}, leaves: 1, moves: 1, long: true},
	{name: "once, crash and leave", spec: onceSpec("o", 2), waits: [3]int{1, 1, 1}, crashes: 1, leaves: 1, long: true},
	{name: "condition, more", spec: condSpec("c", enlisting, signaling, broadcasting), waits: [3]int{2, 4, 2}, cancels: 2, long: true},
	{name: "condition and crash, more", spec: condSpec("c", enlisting, signaling), waits: [3]int{1, 2, 1}, crashes: 1, cancels: 1, long: true},
	{name: "condition and move", spec: condSpec("c", enlisting, signaling), waits: [3]int{0, 1, 1}, moves: 1, long: true},
	{name: "barrier, two each", spec: barrierSpec("b", 2), waits: [3]int{2, 2, 2}, cancels: 1, long: true},
	{name: "barrier, more", spec: barrierSpec("b", 3), waits: [3]int{2, 3, 2}, cancels: 2, long: true},
	{name: "barrier and crash, more", spec: barrierSpec("b", 2), waits: [3]int{2, 2, 1}, crashes: 1, cancels: 1, long: true},
	{name: "barrier and leave, more", spec: barrierSpec("b", 2), waits: [3]int{1, 2, 2}, leaves: 1, long: true},
	{name: "barrier and leaves", spec: barrierSpec("b", 2), waits: [3]int{1, 1, 1}, leaves: 2, long: true},
	{name: "barrier, crash and leave", spec: barrierSpec("b", 2), waits: [3]int{1, 1, 1}, crashes: 1, leaves: 1, long: true},
	{name: "barrier and moves", spec: lockstepSpec("b", 1), waits: [3]int{1, 0, 0}, moves: 2, long: true},
}

// explorer is an exploration in progress.
type explorer struct {
	t      *testing.T
	x      exploration
	seen   map[[16]byte]struct{}
	path   []event // to the present state
	buf    print
	quiet  int // states at which nothing is left to do
	failed bool
}

func TestExplore(t *testing.T) {
	for _, x := range explorations {
		t.Run(x.name, func(t *testing.T) {
			if x.long && !long() {
				t.Skip("runs with PAGEMESH_LONG=1")
			}
			t.Parallel()
			e := explorer{t: t, x: x, seen: map[[16]byte]struct{}{}}
			e.visit(newCluster(3, 1, x.spec))
			t.Logf("%d states, %d of them final", len(e.seen), e.quiet)
		})
	}
}

// visit goes through everything that can follow on c.
func (e *explorer) visit(c *cluster) {
	if e.known(c) {
		return
	}
	next := e.next(c)
	for _, ev := range next {
		d := c.clone()
		e.path = append(e.path, ev)
		d.step(ev)
		d.checkAlways()
		if d.broken != "" {
			e.report(d.broken)
		}
		if e.failed {
			return
		}
		e.visit(d)
		e.path = e.path[:len(e.path)-1]
	}
	if !slices.ContainsFunc(next, event.due) {
		e.quiet++
		if c.checkQuiet(); c.broken != "" {
			e.report(c.broken)
		}
	}
}

// due reports whether the event comes sooner or later, whatever users do. Users unlock what they hold.
func (e event) due() bool { return e.kind == deliver || e.kind == perform || e.kind == end }

// next returns every event that may follow on c.
func (e *explorer) next(c *cluster) []event {
	var list []event
	for i, h := range c.hosts {
		if h.fate == crashed || h.fate == gone {
			list = e.dead(c, h, list)
			continue
		}
		list = e.network(c, h, list)
		list = e.users(c, h, list)
		if h.fate == up && len(h.waits) < e.x.waits[i] && !e.busy(h) {
			list = e.begins(h, list)
		}
		list = e.fates(c, h, list)
	}
	return list
}

// begins appends the waits that may begin at h.
func (e *explorer) begins(h *host, list []event) []event {
	if e.x.spec.counts == nil {
		return append(list, event{kind: begin, node: h.id})
	}
	for _, count := range e.x.spec.counts {
		list = append(list, event{kind: begin, node: h.id, count: count})
	}
	return list
}

// dead appends that what a crashed node has sent may be lost.
func (e *explorer) dead(c *cluster, h *host, list []event) []event {
	for _, to := range c.hosts {
		if h.fate == crashed && len(c.wire(h.id, to.id)) > 0 {
			list = append(list, event{kind: lose, node: to.id, from: h.id})
		}
	}
	return list
}

// network appends what can arrive at h.
func (e *explorer) network(c *cluster, h *host, list []event) []event {
	for _, from := range c.hosts {
		if c.deliverable(from.id, h.id) {
			list = append(list, event{kind: deliver, node: h.id, from: from.id})
		}
	}
	if h.view < len(c.views)-1 {
		list = append(list, event{kind: perform, node: h.id})
	}
	return list
}

// users appends what those who wait at h, or hold something, may do.
func (e *explorer) users(c *cluster, h *host, list []event) []event {
	for i, w := range h.waits {
		switch {
		case w.state == holding:
			list = append(list, event{kind: end, node: h.id, w: Waiter(i + 1)})
			if c.done[die] < e.x.deaths {
				list = append(list, event{kind: die, node: h.id, w: Waiter(i + 1)})
			}
		case w.state == waiting && c.done[cancel] < e.x.cancels:
			list = append(list, event{kind: cancel, node: h.id, w: Waiter(i + 1)})
		}
	}
	return list
}

// busy reports whether the one user at h waits.
func (e *explorer) busy(h *host) bool {
	return e.x.spec.lockstep != nil && len(h.waits) > 0 && h.waits[len(h.waits)-1].state == waiting
}

// fates appends what may become of h. One node at a time leaves, and one stays.
func (e *explorer) fates(c *cluster, h *host, list []event) []event {
	others := 0
	for _, o := range c.hosts {
		if o != h && o.fate == up {
			others++
		}
	}
	if others == 0 {
		return list
	}
	if c.done[crash] < e.x.crashes {
		list = append(list, event{kind: crash, node: h.id})
	}
	if h.fate == up && c.done[move] < e.x.moves {
		list = append(list, event{kind: move, node: h.id})
	}
	if h.fate == up && c.done[surrender] < e.x.leaves && c.done[surrender] == c.done[depart] {
		list = append(list, event{kind: surrender, node: h.id})
	}
	if h.fate == leaving && h.m.Idle() {
		list = append(list, event{kind: depart, node: h.id})
	}
	return list
}

// known reports whether a state like c has been visited, and notes it.
func (e *explorer) known(c *cluster) bool {
	e.buf = c.appendPrint(e.buf[:0])
	sum := sha256.Sum256(e.buf)
	key := [16]byte(sum[:])
	if _, ok := e.seen[key]; ok {
		return true
	}
	e.seen[key] = struct{}{}
	return false
}

// report fails the test and shows how it came to that.
func (e *explorer) report(what string) {
	if e.failed {
		return
	}
	e.failed = true
	var b strings.Builder
	c := newCluster(3, 1, e.x.spec)
	c.trace = func(effect string) { fmt.Fprintln(&b, "   ", effect) }
	for _, ev := range e.path {
		fmt.Fprintln(&b, c.describe(ev))
		c.step(ev)
	}
	e.t.Errorf("%s\n%d events:\n%s", what, len(e.path), b.String())
}
