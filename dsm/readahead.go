package dsm

import (
	"sync"

	"pagemesh/pagetable"
)

// A program that goes through memory from front to back faults page after page, and would wait a round
// trip for each. When faults follow each other like that, the pages after them are asked for as well,
// twice as many each time: as read-ahead of files does it.
const (
	streamCount = 8       // that are watched of one program
	aheadBytes  = 1 << 20 // the most that is asked for at once, and at most aheadPages
	aheadPages  = 64
	// A write that was guessed wrong takes a page away from its user, a read a copy at most.
	writeShare = 4 // part of a window that is asked for if the faults are writes
)

// stream is a sequence of faults on consecutive pages.
type stream struct {
	r *region
	// next is the first page that was neither touched nor asked for, window how many before it were asked
	// for last. A fault on next continues the stream. So does one on the second half of the window, which
	// is on its way: the program is faster than the pages come.
	next, window uint64
}

func (st *stream) continues(r *region, index uint64) bool {
	return st.r == r && index <= st.next && index+st.window/2 >= st.next
}

// holds reports whether a page is on its way because of the stream.
func (st *stream) holds(r *region, index uint64) bool {
	return st.r == r && index < st.next && index+st.window >= st.next
}

// streams are those of one program, the most recent first.
type streams struct {
	mu   sync.Mutex
	list [streamCount]stream
}

// follow notes a fault and returns the half-open range of pages after it to ask for as well.
func (ss *streams) follow(r *region, index uint64, a pagetable.Access) (from, to uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	at := 0
	for at < streamCount-1 && !ss.list[at].continues(r, index) && !ss.list[at].holds(r, index) {
		at++
	}
	st := ss.list[at]
	switch {
	case st.continues(r, index):
		from = max(st.next, index+1)
		st.window = min(max(2*st.window, 2), mostAhead(r, a), r.meta.Load().Pages()-from)
		st.next = from + st.window
	case !st.holds(r, index):
		st = stream{r: r, next: index + 1}
		from = st.next
	default:
		from = st.next
	}
	copy(ss.list[1:at+1], ss.list[:at])
	ss.list[0] = st
	return from, st.next
}

// mostAhead returns the longest window, in pages.
func mostAhead(r *region, a pagetable.Access) uint64 {
	most := max(1, min(aheadPages, uint64(aheadBytes)>>r.shift))
	if a == pagetable.WriteAccess {
		most = max(1, most/writeShare)
	}
	return most
}

// ahead asks for a page that nobody waits for yet, because of an access at a site.
func (w *work) ahead(r *region, index uint64, a pagetable.Access, by uint32) {
	if pg := r.pages.Get(index); pg != nil {
		pg.mu.Lock()
		here := pg.allows(a)
		pg.mu.Unlock()
		if here {
			return
		}
	}
	w.fault(r, index, &waiter{want: a, op: opTouch, site: by})
}
