package coherence

import "pagemesh/pagetable"

// Ready is the work that one step of a Page asks its caller to do. The caller does it in the order
// of the fields, as doc.go numbers it, before the next step of the same page.
type Ready struct {
	// Install: put the received bytes (or zeros, or a diff) into the page's frame. Bytes and zeros go under
	// what this node has changed and the home may not have: the diffs that wait for their FlushAck, in their
	// order, and what differs from the twin, see Merge. A diff goes into the twin too, if there is one: what
	// others have written is nothing that this node has to tell.
	Install Content
	// KeepTwin: copy the frame to a twin now, before the node may write. The home of a page has one if somebody
	// follows, or if it is watched: then what differs from the twin is taken for the Shadow and not sent, when a Diff
	// is installed, which goes to both, and when Flushed names an interval.
	KeepTwin bool
	// Wrote: the page is written in this node's open interval, or may be without a fault, see Intervals. A release that
	// follows a write has to find it there.
	Wrote bool
	// Before and After are the node's right on the page before and after the step. If they differ, the
	// caller changes the protection of the frame now.
	Before, After pagetable.Access
	// Send lists the messages to send. If one carries Bytes they are those of the twin, if there is one, and else read
	// from the frame now: the next Update says how the page differs from the twin, and must not meet a word that was
	// half done. Messages addressed to the node itself are stepped, in order, after everything else here is done. The
	// Diff of a Flush is taken now, see TakeDiff, and kept until Flushed names its interval; with RepeatDiff it is the
	// one that was kept. The Diff of Updates is the one that Install says to put into the page, otherwise it is taken
	// now, once.
	Send []Message
	// RepeatDiff: the Flushes here were sent before, to a home that is gone.
	RepeatDiff bool
	// DropTwin: the twin is of no use any more.
	DropTwin bool
	// Flushed are the intervals whose changes the home has.
	Flushed []Flushed
	// Took is the number of the change that the diff to be installed has become, if this node is the home: its
	// Notices take it up.
	Took uint64
	// Woken is the right up to which waiting faults may go on; NoAccess wakes none. Each of them gets
	// its one access before the next step, however soon the page is taken away again.
	Woken pagetable.Access
	// Lost ends all waiting faults: the page can't be had.
	Lost bool
}

// Reset empties rd for the next step and keeps its memory.
func (rd *Ready) Reset() { *rd = Ready{Send: rd.Send[:0], Flushed: rd.Flushed[:0]} }

// Flushed says that what this node wrote to the page in an interval is at the page's home, which made it the
// change numbered Version: whoever hears of it needs a copy at least that new. Version 0: it went down with the
// home, or there is nothing. By is who says so: the home, or this node if it is the home or has nothing to tell; 0 if
// it is not the one that was sent the changes.
type Flushed struct {
	Interval uint32
	Version  uint64
	By       pagetable.NodeID
}
