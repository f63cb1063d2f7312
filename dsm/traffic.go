package dsm

import (
	"sync"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
)

// traffic counts what happens to one page at one node. The page's lock guards it.
type traffic struct {
	Counts
	// written marks the words that this node changed, as far as its write rights have ended.
	written pagetable.Footprint
	// twin is a copy from when the write right came; nil with twinned set means a page of zeros.
	twin    []byte
	twinned bool
	// sites are where attached programs were seen waiting for the page, and how often.
	sites map[site]uint64
}

// twins recycles buffers between pages of all sizes; an entry that is too small is dropped.
var twins sync.Pool

// fault counts an access that has to wait for another node.
func (t *traffic) fault(had, want pagetable.Access) {
	switch {
	case want == pagetable.ReadAccess:
		t.ReadFaults++
	case had == pagetable.ReadAccess:
		t.Upgrades++
	default:
		t.WriteFaults++
	}
}

// stalled adds the time that a waiter waited.
func (t *traffic) stalled(wt *waiter) {
	if !wt.start.IsZero() {
		t.StallNanos += uint64(time.Since(wt.start))
	}
}

func (t *traffic) received(cause coherence.Message, n int) {
	t.BytesIn += uint64(n)
	if cause.Access == pagetable.WriteAccess {
		t.Moves++
	}
}

// writable makes the twin against which writes will be seen (Keleher et al., ISCA 92, section 4.1,
// though here no diff is ever applied).
func (t *traffic) writable(frame []byte, used bool) {
	t.twinned = true
	if !used {
		return
	}
	if b, ok := twins.Get().(*[]byte); ok && cap(*b) >= len(frame) {
		t.twin = (*b)[:len(frame)]
	} else {
		t.twin = make([]byte, len(frame))
	}
	copy(t.twin, frame)
}

// writeLost compares the frame with its twin.
func (t *traffic) writeLost(frame []byte) {
	if !t.twinned {
		return
	}
	t.BytesChanged += uint64(t.written.Diff(t.twin, frame))
	if t.twin != nil {
		b := t.twin
		twins.Put(&b)
	}
	t.twin, t.twinned = nil, false
}

// look brings the footprint up to date for a page that this node may write. A program that is attached
// may be writing right now: its words are read as they are and count now or the next time. Views of
// this process are in the caller's way.
func (t *traffic) look(frame []byte) {
	if t.twinned {
		t.written.Diff(t.twin, frame)
	}
}

// restart begins a new twin if there is one, so that what was written before is forgotten. The same
// goes for writers as in look.
func (t *traffic) restart(frame []byte) {
	switch {
	case t.twin != nil:
		copy(t.twin, frame)
	case t.twinned:
		t.writable(frame, true)
	}
}

// reset forgets what was counted and keeps what goes on.
func (t *traffic) reset() {
	t.Counts = Counts{}
	t.written = pagetable.Footprint{}
	t.sites = nil
}
