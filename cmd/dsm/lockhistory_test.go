package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// possession is a mutex in somebody's hands.
type possession struct {
	who   string
	token uint64
	died  bool  // it came with ErrOwnerDied
	from  int64 // nanoseconds
	till  int64 // 0: it has not ended yet
	cut   bool  // by the death of who had it
	late  bool  // it began when its node was dead already: only its token counts
}

// String returns the form used in lists: "p3: 0x20000000011 for 1.2ms, owner died".
func (p *possession) String() string {
	s := fmt.Sprintf("%s: %#x for %v", p.who, p.token, time.Duration(p.till-p.from))
	if p.died {
		s += ", owner died"
	}
	if p.cut {
		s += ", cut"
	}
	return s
}

// lockHistory is who had which mutex when.
type lockHistory struct {
	mu      sync.Mutex // guards all
	of      map[string][]*possession
	changed chan struct{} // closed and replaced at each change
}

func newLockHistory() *lockHistory {
	return &lockHistory{of: map[string][]*possession{}, changed: make(chan struct{})}
}

func (h *lockHistory) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *lockHistory) begin(mutex string, p *possession) *possession {
	h.change(func() { h.of[mutex] = append(h.of[mutex], p) })
	return p
}

func (h *lockHistory) end(p *possession, at int64) { h.change(func() { p.till = at }) }

// died ends what somebody had when it was killed, and what it did after that because only its node was.
func (h *lockHistory) died(who string, at time.Time) {
	h.change(func() {
		for _, list := range h.of {
			for _, p := range list {
				switch {
				case p.who != who:
				case p.from > at.UnixNano():
					p.late = true
				case p.till == 0 || p.till > at.UnixNano():
					p.cut, p.till = p.till == 0, at.UnixNano()
				}
			}
		}
	})
}

// by returns somebody's possessions of a mutex, in order, and a channel that is closed when there are more.
func (h *lockHistory) by(who, mutex string) ([]*possession, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	others := func(p *possession) bool { return p.who != who }
	return slices.DeleteFunc(slices.Clone(h.of[mutex]), others), h.changed
}

// await returns the n-th possession of a mutex by somebody, when there is one.
func (h *lockHistory) await(t *testing.T, who, mutex string, n int) *possession {
	t.Helper()
	timeout := time.After(patience)
	for {
		list, changed := h.by(who, mutex)
		if len(list) >= n {
			return list[n-1]
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s does not get %s", who, mutex)
		}
	}
}

// since returns the possessions of a mutex with a later token, in the order of their tokens.
func (h *lockHistory) since(mutex string, token uint64) []*possession {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(h.of[mutex]), func(p *possession) bool { return p.token <= token })
	slices.SortFunc(list, func(a, b *possession) int { return cmp.Compare(a.token, b.token) })
	return list
}

// last returns the greatest token of a mutex.
func (h *lockHistory) last(mutex string) (token uint64) {
	for _, p := range h.since(mutex, 0) {
		token = p.token
	}
	return token
}

// check checks that every token is there once, and that the possessions of a mutex follow each other in the order
// of their tokens. It returns how many there are.
func (h *lockHistory) check(t *testing.T) (possessions int) {
	for mutex := range h.of {
		list := h.since(mutex, 0)
		possessions += len(list)
		for i, p := range list[1:] {
			switch before := list[i]; {
			case p.token == before.token:
				t.Errorf("%s: %v and %v have one token", mutex, before, p)
			case !p.late && !before.late && p.from < before.till:
				t.Errorf("%s: %v begins %v before %v ends", mutex, p, time.Duration(before.till-p.from), before)
			}
		}
	}
	return possessions
}
