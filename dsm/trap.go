package dsm

import (
	"errors"
	"io/fs"
	"time"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// This file serves the traps of attached programs. A trap is a fault like any other; what is special is
// that nobody in this process waits for it: raising the right lets the program's thread go on.

// serveTraps brings the faults of a program to their pages until the trap is closed: from the trap to
// the request that is sent, or to the end if the page is here. One goroutine does it, since it never
// waits for a page, and a second one would be woken to take its place at every fault.
func (p *program) serveTraps() {
	w := p.s.newWork()
	for {
		f, err := p.trap.Next()
		if err != nil {
			if !errors.Is(err, fs.ErrClosed) {
				p.end(err)
			}
			return
		}
		p.trapped(w, f)
		w.out.Flush()
	}
}

// trapped brings one fault to its page.
func (p *program) trapped(w *work, f vm.Fault) {
	if p.echo.answer(f) {
		return
	}
	st := p.s.cur.Load()
	meta, ok := st.view.Regions.At(f.Addr)
	r := st.regions[meta.ID]
	if !ok || r == nil || !r.mapped {
		p.s.log.Error("a program faults where no region is", "pid", p.peer.PID, "address", f.Addr)
		return
	}
	off := uint64(f.Addr - meta.Base)
	wt := &waiter{want: f.Want, op: opTrap, off: int(off & (1<<r.shift - 1)), size: 1, from: p}
	if at, ok := p.sampler.Load().sample(f); ok {
		wt.site, wt.sampled = p.s.sites.number(at), true
	}
	index := off >> r.shift
	if !w.fault(r, index, wt) {
		return
	}
	for from, to := p.streams.follow(r, index, f.Want); from < to; from++ {
		w.ahead(r, from, f.Want, wt.site)
	}
}

// leaseTime is how long a page that was trapped stays at least, once it is here: time for the thread that
// waits for it to wake up and use it. Without it, nodes that want one page at once could take it from
// each other before any thread has run (the window of Mirage: Fleisch and Popek, SOSP 89, section 3).
const leaseTime = 50 * time.Microsecond

// lease pins a page for programs, until somebody wants it and the time is up.
type lease struct {
	access pagetable.Access // NoAccess: there is none
	until  time.Time
	armed  bool // a timer will end it
}

// takeLease begins or renews the lease of a page that has the right a, unless somebody waits for the
// page already.
func (pg *page) takeLease(a pagetable.Access) {
	if pg.proto.Delayed() {
		return
	}
	old := pg.lease.access
	pg.lease.until = time.Now().Add(leaseTime)
	if old >= a {
		return
	}
	pg.proto.Pin(a)
	pg.lease.access = a
	if old != pagetable.NoAccess {
		pg.proto.Unpin(old, nil) // no message waits for this pin
	}
}

// endLease lets a page go that somebody wants, now or when the time is up.
func (w *work) endLease(r *region, pg *page) {
	left := time.Until(pg.lease.until)
	if left <= 0 {
		w.dropLease(r, pg)
		return
	}
	if pg.lease.armed {
		return
	}
	pg.lease.armed = true
	time.AfterFunc(left, func() {
		w := r.s.getWork()
		defer r.s.putWork(w)
		pg.mu.Lock()
		defer pg.mu.Unlock()
		pg.lease.armed = false
		if pg.lease.access != pagetable.NoAccess && pg.proto.Delayed() && !pg.closed {
			w.endLease(r, pg)
		}
	})
}

func (w *work) dropLease(r *region, pg *page) {
	a := pg.lease.access
	pg.lease.access = pagetable.NoAccess
	if a != pagetable.NoAccess {
		w.unpin(r, pg, a)
	}
}
