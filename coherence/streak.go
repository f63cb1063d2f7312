package coherence

import "pagemesh/pagetable"

// streak tells whether this node is likely to write a page in its next interval. Then the page is kept: what a release
// takes otherwise, the right to write and the twin, stays, and the page belongs to the next interval from the start. So
// nobody has to ask for the right again, which costs a program whose accesses are trapped more than the diff itself.
//
// It is a prediction. The twin shows at the end of an interval whether the page was written in it. If it was not,
// nothing is sent, and when that has happened a few times the right ends.
type streak struct {
	last   uint32 // interval in which the page was written last
	length uint8  // how many were not far apart, up to longStreak
}

const (
	// longStreak is how many intervals make the node expect another one.
	longStreak = 2
	// maxGap is how far apart they may be: programs that write two arrays in turn, or take more than one step in a
	// round, come back to a page after some intervals. To keep a page in vain costs each of them a comparison, of
	// which some fifty cost as much as a trap.
	maxGap = 4
)

// written counts an interval in which the page was written.
func (s *streak) written(interval uint32) {
	if interval-s.last > maxGap {
		s.length = 0
	}
	s.last, s.length = interval, min(s.length+1, longStreak)
}

// likely reports whether the page is expected to be written soon after an interval.
func (s *streak) likely(interval uint32) bool {
	return s.length == longStreak && interval-s.last < maxGap
}

// Kept is to be asked before an interval ends with Flush. kept: the right to write and the twin are from before it began,
// so the caller has to say whether the page differs from its twin. again: the page is kept for the next interval too,
// whatever that shows. Then the caller tells the Intervals, as if Ready.Wrote did, and looks at the page after that: who
// writes behind its look and releases what it wrote has to find the page there. If the page is not kept again, nobody
// must be able to write to it any more when the caller looks and finds no difference.
func (p *Page) Kept(interval uint32) (kept, again bool) {
	r := p.release
	kept = r.kept && (!r.homed || !r.followers.Empty())
	return kept, kept && p.stays(interval)
}

// stays reports whether a page with a twin keeps it, and the right to write, at the end of an interval.
func (p *Page) stays(interval uint32) bool {
	c, r := &p.copy, p.release
	return c.writers > 0 || r.streak.likely(interval) && c.access == pagetable.WriteAccess && !r.watched
}

// Yield ends the streak, because this node wants to give the page up: the next Flush takes the right to write.
func (p *Page) Yield() { p.release.streak = streak{} }

// written ends an interval in which the page was written, as far as can be seen.
func (p *Page) written(interval uint32, rd *Ready) {
	p.release.streak.written(interval)
	p.Used()
	if p.release.homed {
		p.change(interval, rd)
	} else {
		p.flush(interval, rd)
	}
}

// unwritten ends one in which it was not, though it was kept.
func (p *Page) unwritten(interval uint32, rd *Ready) {
	rd.Flushed = append(rd.Flushed, Flushed{Interval: interval, By: p.self})
	p.endWrites(interval, rd)
}

// endWrites takes the right to write and the twin unless they stay: then the page is written in the next interval.
func (p *Page) endWrites(interval uint32, rd *Ready) {
	c, r := &p.copy, p.release
	if p.stays(interval) {
		rd.Wrote, r.kept = true, !r.watched
		return
	}
	rd.DropTwin = r.twin || r.watched
	r.noted, r.twin, r.kept = false, false, false
	c.access = min(c.access, pagetable.ReadAccess)
}
