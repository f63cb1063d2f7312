package dsm

import (
	"sync"
	"time"
)

// waits divides the time in which programs of a node wait for pages among the pages that they wait for. While k
// accesses wait at once, each page has 1/k of the time. So what all pages have cost adds up to the time in which
// somebody waited, however many pages are fetched at a time.
type waits struct {
	mu sync.Mutex // guards what follows; taken with a page locked
	n  int        // accesses that wait
	at time.Time  // when n changed last
	// each is how much of the time until then an access has that waited all along.
	each time.Duration
}

// pass brings each up to date.
func (w *waits) pass(now time.Time) {
	passed := now.Sub(w.at)
	if passed <= 0 { // who reads the clock first may come last
		return
	}
	if w.n > 0 {
		w.each += passed / time.Duration(w.n)
	}
	w.at = now
}

// begin begins a wait. What it returns is for end.
func (w *waits) begin(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass(now)
	w.n++
	return w.each
}

// end ends a wait and returns its share of the time.
func (w *waits) end(now time.Time, begun time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass(now)
	w.n--
	return w.each - begun
}

// part returns the share of a time just now of somebody who waited beside those who wait.
func (w *waits) part(of time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return of / time.Duration(w.n+1)
}
