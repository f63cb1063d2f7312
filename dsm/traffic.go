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
	// written marks the words that this node changed, as far as its write rights have ended. tenure marks
	// those that it is known to have written since: by its own operations, which know what they write.
	written, tenure pagetable.Footprint
	// twin is a copy from before programs or views could write; nil with twinned set means a page of
	// zeros.
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
	t.takeStock()
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
	t.takeStock()
}

func (t *traffic) takeStock() {
	t.BytesChanged += uint64(t.tenure.Bytes())
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
	t.sites = nil
}
