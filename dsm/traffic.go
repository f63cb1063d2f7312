package dsm

import (
	"sync"
	"time"

	"pagemesh/coherence"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// traffic counts what happens to one page at one node. The page's lock guards it.
type traffic struct {
	Counts
	// written marks the words that this node changed, as far as its write rights have ended. tenure marks
	// those that it is known to have written since: by its own operations, which know what they write.
	written, tenure pagetable.Footprint
	// twin is a copy from before programs or views could write; nil with twinned set means a page of
	// zeros.
	twin    []byte
	twinned bool
	// stock is what takeStock has found last.
	stock stock
	// sites are where programs were seen waiting for the page, and how often.
	sites map[seenSite]sightings
	// sharer is nil as long as nobody else has wanted the page.
	sharer *sharer
	// asked counts requests that reached this node as the page's home, and queued those of them that had to wait
	// for another; both are halved now and then, so that they are of late.
	asked, queued uint32
}

// stock is what was written until the right to write ended.
type stock struct {
	changed uint32 // bytes, in words
	words   uint64 // see trace.Event
}

// twins recycles buffers between pages of all sizes; an entry that is too small is dropped.
var twins sync.Pool

// fault counts an access that has to wait for another node, while this one holds the mutex called lock.
func (t *traffic) fault(had pagetable.Access, wt *waiter, lock string) {
	if t.sharer == nil && t.faults() > 0 {
		t.share()
	}
	if t.sharer != nil {
		t.sharer.fault(had, wt, lock)
	}
	switch {
	case wt.want == pagetable.ReadAccess:
		t.ReadFaults++
	case had == pagetable.ReadAccess:
		t.Upgrades++
	default:
		t.WriteFaults++
	}
}

// faults returns how often accesses waited for the page.
func (c Counts) faults() uint64 { return c.ReadFaults + c.WriteFaults + c.Upgrades }

// share begins to watch how the page is shared. What is known so far becomes part of it.
func (t *traffic) share() {
	t.sharer = &sharer{}
	t.sharer.now.Counts = t.firsts()
	t.sharer.now.written.Merge(&t.written)
}

// firsts returns the part of a node that has not begun to share.
func (t *traffic) firsts() sharing.Counts {
	return sharing.Counts{ReadFaults: t.ReadFaults, WriteFaults: t.WriteFaults, Upgrades: t.Upgrades, WaitNanos: t.StallNanos}
}

// stalled adds the time that a waiter has waited until now.
func (t *traffic) stalled(s *node, wt *waiter, now time.Time) {
	wait := now.Sub(wt.start)
	t.StallNanos += uint64(wait)
	t.LostNanos += uint64(s.waits.end(now, wt.begun))
	if t.sharer != nil {
		t.sharer.arrived(wait)
	}
}

// resumed adds the time from the end of a wait until whoever waited went on.
func (t *traffic) resumed(s *node, late time.Duration) {
	t.StallNanos += uint64(late)
	t.LostNanos += uint64(s.waits.part(late))
}

// right follows a change of the node's right from before to after. taken says that it was for another node.
func (t *traffic) right(before, after pagetable.Access, w *work, taken bool) {
	if t.sharer == nil && taken && after < before {
		t.share()
		t.sharer.had = before
	}
	if t.sharer != nil {
		t.sharer.right(after, w.clock(), taken)
	}
}

// request counts a request that reaches the page's home. busy says that it has to wait there.
func (t *traffic) request(busy bool) {
	if t.asked >= 2*periodFaults {
		t.asked, t.queued = t.asked/2, t.queued/2
	}
	t.asked++
	if busy {
		t.queued++
	}
}

func (t *traffic) received(cause coherence.Message, n int) {
	t.BytesIn += uint64(n)
	if cause.Access == pagetable.WriteAccess {
		t.Moves++
	}
}

// shared makes the twin against which writes will be seen of those who don't say what they write (Keleher
// et al., ISCA 92, section 4.1, though here no diff is ever applied).
func (t *traffic) shared(frame []byte, used bool) {
	if t.twinned {
		return
	}
	t.twinned = true
	if !used {
		return
	}
	t.twin = takeTwin(len(frame))
	copy(t.twin, frame)
}

// takeTwin returns memory for a twin.
func takeTwin(size int) []byte {
	if b, ok := twins.Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:size]
	}
	return make([]byte, size)
}

// dropTwin takes it back.
func dropTwin(twin []byte) {
	if twin != nil {
		twins.Put(&twin)
	}
}

// flushed takes stock of a page of a release region, whose diff says what was written.
func (t *traffic) flushed(diff []byte, pageSize int) {
	coherence.EachRun(diff, pageSize, t.tenure.Mark)
	t.takeStock(pageSize)
}

// wrote notes that the node itself has written n bytes at off.
func (t *traffic) wrote(off, n int) { t.tenure.Mark(off, off+n) }

// writeLost takes stock when the write right ends.
func (t *traffic) writeLost(frame []byte) {
	if t.twinned {
		t.tenure.Diff(t.twin, frame)
		dropTwin(t.twin)
		t.twin, t.twinned = nil, false
	}
	t.takeStock(len(frame))
}

func (t *traffic) takeStock(pageSize int) {
	changed := t.tenure.Bytes()
	t.BytesChanged += uint64(changed)
	if recording {
		t.stock = stock{uint32(changed), t.tenure.Sketch(pageSize)}
	}
	if t.sharer != nil {
		t.sharer.tenureEnded(&t.tenure)
	}
	t.written.Merge(&t.tenure)
	t.tenure.Clear()
}

// look brings the footprint up to date for a page that this node may write. A program that is attached
// may be writing right now: its words are read as they are and count now or the next time. Views of
// this process are in the caller's way.
func (t *traffic) look(frame []byte) {
	if t.twinned {
		t.written.Diff(t.twin, frame)
	}
	t.written.Merge(&t.tenure)
	if sh := t.sharer; sh != nil {
		if t.twinned {
			sh.now.written.Diff(t.twin, frame)
		}
		sh.now.written.Merge(&t.tenure)
	}
}

// restart begins a new twin if there is one, so that what was written before is forgotten. The same
// goes for writers as in look.
func (t *traffic) restart(frame []byte) {
	switch {
	case t.twin != nil:
		copy(t.twin, frame)
	case t.twinned:
		t.twinned = false
		t.shared(frame, true)
	}
}

// reset forgets what was counted and keeps what goes on.
func (t *traffic) reset() {
	t.Counts = Counts{}
	t.written, t.tenure = pagetable.Footprint{}, pagetable.Footprint{}
	t.sites, t.sharer = nil, nil
	t.asked, t.queued = 0, 0
}
