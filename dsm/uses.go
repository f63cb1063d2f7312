package dsm

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"pagemesh/locks"
	"pagemesh/pagetable"
)

// LockCall is a goroutine's call of Lock or RLock.
type LockCall struct {
	Node      pagetable.NodeID `json:"node"`      // where it was made
	Process   int              `json:"process"`   // the attached program that made it, by its id; 0 if it was the node's own
	Goroutine uint64           `json:"goroutine"` // its number, as in traces of that process; 0 if it is not known
	Line      string           `json:"line"`      // "file:line" of the call
}

func newLockCall(by locks.Goroutine, line string) LockCall {
	return LockCall{Node: by.Node, Process: by.Process, Goroutine: by.Number, Line: line}
}

// Who returns who made the call, such as "goroutine 7 of process 4711 on n2".
func (c LockCall) Who() string {
	who := "a goroutine"
	if c.Goroutine != 0 {
		who = fmt.Sprintf("goroutine %d", c.Goroutine)
	}
	if c.Process != 0 {
		who = fmt.Sprintf("%s of process %d", who, c.Process)
	}
	return fmt.Sprintf("%s on %v", who, c.Node)
}

// LockUser is a goroutine that has a Mutex or an RWMutex, or waits for it.
type LockUser struct {
	LockCall       // by which it locked it, or waits
	Reads    bool  `json:"reads"`   // an RWMutex, beside other readers
	Waits    bool  `json:"waits"`   // it does not have it yet
	Waited   int64 `json:"wait_ns"` // for how long at least, in nanoseconds
}

// describeUses adds to a list of locks who uses them.
func (s *node) describeUses(ctx context.Context, list []LockStatus) {
	lock := map[locks.LockName]*LockStatus{}
	for i := range list {
		list[i].Users = []LockUser{}
		lock[locks.LockName{Kind: list[i].Kind, Name: list[i].Name}] = &list[i]
	}
	use := func(name locks.LockName, u LockUser) {
		if l := lock[name]; l != nil { // else it came after the list
			l.Users = append(l.Users, u)
		}
	}
	deadlocks, all := s.deadlocks(ctx, everybody)
	now := time.Now().UnixNano()
	for _, u := range all {
		for _, h := range u.Holds {
			use(h.Lock, LockUser{LockCall: newLockCall(h.By, h.At), Reads: !h.Exclusive})
		}
		for _, w := range u.Waits {
			waited := max(1, now-w.Since) // clocks differ
			use(w.Lock, LockUser{LockCall: newLockCall(w.By, w.At), Reads: !w.Exclusive, Waits: true, Waited: waited})
		}
	}
	for _, d := range deadlocks {
		for _, w := range d.Cycle {
			if l := lock[locks.LockName{Kind: w.Kind, Name: w.Lock}]; l != nil {
				l.Deadlock = d.Error()
			}
		}
	}
	for i := range list {
		slices.SortFunc(list[i].Users, compareUsers)
	}
}

// compareUsers puts those who have the lock before those who wait, who come in the order in which they began.
func compareUsers(a, b LockUser) int {
	if a.Waits != b.Waits {
		if b.Waits {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.Waited, a.Waited), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Goroutine, b.Goroutine))
}

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

// usesOf says whose use of locks is asked for.
type usesOf byte

const (
	// onlyWaiting: of those who wait for a lock. Nobody else can be part of a deadlock.
	onlyWaiting usesOf = iota
	everybody
)

// answerUses answers callUses.
func (s *node) answerUses(question []byte) ([]byte, error) {
	if len(question) != 1 || usesOf(question[0]) > everybody {
		return nil, fmt.Errorf("uses of locks: question %x is unknown", question)
	}
	return marshal(s.sync.uses(usesOf(question[0])))
}

// uses describes who holds a lock and who waits for one, among the goroutines of this node and its programs.
func (e *syncEngine) uses(of usesOf) locks.Uses {
	u, waits, holds := e.useCallers(of)
	for i, by := range waits {
		u.Waits[i].By, u.Waits[i].At = e.goroutine(by), by.line()
	}
	for i, by := range holds {
		u.Holds[i].By, u.Holds[i].At = e.goroutine(by), by.line()
	}
	return u
}

// useCallers returns uses without the goroutines, which are apart: to find a line takes long.
func (e *syncEngine) useCallers(of usesOf) (u locks.Uses, waits, holds []caller) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.m == nil {
		return u, nil, nil
	}
	u = locks.Uses{Epoch: e.m.Epoch(), Queues: e.m.Queues()}
	u.Waits, waits = e.lockWaits()
	waiting := map[caller]bool{}
	for _, by := range waits {
		waiting[caller{program: by.program, goroutine: by.goroutine}] = true
	}
	e.eachHolder(func(h holder, name locks.LockName) {
		if of == everybody || waiting[caller{program: h.by.program, goroutine: h.by.goroutine}] {
			holds = append(holds, h.by)
			u.Holds = append(u.Holds, locks.Hold{Lock: name, Exclusive: h.exclusive})
		}
	})
	return u, waits, holds
}

// lockWaits returns the waits for locks, and whose they are. The caller holds e.mu.
func (e *syncEngine) lockWaits() (waits []locks.Wait, by []caller) {
	now := time.Now()
	for id, w := range e.waiters {
		name, ok := w.lock()
		if !ok {
			continue
		}
		w.late.see(now, e.s.cfg.DeadlockAfter)
		by = append(by, w.by)
		waits = append(waits, locks.Wait{
			WaitID: locks.WaitID{Node: e.s.self, Waiter: id}, Lock: name,
			Exclusive: w.mutex != nil || w.count == locks.Everything, Since: w.late.since,
		})
	}
	return waits, by
}

// eachHolder calls f for everybody who holds a lock. The caller holds e.mu.
func (e *syncEngine) eachHolder(f func(h holder, name locks.LockName)) {
	for h := e.held.first; h != nil; h = h.next {
		for _, one := range h.list {
			f(one, h.lockName())
		}
	}
	for _, l := range e.lent {
		if by, ok := l.loan.holder(l.program); ok {
			f(holder{by, true}, locks.MutexName(l.name))
		}
	}
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
