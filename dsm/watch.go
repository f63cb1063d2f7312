package dsm

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// delays is the list of pages on which a view keeps another node waiting.
type delays struct {
	mu   sync.Mutex
	list []delayedPage
}

type delayedPage struct {
	r      *region
	pg     *page
	warned bool
}

// add is called with pg.mu held.
func (d *delays) add(r *region, pg *page) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, delayedPage{r: r, pg: pg})
}

// watchViews warns, once for each delay, of views that keep others waiting for too long.
func (s *node) watchViews() {
	tick := time.NewTicker(max(s.cfg.ViewWarning/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			s.warnOfViews()
		}
	}
}

func (s *node) warnOfViews() {
	s.delays.mu.Lock()
	list := s.delays.list
	s.delays.list = nil
	s.delays.mu.Unlock()
	list = slices.DeleteFunc(list, func(d delayedPage) bool {
		d.pg.mu.Lock()
		defer d.pg.mu.Unlock()
		return d.pg.delayedAt.IsZero()
	})
	for i := range list {
		list[i].warn(s)
	}
	s.delays.mu.Lock()
	s.delays.list = append(s.delays.list, list...)
	s.delays.mu.Unlock()
}

func (d *delayedPage) warn(s *node) {
	d.pg.mu.Lock()
	held := time.Since(d.pg.delayedAt)
	var sites []string
	for _, p := range d.pg.pins {
		sites = append(sites, fmt.Sprintf("%v view taken at %s", p.access, siteString(p.site)))
	}
	index := d.pg.proto.ID().Index()
	d.pg.mu.Unlock()
	if d.warned || held < s.cfg.ViewWarning {
		return
	}
	d.warned = true
	s.log.Warn("a view keeps another node waiting: release it sooner", "region", d.r.name(), "page", index,
		"for", held.Round(time.Millisecond), "holders", strings.Join(sites, "; "))
}

// siteString returns "file:line (function)" of a program counter.
func siteString(pc uintptr) string {
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return fmt.Sprintf("%s:%d (%s)", f.File, f.Line, f.Function)
}
