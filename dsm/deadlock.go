package dsm

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pagemesh/locks"
)

// This file ends deadlocks. A node looks for them when one of its goroutines has waited for a lock for long: it
// asks all members twice what their goroutines hold and wait for, and package locks says what that means.
// All who look agree on the wait that has to end, and its node ends it.

// maxLookPause bounds, in multiples of Config.DeadlockAfter, how rarely a node looks on behalf of a wait that
// lasts: each time when it lasts twice as long as the time before.
const maxLookPause = 32

// lateness says how long a wait has lasted, as far as it was seen, in nanoseconds of the clock. The engine's mu
// guards it.
type lateness struct {
	since int64 // when it was seen first; 0 if it was not
	look  int64 // when to look for a deadlock
}

// see notes that the wait lasts.
func (l *lateness) see(now time.Time, after time.Duration) {
	if l.since == 0 {
		l.since, l.look = now.UnixNano(), now.Add(after).UnixNano()
	}
}

// due reports whether it is time to look for a deadlock with this wait, and plans the next time.
func (l *lateness) due(now time.Time, after time.Duration) bool {
	l.see(now, after)
	if now.UnixNano() < l.look {
		return false
	}
	lasted := time.Duration(now.UnixNano() - l.since)
	l.look = now.Add(min(max(lasted, after), maxLookPause*after)).UnixNano()
	return true
}

// seeLocks is how often a node that never looks for deadlocks sees for how long its goroutines wait.
const seeLocks = 500 * time.Millisecond

// watchLocks sees who waits for locks, and looks for deadlocks, until the space is closed.
func (s *node) watchLocks() {
	after := s.cfg.DeadlockAfter
	every := max(after/2, time.Millisecond)
	if after < 0 {
		every = seeLocks
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case now := <-tick.C:
			if s.sync.overdue(now, after) && after > 0 {
				s.endDeadlocks()
			}
		}
	}
}

// overdue reports whether one of the waits for a lock has lasted for so long that it is time to look for a
// deadlock.
func (e *syncEngine) overdue(now time.Time, after time.Duration) (any bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.waiters {
		_, ok := w.lock()
		any = ok && w.late.due(now, after) || any
	}
	return any
}

// endDeadlocks looks for deadlocks and ends the waits of this node that have to end.
func (s *node) endDeadlocks() {
	all, _ := s.deadlocks(context.Background(), onlyWaiting)
	for _, err := range all {
		if victim := err.Cycle[0]; victim.Node == s.self && s.sync.endWait(err.victim, err) {
			s.log.Warn("a wait for a lock ends, because it would never", "reason", err)
		}
	}
}

// endWait ends a wait for a lock with err, unless it has ended.
func (e *syncEngine) endWait(id locks.Waiter, err error) (ended bool) {
	e.do(func() {
		w := e.waiters[id]
		if ended = w != nil && e.withdraw(w); ended {
			delete(e.waiters, id)
			e.end(w, wakening{err: err})
		}
	})
	return ended
}

// deadlocks returns the deadlocks of the space, and how locks were used when it looked last.
func (s *node) deadlocks(ctx context.Context, of usesOf) (all []*DeadlockError, uses []locks.Uses) {
	before := s.allUses(ctx, of)
	uses = s.allUses(ctx, of)
	for _, cycle := range locks.Deadlocks(before, uses) {
		all = append(all, newDeadlockError(cycle, uses))
	}
	return all, uses
}

// allUses asks every member how its goroutines use locks. Who does not answer in time is left out: what it
// would have said only adds deadlocks.
func (s *node) allUses(ctx context.Context, of usesOf) []locks.Uses {
	ctx, cancel := context.WithTimeout(ctx, controlDeadline/2)
	defer cancel()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex // guards all
		all []locks.Uses
	)
	for _, n := range s.view().Nodes() {
		wg.Go(func() {
			u, err := askMember[locks.Uses](ctx, s, n, callUses, []byte{byte(of)})
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, u)
		})
	}
	wg.Wait()
	return all
}

// DeadlockError says that a wait for a Mutex or an RWMutex would never have ended. It is an ErrDeadlock.
type DeadlockError struct {
	// Cycle are the goroutines that wait for each other, each for the next one and the last for the first.
	// The first is the one that got this error.
	Cycle  []DeadlockWait
	victim locks.Waiter
}

// DeadlockWait is one goroutine of a deadlock.
type DeadlockWait struct {
	LockCall        // that waits
	Kind     string `json:"kind"` // of the lock that it waits for, "mutex" or "rwmutex"
	Lock     string `json:"lock"` // the name of that lock
	// Locked is the line at which the next goroutine has locked it. Empty: that goroutine only waits for it too,
	// ahead of this one.
	Locked string `json:"locked"`
}

func newDeadlockError(cycle []locks.Blocked, uses []locks.Uses) *DeadlockError {
	e := &DeadlockError{victim: cycle[0].Wait.Waiter}
	waits, holds := map[locks.WaitID]locks.Wait{}, map[locks.Goroutine][]locks.Hold{}
	for _, u := range uses {
		for _, w := range u.Waits {
			waits[w.WaitID] = w
		}
		for _, h := range u.Holds {
			holds[h.By] = append(holds[h.By], h)
		}
	}
	for _, b := range cycle {
		w := waits[b.Wait]
		step := DeadlockWait{LockCall: newLockCall(w.By, w.At), Kind: w.Lock.Kind, Lock: w.Lock.Name}
		for _, h := range holds[waits[b.By].By] {
			if !b.Queued && h.Lock == w.Lock {
				step.Locked = h.At
			}
		}
		e.Cycle = append(e.Cycle, step)
	}
	return e
}

// Error says who waits for whom, and where.
func (e *DeadlockError) Error() string {
	var b strings.Builder
	b.WriteString("deadlock: ")
	for i, w := range e.Cycle {
		next := e.Cycle[(i+1)%len(e.Cycle)]
		if i == 0 {
			b.WriteString(w.Who())
		} else {
			b.WriteString(", which")
		}
		fmt.Fprintf(&b, " waits at %s for %s %q, ", baseLine(w.Line), w.Kind, w.Lock)
		switch {
		case len(e.Cycle) == 1:
			fmt.Fprintf(&b, "which it has locked itself at %s", baseLine(w.Locked))
		case w.Locked == "":
			fmt.Fprintf(&b, "behind %s", next.Who())
		default:
			fmt.Fprintf(&b, "locked at %s by %s", baseLine(w.Locked), next.Who())
		}
	}
	return b.String()
}

// Unwrap returns ErrDeadlock.
func (e *DeadlockError) Unwrap() error { return ErrDeadlock }

// baseLine returns a line without its directory.
func baseLine(line string) string { return filepath.Base(line) }

// errorText is how err travels to a program.
func errorText(err error) []byte {
	if d, ok := err.(*DeadlockError); ok {
		if b, err := json.Marshal(d.Cycle); err == nil {
			return b
		}
	}
	return []byte(err.Error())
}

// errorOf returns the error that has travelled.
func errorOf(code uint64, text []byte) error {
	e := &remoteError{text: string(text), code: code}
	d := &DeadlockError{}
	if e.Unwrap() == ErrDeadlock && json.Unmarshal(text, &d.Cycle) == nil && len(d.Cycle) > 0 {
		return d
	}
	return e
}
