package dsm

import (
	"time"

	"pagemesh/dsm/trace"
	"pagemesh/locks"
	"pagemesh/pagetable"
)

// lockNumber returns what stands for a lock in events: the 64-bit FNV-1a hash of its kind and name.
func lockNumber(l locks.LockName) pagetable.PageID {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, part := range [...]string{l.Kind, " ", l.Name} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * prime
		}
	}
	return pagetable.PageID(h)
}

// waitsFor returns what w waits for, and as which kind of event that counts.
func (w *syncWaiter) waitsFor() (locks.LockName, trace.Kind) {
	if name, ok := w.lock(); ok || w.pool != nil {
		return name, trace.Lock
	}
	switch o := w.op.(type) {
	case addition:
		return servedName(o.lock), trace.Lock
	case watch:
		return servedName(o.lock), trace.Lock
	}
	return locks.LockName{Kind: "barrier", Name: w.barrier}, trace.Barrier
}

func servedName(l locks.Served) locks.LockName {
	return locks.LockName{Kind: l.Class.String(), Name: l.Name}
}

// lockWait is a wait for a lock that did not end at once.
type lockWait struct {
	start time.Time
	site  uint32
}

func (e *syncEngine) beginWait(w *syncWaiter) lockWait {
	if !recording {
		return lockWait{}
	}
	return lockWait{time.Now(), e.siteOf(w)}
}

// siteOf returns the line that waits.
func (e *syncEngine) siteOf(w *syncWaiter) uint32 {
	switch p := w.by.program; {
	case p == nil:
		return e.s.sites.here()
	case w.by.site == 0:
		return 0
	default:
		sm := p.sampler.Load()
		if sm == nil {
			return 0
		}
		return e.s.sites.number(place{of: sm.symbols, pc: uint64(w.by.site) - sm.shift - 1}) // within the call
	}
}

// recordWait records that w has what it waited for.
func (e *syncEngine) recordWait(w *syncWaiter, wait lockWait, how wakening) {
	if !recording || how.err != nil || !how.Err.Holds() {
		return
	}
	now := time.Now()
	name, kind := w.waitsFor()
	ev := trace.Event{
		Time: e.s.since1970(now), Wait: int64(now.Sub(wait.start)), Page: lockNumber(name), Kind: kind, Node: e.s.self,
		Other: how.from, Site: wait.site,
	}
	e.s.lockNames.add(ev.Page, name)
	e.s.events.put(&ev)
}
