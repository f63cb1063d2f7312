package dsm

import (
	"math/rand/v2"
	"testing"

	"pagemesh/locks"
)

// TestHeldLocks compares the list with a plain table of who holds what.
func TestHeldLocks(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		values := make([]holders, 4)
		table := make([]map[uint64]int, len(values))
		for i := range table {
			table[i] = map[uint64]int{}
		}
		var l heldLocks
		for range 100 {
			i, by := rnd.IntN(len(values)), caller{goroutine: 1 + rnd.Uint64N(3)}
			h, has := &values[i], table[i]
			switch {
			case rnd.IntN(20) == 0:
				l.clear(h)
				clear(has)
			case rnd.IntN(2) == 0:
				l.add(h, holder{by: by})
				has[by.goroutine]++
			case has[by.goroutine] > 0:
				l.remove(h, by)
				has[by.goroutine]--
			case len(h.list) > 0: // another goroutine gives it back
				n := len(h.list)
				l.remove(h, by)
				clear(has)
				has[0] = n - 1
			}
			checkHeldLocks(t, seed, &l, values, table)
		}
	}
}

func checkHeldLocks(t *testing.T, seed uint64, l *heldLocks, values []holders, table []map[uint64]int) {
	t.Helper()
	listed := map[*holders]bool{}
	for h := l.first; h != nil; h = h.next {
		if listed[h] || h.next != nil && h.next.prev != h {
			t.Fatalf("seed %d: the list is broken", seed)
		}
		listed[h] = true
	}
	for i := range values {
		got := map[uint64]int{}
		for _, o := range values[i].list {
			got[o.by.goroutine]++
		}
		for g, n := range table[i] {
			if got[g] != n {
				t.Fatalf("seed %d: goroutine %d holds value %d %d times, want %d", seed, g, i, got[g], n)
			}
		}
		if listed[&values[i]] != (len(values[i].list) > 0) {
			t.Fatalf("seed %d: value %d with %d holders is in the list: %v", seed, i, len(values[i].list), listed[&values[i]])
		}
	}
}

// TestHandedOverLocksMakeNoDeadlock: who gives back what others have taken is not known for sure, and nobody is taken
// for a holder then.
func TestHandedOverLocksMakeNoDeadlock(t *testing.T) {
	var l heldLocks
	h := &holders{kind: "rwmutex", name: "r"}
	for g := range uint64(3) {
		l.add(h, holder{by: caller{goroutine: g + 1}})
	}
	l.remove(h, caller{goroutine: 4})
	u := locks.Uses{Epoch: 1}
	for i, o := range h.list {
		by := locks.Goroutine{Node: 1, Number: o.by.goroutine}
		w := locks.WaitID{Node: 1, Waiter: locks.Waiter(i + 1)}
		u.Holds = append(u.Holds, locks.Hold{By: by, Lock: h.lockName()})
		u.Waits = append(u.Waits, locks.Wait{WaitID: w, By: by, Lock: h.lockName(), Exclusive: true})
	}
	if got := locks.Deadlocks([]locks.Uses{u}, []locks.Uses{u}); len(u.Waits) != 2 || got != nil {
		t.Errorf("%d holders, deadlocks %v", len(u.Waits), got)
	}
}
