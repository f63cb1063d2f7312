package dsm

import (
	"fmt"
	"runtime"
	"time"

	"pagemesh/locks"
)

// lock returns which lock a waiter waits for, or false if it is none that a goroutine can hold.
func (w *syncWaiter) lock() (name locks.LockName, ok bool) {
	switch {
	case w.mutex != nil:
		return w.mutex.lockName(), true
	case w.pool != nil:
		return w.pool.lockName(), w.pool.size == locks.Everything
	}
	return name, false
}

func (h *holders) lockName() locks.LockName { return locks.LockName{Kind: h.kind, Name: h.name} }

// uses describes who holds a lock and who waits for one, among the goroutines of this node and its programs.
func (e *syncEngine) uses() locks.Uses {
	u, waits, holds := e.useCallers()
	for i, by := range waits {
		u.Waits[i].By, u.Waits[i].At = e.goroutine(by), by.line()
	}
	for i, by := range holds {
		u.Holds[i].By, u.Holds[i].At = e.goroutine(by), by.line()
	}
	return u
}

// useCallers returns uses without the goroutines, which are apart: to find a line takes long.
func (e *syncEngine) useCallers() (u locks.Uses, waits, holds []caller) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.m == nil {
		return u, nil, nil
	}
	now := time.Now()
	u = locks.Uses{Epoch: e.m.Epoch(), Queues: e.m.Queues()}
	for id, w := range e.waiters {
		name, ok := w.lock()
		if !ok {
			continue
		}
		waits = append(waits, w.by)
		u.Waits = append(u.Waits, locks.Wait{
			WaitID: locks.WaitID{Node: e.s.self, Waiter: id}, Lock: name,
			Exclusive: w.mutex != nil || w.count == locks.Everything, Since: w.late.see(now, e.s.cfg.DeadlockAfter).UnixNano(),
		})
	}
	hold := func(by caller, name locks.LockName, exclusive bool) {
		holds = append(holds, by)
		u.Holds = append(u.Holds, locks.Hold{Lock: name, Exclusive: exclusive})
	}
	for h := e.held.first; h != nil; h = h.next {
		for _, one := range h.list {
			hold(one.by, h.lockName(), one.exclusive)
		}
	}
	for _, l := range e.lent {
		if by, ok := l.loan.holder(l.program); ok {
			hold(by, locks.MutexName(l.name), true)
		}
	}
	return u, waits, holds
}

// goroutine returns the name of a caller in the space.
func (e *syncEngine) goroutine(by caller) locks.Goroutine {
	g := locks.Goroutine{Node: e.s.self, Number: by.goroutine}
	if by.program != nil {
		g.Process = by.program.peer.PID
	}
	return g
}

// line returns the "file:line" of the call.
func (by caller) line() string {
	file, line := "", 0
	switch {
	case by.site == 0:
	case by.program != nil:
		file, line = by.program.sampler.Load().line(uint64(by.site))
	default:
		f, _ := runtime.CallersFrames([]uintptr{by.site}).Next()
		file, line = f.File, f.Line
	}
	if file == "" {
		return "an unknown line"
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// line returns the line of a call that returns to pc. A nil sampler knows none.
func (sm *sampler) line(pc uint64) (file string, line int) {
	if sm == nil {
		return "", 0
	}
	file, line, _ = sm.symbols.table.PCToLine(pc - 1 - sm.shift)
	return file, line
}
