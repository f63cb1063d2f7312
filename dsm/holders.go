package dsm

import "slices"

// This file knows which goroutines of this node and its programs hold which locks, and where they locked them.
// It decides nothing; it is what people are told, and what deadlocks are found by.

// holders are those who hold a lock through one value of Mutex or RWMutex.
type holders struct {
	list       []holder
	next, prev *holders // in heldLocks, while the list is not empty
	kind, name string
}

// holder is a goroutine that holds a lock.
type holder struct {
	by        caller
	exclusive bool // nobody else can
}

// heldLocks are the holders of all locks that are held through a value here. The engine's mu guards it and them.
type heldLocks struct{ first *holders }

// add notes that a goroutine has the lock.
func (l *heldLocks) add(h *holders, one holder) {
	if len(h.list) == 0 {
		if h.next = l.first; h.next != nil {
			h.next.prev = h
		}
		l.first = h
	}
	h.list = append(h.list, one)
}

// remove notes that one holder of the lock is done. If the goroutine that says so is none of them it acts for
// another, nobody knows for which, and none of them is known any more.
func (l *heldLocks) remove(h *holders, by caller) {
	if len(h.list) <= 1 {
		l.clear(h)
		return
	}
	i := slices.IndexFunc(h.list, func(o holder) bool { return o.by.goroutine == by.goroutine })
	if i < 0 {
		for j := range h.list {
			h.list[j].by.goroutine = 0
		}
		i = 0
	}
	h.list = slices.Delete(h.list, i, i+1)
}

// clear notes that nobody has the lock through this value.
func (l *heldLocks) clear(h *holders) {
	if len(h.list) == 0 {
		return
	}
	h.list = h.list[:0]
	if h.next != nil {
		h.next.prev = h.prev
	}
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.first = h.next
	}
	h.next, h.prev = nil, nil
}
