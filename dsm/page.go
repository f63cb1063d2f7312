package dsm

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// page is what this node knows of one page: its protocol state, the faults that wait for it, and what
// has been counted. A page that nobody touched does not exist.
type page struct {
	// mu guards every field. Nothing blocks, logs or waits while it is held.
	mu    sync.Mutex
	proto coherence.Page
	// live: proto is made. closed: the space is; the page gives no access any more.
	live, closed bool
	// used: the frame may hold something else than zeros.
	used    bool
	waiters []*waiter
	pins    []pin
	lease   lease
	// framed: the page's frame counts as memory in use. recent: it came since the evictor last passed.
	// evicting: the home was asked to take the page.
	framed, recent, evicting bool
	// delayedAt is when another node's message began to wait for a pin; zero if none does. delayedBy is the
	// site of the first one.
	delayedAt time.Time
	delayedBy uint32
	// vacant is closed when the page has arrived elsewhere because this node leaves; nil before.
	vacant chan struct{}
	// lost is why programs could not have the page when it was poisoned last. poisoning: it is about to be.
	lost      error
	poisoning bool
	traffic   traffic
	changes   changes
	blame     blame
}

// pin remembers who holds a view of the page.
type pin struct {
	access pagetable.Access
	site   uintptr // program counter of the call that took the view
}

// allows reports whether the node may access the page right now. The caller holds pg.mu.
func (pg *page) allows(a pagetable.Access) bool { return pg.proto.Access().Allows(a) && !pg.closed }

// op is what a fault does once its page is here, under the page's lock.
type op uint8

const (
	opTouch op = iota // nothing: the page was wanted near
	opRead            // copy from the frame at off into buf
	opWrite           // copy buf into the frame at off
	opPin             // pin the page for a view
	opFunc            // call fn with the page and its frame
	opLeave           // nothing: this node leaves and wants the page only to hand it over
	opTrap            // keep the page for a moment, for a thread of a program that wakes up now
)

// waiter is one access that waits for its page. It is served by whoever brings the page, so that no
// other node can take the page away before.
type waiter struct {
	want  pagetable.Access
	op    op
	off   int
	size  int // bytes from off that are touched in one go; 0 if that isn't known
	buf   []byte
	pc    uintptr // of the call that takes a view
	fn    func(pg *page, frame []byte)
	pg    *page
	start time.Time        // set if another node has to be asked
	ended time.Time        // set when a wait that has a start is over
	begun time.Duration    // by start, as waits counts
	held  pagetable.Access // what right was here then
	// site is the line of the program that waits, sampled that it counts for the page, and guessed that it is
	// where the program was seen last.
	site             uint32
	sampled, guessed bool
	group            *group   // nil if nobody waits in this process: a trap, or a page asked for ahead of it
	from             *program // of a trap
}

// repeats reports whether wt is a trap that waits already. Whenever a signal interrupts a thread's wait, the
// thread touches the page again; signals come a hundred times a second, to have goroutines preempted, and
// the goroutine may be on another thread then. So the threads of a program that wait for a page count once.
func (pg *page) repeats(wt *waiter) bool {
	return wt.op == opTrap && slices.ContainsFunc(pg.waiters, func(other *waiter) bool {
		return other.from == wt.from && other.want == wt.want
	})
}

// finish ends the wait. The caller holds pg.mu, unless the waiter never came to a page.
func (wt *waiter) finish(r *region, err error) {
	switch {
	case wt.group != nil:
		wt.group.finish(err)
	case err != nil && wt.op == opTrap:
		wt.pg.trapEnded(r, err)
	}
}

func (wt *waiter) serve(r *region, frame []byte) {
	if r.release {
		wt.pg.proto.Used()
	}
	switch wt.op {
	case opRead:
		copy(wt.buf, frame[wt.off:])
	case opWrite:
		wt.pg.traffic.wrote(wt.off, copy(frame[wt.off:], wt.buf))
	case opPin:
		wt.pg.pin(r, wt.want, wt.pc)
	case opFunc:
		wt.fn(wt.pg, frame)
	case opTrap:
		if !r.release { // nobody takes it away
			wt.pg.takeLease(wt.want)
		}
	}
}

// pin takes a pin that the caller knows to be allowed.
func (pg *page) pin(r *region, a pagetable.Access, site uintptr) {
	if !pg.proto.Pin(a) {
		panic(fmt.Sprintf("dsm: pin %v without the right: %v", a, &pg.proto))
	}
	if r.release {
		pg.proto.Used()
	}
	if a == pagetable.WriteAccess && !pg.traffic.twinned && !r.release {
		pg.traffic.shared(r.frame(pg.proto.ID().Index()), true)
	}
	if pg.evicting {
		r.s.memory.kept(pg)
	}
	pg.pins = append(pg.pins, pin{a, site})
}

// written reports whether a view of this node may be writing to the page right now. The caller holds
// pg.mu.
func (pg *page) written() bool {
	return slices.ContainsFunc(pg.pins, func(p pin) bool { return p.access == pagetable.WriteAccess })
}

// pinned reports whether a view of this node holds the page.
func (pg *page) pinned() bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return len(pg.pins) > 0
}

// forgetPin drops one pin of that access and site.
func (pg *page) forgetPin(a pagetable.Access, site uintptr) {
	for i, p := range pg.pins {
		if p.access == a && p.site == site {
			last := len(pg.pins) - 1
			pg.pins[i] = pg.pins[last]
			pg.pins = pg.pins[:last]
			return
		}
	}
}

// group is a set of waiters that one goroutine waits for.
type group struct {
	left atomic.Int32
	err  atomic.Pointer[error] // the first one
	done chan struct{}         // receives one value when left reaches 0; capacity 1
}

// finish ends one waiter of the group.
func (g *group) finish(err error) {
	if err != nil {
		g.err.CompareAndSwap(nil, &err)
	}
	if g.left.Add(-1) == 0 {
		g.done <- struct{}{}
	}
}

func (g *group) result() error {
	if e := g.err.Load(); e != nil {
		return *e
	}
	return nil
}

// wake serves every waiter that the right allows, in the order in which they came.
func (pg *page) wake(r *region, frame []byte, a arrival) {
	kept := pg.waiters[:0]
	for _, wt := range pg.waiters {
		if !a.right.Allows(wt.want) {
			kept = append(kept, wt)
			continue
		}
		wt.serve(r, frame)
		pg.served(r, wt, a)
		wt.finish(r, nil)
	}
	clear(pg.waiters[len(kept):])
	pg.waiters = kept
}

// fail ends every waiter with err.
func (pg *page) fail(r *region, err error) {
	for _, wt := range pg.waiters {
		pg.failed(r, wt)
		wt.finish(r, err)
	}
	pg.waiters = nil
}

// withdraw ends wt with err unless it has ended.
func (pg *page) withdraw(r *region, wt *waiter, err error) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for i, other := range pg.waiters {
		if other == wt {
			pg.waiters = append(pg.waiters[:i], pg.waiters[i+1:]...)
			pg.failed(r, wt)
			wt.group.finish(err)
			return
		}
	}
}
