package dsm

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pagemesh/pagetable"
)

// This file keeps the frames of a node within Config.MemoryLimit. From seven eighths of it on, pages are
// evicted, oldest first as a clock sees it; a fault that would go beyond the limit waits for room, and
// fails when there is nothing left to evict.

// memoryUse counts the frames of a node.
type memoryUse struct {
	limit    int64
	used     atomic.Int64  // bytes
	evicting atomic.Int64  // pages whose home was asked to take them
	wake     chan struct{} // one token: there may be something to do

	mu      sync.Mutex
	starved []starvedPage // whose waiters wait for room
}

type starvedPage struct {
	r  *region
	pg *page
}

func (m *memoryUse) init(limit int64) {
	m.limit, m.wake = limit, make(chan struct{}, 1)
}

func (m *memoryUse) call() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// high is from where on pages are evicted.
func (m *memoryUse) high() int64 { return m.limit - m.limit/8 }

// admit reports whether a fault on the page may go on. If not, the page is starved: keepRoom comes back
// to it. The caller holds pg.mu, as in all that follows with a page.
func (m *memoryUse) admit(r *region, pg *page) bool {
	if pg.framed || m.used.Load()+int64(r.pageSize()) <= m.limit {
		m.occupy(r, pg)
		return true
	}
	if len(pg.waiters) == 1 {
		m.mu.Lock()
		m.starved = append(m.starved, starvedPage{r, pg})
		m.mu.Unlock()
	}
	m.call()
	return false
}

// occupy counts the page's frame. A home takes a page back even beyond the limit.
func (m *memoryUse) occupy(r *region, pg *page) {
	pg.recent = true
	if !pg.framed {
		pg.framed = true
		m.used.Add(int64(r.pageSize()))
	}
	if m.used.Load() > m.high() {
		m.call()
	}
}

// vacate counts a frame that was given back.
func (m *memoryUse) vacate(r *region, pg *page) {
	if pg.framed {
		pg.framed = false
		m.used.Add(-int64(r.pageSize()))
		m.call()
	}
}

// evicted notes that the page is not being evicted any more.
func (m *memoryUse) evicted(pg *page) {
	if pg.evicting {
		pg.evicting = false
		pg.traffic.Evictions++
		m.evicting.Add(-1)
		m.call()
	}
}

// flushed notes that the home has what was written to the page, so that it may be evicted.
func (m *memoryUse) flushed() {
	if m.used.Load() > m.high() {
		m.call()
	}
}

// kept notes that a view holds a page that is being evicted: that waits for the end of the view now, so
// nobody may count on it.
func (m *memoryUse) kept(pg *page) {
	pg.evicting = false
	m.evicting.Add(-1)
	m.call()
}

// keepRoom evicts pages until the space is closed.
func (s *node) keepRoom() {
	m := &s.memory
	for {
		select {
		case <-s.done:
			return
		case <-m.wake:
		}
		m.mu.Lock()
		starved := m.starved
		m.starved = nil
		m.mu.Unlock()
		excess := m.used.Load() - m.high()
		hopeless := excess > 0 && !s.evict(excess)
		for _, p := range starved {
			s.feed(p, hopeless)
		}
	}
}

// evict asks the homes of some pages to take them, and gives frames back that hold nothing any more, for
// that many bytes. The first pass spares the pages that came since the last call. If that isn't enough, what
// was written to release regions is flushed, so that those pages may be evicted when their homes have it.
// It reports whether it found one, or one that may be evicted soon.
func (s *node) evict(excess int64) (found bool) {
	dirty := false
	w := s.getWork()
	defer s.putWork(w)
	if going := s.memory.evicting.Load(); going > 0 {
		found = true
		excess -= going * pagetable.DefaultPageSize // or more: then the next call finds less to do
	}
	for range 2 {
		for _, r := range s.cur.Load().regions {
			for _, pg := range r.pages.All() {
				if excess <= 0 {
					return found
				}
				switch w.evictPage(r, pg) {
				case evictBegun:
					excess -= int64(r.pageSize())
					found = true
				case evictLater:
					found = true
				case evictDirty:
					dirty = true
				}
			}
		}
	}
	if dirty {
		s.intervals.spill()
	}
	return found || dirty
}

// eviction is what came of the attempt to evict a page.
type eviction uint8

const (
	evictNever eviction = iota // it stays, as far as can be seen now
	evictLater                 // something is under way with it
	evictDirty                 // it has to be flushed first
	evictBegun
)

// evictPage begins to evict a page, if it can be and did not come just now.
func (w *work) evictPage(r *region, pg *page) eviction {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	switch {
	case !pg.framed || pg.closed:
		return evictNever
	case pg.recent:
		pg.recent = false
		return evictNever // or in the second pass
	case r.release && len(pg.pins) > 0:
		return evictNever
	case pg.evicting || len(pg.waiters)+len(pg.changes.flights) > 0:
		return evictLater
	case pg.changes.keepFrame():
		pg.proto.Yield()
		return evictDirty
	case pg.proto.Access() == pagetable.NoAccess:
		r.dropFrame(pg)
		return evictBegun
	}
	if time.Now().After(pg.lease.until) {
		w.dropLease(r, pg)
	}
	if !pg.proto.Evict(&w.rd) {
		return evictNever
	}
	pg.evicting = true
	w.s.memory.evicting.Add(1)
	w.perform(r, pg, noCause, nil)
	return evictBegun
}

// feed lets the waiters of a starved page go on, if there is room now. They fail if it is hopeless to wait.
func (s *node) feed(p starvedPage, hopeless bool) {
	w := s.getWork()
	defer s.putWork(w)
	p.pg.mu.Lock()
	defer p.pg.mu.Unlock()
	m := &s.memory
	switch {
	case len(p.pg.waiters) == 0 || p.pg.closed:
	case p.pg.framed || m.used.Load()+int64(p.r.pageSize()) <= m.limit:
		m.occupy(p.r, p.pg)
		want := pagetable.ReadAccess
		for _, wt := range p.pg.waiters {
			want = max(want, wt.want)
		}
		p.pg.proto.Fault(want, &w.rd)
		w.perform(p.r, p.pg, noCause, nil)
	case !hopeless:
		m.mu.Lock()
		m.starved = append(m.starved, p)
		m.mu.Unlock()
	default:
		p.pg.fail(p.r, fmt.Errorf("page %d of region %q: %w: %d of %d bytes are in use, by pages homed here or held in views: "+
			"raise Config.MemoryLimit, or home pages at other nodes", p.pg.proto.ID().Index(), p.r.name(), ErrMemory,
			m.used.Load(), m.limit))
	}
}
