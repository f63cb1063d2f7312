package dsm

import (
	"bytes"
	"slices"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// changes are what this node has of a page of a release region and the page's home may not have, or, at the home,
// those who follow the page: the page's lock guards them.
type changes struct {
	// twin is the page as it was before this node wrote to it; nil if it has not, or nobody needs to be told.
	twin []byte
	// aside is what differed from the twin when the frame was given up, to go on top of what is fetched next.
	// Valid if setAside.
	aside    []byte
	setAside bool
	// began is the interval that the twin is from, and by whom the page was written first in it: set if races are
	// looked for.
	began began
	// shadow is the page's, at its home, if races are looked for.
	shadow coherence.Shadow
	// flights are the diffs that are not acknowledged, the oldest first.
	flights []flight
}

// flight is the diff of one interval.
type flight struct {
	interval uint32
	diff     []byte
}

// keepFrame reports whether the frame holds what is nowhere else.
func (c *changes) keepFrame() bool { return c.twin != nil && !c.setAside }

// open reports whether something is not at the home, or may not be.
func (c *changes) open() bool { return c.twin != nil || len(c.flights) > 0 }

// installChanged puts what has come into the frame of a page of a release region, under this node's own
// changes, and makes the twin. See coherence.Ready.
func (w *work) installChanged(pg *page, frame []byte, cause coherence.Message, body []byte) {
	c := &pg.changes
	switch in := w.rd.Install; {
	case in == coherence.Diff:
		w.compare(pg, frame, body)
		coherence.ApplyDiff(frame, body)
		if c.twin != nil {
			coherence.ApplyDiff(c.twin, body)
		}
		pg.used = true
		pg.traffic.received(cause, len(body))
	case in != coherence.NoContent && c.open():
		pg.traffic.received(cause, len(body))
		c.installUnder(frame, w.fresh(len(frame), body))
		pg.used = true
	case in == coherence.Bytes && len(pg.pins) > 0:
		pg.traffic.received(cause, len(body))
		coherence.CopyWords(frame, body)
		pg.used = true
	default:
		pg.install(in, frame, cause, body)
	}
	if w.rd.KeepTwin {
		c.twin = takeTwin(len(frame))
		copy(c.twin, w.steady(pg, frame))
	}
	if w.rd.Wrote {
		w.s.races.began(pg, w.s.intervals.wrote(pg.proto.ID()))
	}
}

// fresh returns a page of its own with the bytes that have come, or zeros.
func (w *work) fresh(size int, body []byte) []byte {
	w.spare = append(w.spare[:0], body...)
	if body == nil {
		w.spare = append(w.spare, make([]byte, size)...)
	}
	return w.spare
}

func (c *changes) installUnder(frame, fresh []byte) {
	for _, f := range c.flights {
		coherence.ApplyDiff(fresh, f.diff)
	}
	switch {
	case c.setAside:
		coherence.CopyWords(frame, fresh)
		copy(c.twin, fresh)
		coherence.ApplyDiff(frame, c.aside)
		c.aside, c.setAside = nil, false
	case c.twin != nil:
		coherence.Merge(frame, c.twin, fresh)
	default:
		coherence.CopyWords(frame, fresh)
	}
}

// content returns the bytes of a page to send. What differs from the twin will be told later.
func (w *work) content(pg *page, frame []byte) []byte {
	if twin := pg.changes.twin; twin != nil {
		return twin
	}
	return w.steady(pg, frame)
}

// steady returns the bytes of a page's frame, which a view of this node may be writing to.
func (w *work) steady(pg *page, frame []byte) []byte {
	if !pg.written() {
		return frame
	}
	w.spare = append(w.spare[:0], make([]byte, len(frame))...)
	coherence.CopyWords(w.spare, frame)
	return w.spare
}

// differs reports whether a page was written in an interval that ends, as far as can be seen, see coherence.Page.Kept.
func (w *work) differs(r *region, pg *page, interval uint32) bool {
	c := &pg.changes
	kept, again := pg.proto.Kept(interval)
	if again {
		w.s.intervals.wrote(pg.proto.ID())
	}
	frame := r.frame(pg.proto.ID().Index())
	switch {
	case !kept:
		return true
	case c.setAside:
		return len(c.aside) > 0
	case coherence.Differs(frame, c.twin):
		return true
	case again || !r.mapped:
		return false
	}
	// A program may have written behind the comparison.
	r.setRight(pg, pagetable.WriteAccess, pagetable.ReadAccess)
	if !coherence.Differs(frame, c.twin) {
		return false
	}
	r.setRight(pg, pagetable.ReadAccess, pagetable.WriteAccess)
	return true
}

// putAside saves the changes of a page whose frame is about to be given up.
func (w *work) putAside(pg *page, frame []byte) {
	if c := &pg.changes; c.keepFrame() {
		c.aside, c.setAside = w.takeDiff(pg, frame), true
	}
}

// diff returns what goes with a Flush, and keeps it until it is acknowledged.
func (w *work) diff(pg *page, interval uint32, frame []byte) []byte {
	c := &pg.changes
	if w.rd.RepeatDiff {
		for _, f := range c.flights {
			if f.interval == interval {
				return f.diff
			}
		}
	}
	diff := c.aside
	if !c.setAside {
		diff = w.takeDiff(pg, frame)
	}
	c.aside = nil // but there still is no frame, if a view goes on
	c.flights = append(c.flights, flight{interval, diff})
	w.s.intervals.sent(interval, pg.proto.Home())
	return diff
}

// takeDiff returns how the frame differs from the twin, in memory of its own.
func (w *work) takeDiff(pg *page, frame []byte) []byte { return bytes.Clone(w.passingDiff(pg, frame)) }

// passingDiff is takeDiff in memory of w's.
func (w *work) passingDiff(pg *page, frame []byte) []byte {
	w.spare = coherence.TakeDiff(w.spare[:0], frame, pg.changes.twin)
	pg.traffic.flushed(w.spare, len(frame))
	return w.spare
}

// update returns what goes with Updates: what a Flush has brought, or what the home has written.
func (w *work) update(pg *page, frame, flushed []byte) []byte {
	switch {
	case w.rd.Install == coherence.Diff:
		return flushed
	case !slices.ContainsFunc(w.rd.Send, func(m coherence.Message) bool { return m.Kind == coherence.Update }):
		return nil
	}
	return w.passingDiff(pg, frame)
}

// noteChanges does what a Ready says about changes that are at the home now.
func (w *work) noteChanges(pg *page, frame []byte, cause coherence.Message) {
	c, rd := &pg.changes, &w.rd
	if len(rd.Flushed) > 0 {
		w.compareOwn(pg, frame)
	}
	if rd.Took > 0 {
		w.s.intervals.took(cause.From, pg.proto.ID(), rd.Took)
	}
	if rd.DropTwin {
		dropTwin(c.twin)
		c.twin, c.aside, c.setAside = nil, nil, false
	}
	if len(rd.Flushed) == 0 {
		return
	}
	w.s.intervals.flushed(w.out, pg.proto.ID(), rd.Flushed)
	for _, f := range rd.Flushed {
		if len(c.flights) > 0 && c.flights[0].interval == f.Interval {
			c.flights = c.flights[1:]
		}
	}
	w.s.memory.flushed()
}
