package dsm

import (
	"time"

	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// periodFaults is how many faults of a node on a page make a period. How a page is shared is read from the period
// that goes on and the one before it, so from the last 256 to 511 faults of each node, whenever they were: shares of
// 256 events err by some 6 % (two standard deviations), a page that is hot has had them in a tenth of a second, and
// what a page is at the end of a run does not depend on how long ago it was used.
const periodFaults = 256

// sharer is one node's part in the sharing of a page, of late. Only a page that this node has lost to another, or
// has waited for twice, has one.
type sharer struct {
	now, before period
	had         pagetable.Access // the right that the node has
	since       time.Time        // when it came; zero if that wasn't seen
	lost        time.Time        // when another node took the page away; zero if none has, or it has come back
	fetch       time.Duration    // what the last fault waited; of an upgrade after a read, both together
	unwritten   bool             // what is here came for reading, and was not written yet
	upgrading   bool             // the last fault was such an upgrade
}

// period is what happened in periodFaults faults.
type period struct {
	sharing.Counts
	written, again, read, readAgain pagetable.Footprint
	lock                            string // that was held at the first fault at which one was
}

// turn begins another period if the present one is full. The memory of the last but one is used again.
func (sh *sharer) turn() {
	if sh.now.Faults() < periodFaults {
		return
	}
	sh.now, sh.before = sh.before, sh.now
	p := &sh.now
	p.Counts, p.lock = sharing.Counts{}, ""
	for _, f := range []*pagetable.Footprint{&p.written, &p.again, &p.read, &p.readAgain} {
		f.Clear()
	}
}

// fault counts a fault that begins to wait.
func (sh *sharer) fault(had pagetable.Access, wt *waiter, lock string) {
	sh.turn()
	p := &sh.now
	sh.upgrading = wt.want == pagetable.WriteAccess && had == pagetable.ReadAccess && sh.unwritten
	switch {
	case wt.want == pagetable.ReadAccess:
		p.ReadFaults++
		sh.began(wt)
	case had == pagetable.ReadAccess:
		p.Upgrades++
		if sh.upgrading {
			p.Taken++
		}
	default:
		p.WriteFaults++
	}
	if lock != "" && p.lock == "" {
		p.lock = lock
	}
	if lock != "" && p.lock == lock {
		p.UnderLock++
	}
	if sh.lost.IsZero() {
		return
	}
	p.Returns++
	if wt.start.Sub(sh.lost) <= sh.fetch {
		p.Eager++
	}
	sh.lost = time.Time{}
}

// began notes at which words a read begins that has to wait.
func (sh *sharer) began(wt *waiter) {
	if wt.size == 0 {
		return
	}
	var place pagetable.Footprint
	place.Mark(wt.off, wt.off+wt.size)
	sh.now.Places++
	sh.now.readAgain.MergeCommon(&sh.now.read, &place)
	sh.now.readAgain.MergeCommon(&sh.before.read, &place)
	sh.now.read.Merge(&place)
}

// arrived notes what a fault has waited.
func (sh *sharer) arrived(wait time.Duration) {
	if sh.upgrading {
		sh.fetch += wait
	} else {
		sh.fetch = wait
	}
	sh.now.WaitNanos += uint64(wait)
}

// right follows a change of the node's right to a. taken says that it was for another node.
func (sh *sharer) right(a pagetable.Access, now time.Time, taken bool) {
	had, held := sh.had, now.Sub(sh.since)
	known := taken && a < had && !sh.since.IsZero()
	switch {
	case !known:
	case had == pagetable.WriteAccess:
		if held <= sh.fetch {
			sh.now.Short++
		}
	default:
		sh.now.Copies++
		if held <= sharing.BriefFetches*sh.fetch {
			sh.now.Brief++
		}
	}
	sh.lost = time.Time{}
	if taken && a == pagetable.NoAccess {
		sh.lost = now
	}
	sh.unwritten = a == pagetable.ReadAccess && had == pagetable.NoAccess
	sh.had, sh.since = a, now
}

// tenureEnded takes up the words that were written in a tenure.
func (sh *sharer) tenureEnded(words *pagetable.Footprint) {
	sh.now.Tenures++
	sh.now.again.MergeCommon(&sh.now.written, words)
	sh.now.again.MergeCommon(&sh.before.written, words)
	sh.now.written.Merge(words)
}

// part returns what is told to others.
func (sh *sharer) part(self pagetable.NodeID) sharing.Node {
	n := sharing.Node{Node: self, Counts: sh.now.Add(sh.before.Counts), Lock: sh.now.lock}
	switch {
	case sh.now.lock == "":
		n.Lock = sh.before.lock
	case sh.before.lock != "" && sh.before.lock != sh.now.lock:
		n.UnderLock = sh.now.UnderLock
	}
	n.Written = bothSpans(&sh.now.written, &sh.before.written)
	n.Again = bothSpans(&sh.now.again, &sh.before.again)
	n.Read = bothSpans(&sh.now.read, &sh.before.read)
	n.ReadAgain = bothSpans(&sh.now.readAgain, &sh.before.readAgain)
	return n
}

// bothSpans returns the words of a and b, the first maxSpans runs of them.
func bothSpans(a, b *pagetable.Footprint) []sharing.Span {
	var both pagetable.Footprint
	both.Merge(a)
	both.Merge(b)
	return spansOf(&both)
}

func spansOf(f *pagetable.Footprint) []sharing.Span {
	list := []sharing.Span{}
	spans := f.Spans()
	for _, sp := range spans[:min(len(spans), maxSpans)] {
		list = append(list, sharing.Span(sp))
	}
	return list
}
