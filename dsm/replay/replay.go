// Package replay predicts what a change to a program would save. It goes once more through the events that nodes have
// recorded of a page, and asks of each wait whether it would have been, had the bytes lain otherwise.
//
// The page is cut into parts, each of which is thought to be a page of its own, kept consistent in the same way: by
// one writer or several readers at a time. A wait for a part that its node would still have had is saved; the
// others would have lasted as long as they did. What a node wrote without waiting, since it had the whole page, is
// known from the words that it had changed when it lost the page. Where that would have been a wait, it counts
// as long as the others of the page did on average. What it read without waiting isn't known, and is left out.
package replay

import (
	"slices"

	"pagemesh/dsm/sharing"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// Page is what has to be known of a page beside its events.
type Page struct {
	ID   pagetable.PageID
	Size int // bytes
	// Written are the bytes that nodes write.
	Written map[pagetable.NodeID][]sharing.Span
}

// Cut says in which part of a page a byte would lie that a node uses.
type Cut func(node pagetable.NodeID, off int) int

// ByWriter cuts p so that bytes which different nodes write are apart, from each other and from those that nobody writes.
// Bytes that several nodes write stay together.
func ByWriter(p *Page) Cut {
	const several = -1
	return func(_ pagetable.NodeID, off int) int {
		part := 0
		for n, spans := range p.Written {
			if !has(spans, off, off+1) {
				continue
			}
			if part != 0 {
				return several
			}
			part = int(n)
		}
		return part
	}
}

// BySize cuts pages into smaller ones.
func BySize(size int) Cut {
	return func(_ pagetable.NodeID, off int) int { return off / size }
}

// ByNode gives each node bytes of its own.
func ByNode(n pagetable.NodeID, _ int) int { return int(n) }

func has(spans []sharing.Span, start, end int) bool {
	for _, s := range spans {
		if s.Start < end && start < s.End {
			return true
		}
	}
	return false
}

// Waits are how long nodes wait, in nanoseconds: in all, and as far as a change leaves it. The zero Waits is empty.
type Waits struct {
	// Barriers are the times at which barriers have opened, ascending. At each, all wait for the last.
	Barriers []int64
	sums     map[stepOf]Wait
}

// Wait is how long somebody waited, and would have.
type Wait struct{ Before, After int64 }

// stepOf is what a node does between two barriers.
type stepOf struct {
	step int
	node pagetable.NodeID
}

func (w *Waits) add(e *trace.Event, before, after int64) {
	if w.sums == nil {
		w.sums = map[stepOf]Wait{}
	}
	step, _ := slices.BinarySearch(w.Barriers, e.Time)
	k := stepOf{step, e.Node}
	sum := w.sums[k]
	w.sums[k] = Wait{sum.Before + before, sum.After + after}
}

// Sum returns the waits of all nodes together.
func (w *Waits) Sum() (sum Wait) {
	for _, s := range w.sums {
		sum.Before += s.Before
		sum.After += s.After
	}
	return sum
}

// Longest returns, summed over the steps from barrier to barrier, the waits of the node that waits longest in each: as if
// the nodes computed for equally long, so that all others wait for that one.
func (w *Waits) Longest() (sum Wait) {
	steps := map[int]Wait{}
	for k, s := range w.sums {
		most := steps[k.step]
		steps[k.step] = Wait{max(most.Before, s.Before), max(most.After, s.After)}
	}
	for _, s := range steps {
		sum.Before += s.Before
		sum.After += s.After
	}
	return sum
}

// Split adds the waits for p, before and after it is cut. events are all of p's, in order, see trace.Merger.
func (w *Waits) Split(p *Page, events []trace.Event, cut Cut) {
	s := split{page: p, cut: cut, parts: map[int]*part{}, waits: w, typical: typical(events)}
	for i := range events {
		s.replay(&events[i])
	}
}

// All adds the waits for a page of which none is left.
func (w *Waits) All(events []trace.Event) {
	for i := range events {
		if e := &events[i]; waited(e.Kind) {
			w.add(e, e.Wait, 0)
		}
	}
}

// Upgrades adds the waits for a page if nodes asked for the right to write at once, instead of for one to read just
// before.
func (w *Waits) Upgrades(events []trace.Event) {
	read := map[pagetable.NodeID]bool{} // has a copy that it has asked for
	for i := range events {
		switch e := &events[i]; {
		case e.Kind == trace.Invalidate || e.Kind == trace.Evict:
			read[e.Node] = false
		case !waited(e.Kind):
		case e.Access == pagetable.WriteAccess && e.Held == pagetable.ReadAccess && read[e.Node]:
			w.add(e, e.Wait, 0)
			read[e.Node] = false
		default:
			w.add(e, e.Wait, e.Wait)
			read[e.Node] = e.Access == pagetable.ReadAccess
		}
	}
}

// waited reports whether an event tells of a wait for a page.
func waited(k trace.Kind) bool { return k == trace.Served || k == trace.Failed }

// Count returns how many waits for a page there are among events.
func Count(events []trace.Event) (n int) {
	for _, e := range events {
		if waited(e.Kind) {
			n++
		}
	}
	return n
}

// typical returns how long a wait lasts on average.
func typical(events []trace.Event) int64 {
	sum := int64(0)
	for _, e := range events {
		if waited(e.Kind) {
			sum += e.Wait
		}
	}
	return sum / int64(max(Count(events), 1))
}

// split is a page that is cut into parts.
type split struct {
	page    *Page
	cut     Cut
	parts   map[int]*part
	waits   *Waits
	typical int64
}

// part is who has a part of the page.
type part struct {
	owner  pagetable.NodeID // may write it; 0 if nobody may
	copies pagetable.CopySet
}

func (s *split) replay(e *trace.Event) {
	switch {
	case waited(e.Kind):
		after := int64(0)
		if s.use(e.Node, s.cut(e.Node, int(e.Offset)), e.Access) {
			after = e.Wait
		}
		s.waits.add(e, e.Wait, after)
	case e.Words != 0:
		s.wrote(e)
	}
}

// wrote has a node write what it has written before it lost the page.
func (s *split) wrote(e *trace.Event) {
	seen := map[int]bool{}
	for _, sp := range s.page.Written[e.Node] {
		for off := sp.Start; off < sp.End; off += 8 {
			if e.Words>>(off*64/s.page.Size)&1 == 0 {
				continue
			}
			at := s.cut(e.Node, off)
			if !seen[at] && s.use(e.Node, at, pagetable.WriteAccess) {
				s.waits.add(e, 0, s.typical)
			}
			seen[at] = true
		}
	}
}

// use has a node use a part, and reports whether it has to wait for it.
func (s *split) use(n pagetable.NodeID, at int, a pagetable.Access) (waits bool) {
	p := s.parts[at]
	if p == nil {
		p = &part{}
		s.parts[at] = p
	}
	if a == pagetable.WriteAccess {
		waits = p.owner != n
		p.owner, p.copies = n, pagetable.CopySet{}
	} else {
		waits = !p.copies.Has(n)
		if p.owner != n {
			p.owner = 0
		}
	}
	p.copies.Add(n)
	return waits
}
