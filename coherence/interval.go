package coherence

import (
	"slices"

	"pagemesh/pagetable"
)

// Intervals are one node's spans between two releases: which pages it writes in the open one, and whose
// changes are under way to their homes. It is for release regions, and a function of events like Page.
//
// A release is: Close; Flush each page that it returns; wait until the number that it returned is Settled;
// only then let another node acquire. The acknowledgements are waited for so that a home has everything that
// a notice can name, and a fetch is one round trip and never waits.
//
// An interval is the node's, not a goroutine's: a release covers what every goroutine of the node has written
// before, since the node can't know which of them have told each other so.
//
// The zero value is ready to use.
type Intervals struct {
	// closed counts the intervals that were ended. It wraps around: those under way are few.
	closed uint32
	// written are the pages of the open interval, each once.
	written []pagetable.PageID
	// closing are the intervals that were ended and still lack acknowledgements, the oldest first.
	closing []closing
}

// closing is an interval that lacks left acknowledgements.
type closing struct {
	number uint32
	left   int
}

// Wrote takes up a page of which Ready.Wrote said so.
func (v *Intervals) Wrote(p pagetable.PageID) { v.written = append(v.written, p) }

// Closed returns the number of the interval that ended last.
func (v *Intervals) Closed() uint32 { return v.closed }

// Open returns the number that the open interval will have.
func (v *Intervals) Open() uint32 { return v.closed + 1 }

// Close ends the open interval and returns its number and the pages to be flushed; the caller may keep
// them. An interval in which nothing was written is none: the number is that of the one before.
func (v *Intervals) Close() (number uint32, pages []pagetable.PageID) {
	if len(v.written) == 0 {
		return v.closed, nil
	}
	v.closed++
	pages, v.written = v.written, nil
	v.closing = append(v.closing, closing{v.closed, len(pages)})
	return v.closed, pages
}

// Flushed takes up that one page of an interval is at its home.
func (v *Intervals) Flushed(number uint32) {
	i := slices.IndexFunc(v.closing, func(c closing) bool { return c.number == number })
	if v.closing[i].left--; v.closing[i].left == 0 {
		v.closing = slices.Delete(v.closing, i, i+1)
	}
}

// Settled reports whether the homes have everything that was written up to the end of that interval. What an
// earlier release has under way belongs to a later one too.
func (v *Intervals) Settled(number uint32) bool {
	return len(v.closing) == 0 || int32(v.closing[0].number-number) > 0
}

// Idle reports whether there is nothing to release.
func (v *Intervals) Idle() bool { return len(v.written)+len(v.closing) == 0 }
