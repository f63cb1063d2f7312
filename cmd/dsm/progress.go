package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressInterval is how often the time that something has taken so far is shown anew.
const progressInterval = 250 * time.Millisecond

// progress keeps the last line of a terminal up to date, below whatever else is written through it.
// Where w is no terminal nothing is shown and the rest is written as it is.
type progress struct {
	w    io.Writer
	live bool
	quit chan struct{}

	mu    sync.Mutex
	what  string    // guarded by mu; "" before the first show
	since time.Time // guarded by mu
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, live: isTerminal(w), quit: make(chan struct{})}
	if p.live {
		go p.refresh()
	}
	return p
}

// refresh redraws the line until stop.
func (p *progress) refresh() {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		p.drawLocked()
		p.mu.Unlock()
	}
}

// show says what is being done from now on.
func (p *progress) show(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.since = what, time.Now()
	p.drawLocked()
}

// Write writes whole lines above the line that is kept.
func (p *progress) Write(lines []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	n, err := p.w.Write(lines)
	p.drawLocked()
	return n, err
}

// stop removes the line.
func (p *progress) stop() {
	close(p.quit)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	p.live = false
}

func (p *progress) clearLocked() {
	if p.live && p.what != "" {
		_, _ = io.WriteString(p.w, clearLine) // only decoration
	}
}

func (p *progress) drawLocked() {
	if p.live && p.what != "" {
		_, _ = fmt.Fprintf(p.w, "%s%s (%v)", clearLine, p.what, time.Since(p.since).Round(time.Second))
	}
}
