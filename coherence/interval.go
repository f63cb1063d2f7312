package coherence

import (
	"slices"

	"pagemesh/pagetable"
)

// Intervals are one node's spans between two releases: which pages it writes in the open one, and whose
// changes are under way to their homes. It is for release regions, and a function of events like Page.
//
// A release is: Close; Flush each page that it returns; wait until the number that it returned is Settled; only then
// let another node acquire. The acknowledgements are waited for so that a home has everything that a notice can
// name, and a fetch is one round trip and never waits.
//
// There is a shorter way, see Early: what lets another node acquire may leave before the acknowledgements have come,
// if that node is the home of all that lacks one (Clear). It takes up the changes first, since messages between two
// nodes stay in order, and tells of them itself (Ready.Took). The release is complete when the number is Settled:
// only then do the changes survive this node.
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
	// early is the last interval whose release went on without its acknowledgements.
	early uint32
}

// closing is an interval that lacks left acknowledgements. sent says how many of them each home owes. What a home owes
// because the one before it has gone is still in the name of that one, which nothing is told any more.
type closing struct {
	number uint32
	left   int
	sent   []debt
}

// debt is how many acknowledgements a home owes.
type debt struct {
	home  pagetable.NodeID
	count int
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
	v.closing = append(v.closing, closing{number: v.closed, left: len(pages)})
	return v.closed, pages
}

func (v *Intervals) find(number uint32) int {
	return slices.IndexFunc(v.closing, func(c closing) bool { return c.number == number })
}

// Sent takes up that one page of an interval is on its way to its home.
func (v *Intervals) Sent(number uint32, home pagetable.NodeID) {
	c := &v.closing[v.find(number)]
	if d := c.debt(home); d != nil {
		d.count++
		return
	}
	c.sent = append(c.sent, debt{home, 1})
}

// Flushed takes up that one page of an interval is at its home, which may be this node, self. If another home has it
// than the one that it was sent to, nobody knows what the others owe.
func (v *Intervals) Flushed(self pagetable.NodeID, f Flushed) {
	i := v.find(f.Interval)
	c := &v.closing[i]
	if c.left--; c.left == 0 {
		v.closing = slices.Delete(v.closing, i, i+1)
		return
	}
	switch d := c.debt(f.By); {
	case f.By == self:
	case d == nil:
		c.sent = nil
	default:
		d.count--
	}
}

// debt returns what a home owes, nil if that is nothing or not known.
func (c *closing) debt(home pagetable.NodeID) *debt {
	for i := range c.sent {
		if c.sent[i].home == home && c.sent[i].count > 0 {
			return &c.sent[i]
		}
	}
	return nil
}

// owed returns how many acknowledgements come from homes that match.
func (c *closing) owed(match func(home pagetable.NodeID) bool) (count int) {
	for _, d := range c.sent {
		if match(d.home) {
			count += d.count
		}
	}
	return count
}

// Clear reports whether what happened up to the end of that interval may be told to a node: the homes have all of
// it, or that node will.
func (v *Intervals) Clear(to pagetable.NodeID, number uint32) bool {
	for i := range v.closing {
		c := &v.closing[i]
		if int32(c.number-number) > 0 {
			return true
		}
		if c.owed(func(home pagetable.NodeID) bool { return home == to }) < c.left {
			return false
		}
	}
	return true
}

// Early reports whether the intervals that have ended may be released now: all that is not acknowledged is under
// way to homes that will take it up, which one that is leaving (or 0) may not. Then what lets another node acquire is
// sent when that is Clear, and until the release is complete this node gives no account of its locks in a new epoch,
// see Accountable.
func (v *Intervals) Early(leaving pagetable.NodeID) bool {
	for i := range v.closing {
		c := &v.closing[i]
		if c.owed(func(home pagetable.NodeID) bool { return home != leaving }) < c.left {
			return false
		}
	}
	v.early = v.closed
	return true
}

// Accountable reports whether the homes have everything that was released early. When an epoch begins, what was
// under way between locks is void, and their homes let others acquire by what nodes report.
func (v *Intervals) Accountable() bool { return v.Settled(v.early) }

// Settled reports whether the homes have everything that was written up to the end of that interval. What an
// earlier release has under way belongs to a later one too.
func (v *Intervals) Settled(number uint32) bool {
	return len(v.closing) == 0 || int32(v.closing[0].number-number) > 0
}

// Idle reports whether there is nothing to release.
func (v *Intervals) Idle() bool { return len(v.written)+len(v.closing) == 0 }
