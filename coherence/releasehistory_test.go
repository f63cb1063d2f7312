package coherence

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// history is the reference of a release region: who wrote each word last, and by vector clocks what happened
// before what. It knows nothing of pages. In a program without a race, the last write of a word happened before
// every read of it, and is what the read must see.
type history struct {
	clocks  []clock // of each thread
	locks   []clock // what happened before the lock was released last
	arrived clock   // what happened before the threads that are at the barrier arrived
	opened  clock   // and before it opened last
	words   []accesses
	// racy is the first race; "" if there was none.
	racy string
}

// clock is a vector time: how many steps of each thread happened before.
type clock []uint16

func (c clock) join(o clock) {
	for i := range o {
		c[i] = max(c[i], o[i])
	}
}

// accesses are what a word has been through.
type accesses struct {
	value  uint16 // number of the last write, 0 if there was none
	writer int    // thread that made it
	at     uint16 // and that thread's time
	raced  bool   // two writes of it were not ordered
	reads  clock  // when each thread read last
}

func (h *history) grow(threads, locks int) {
	for len(h.locks) < locks {
		h.locks = append(h.locks, nil)
	}
	h.clocks = append(h.clocks, nil)
	for _, cs := range [][]clock{h.clocks, h.locks} {
		for i := range cs {
			cs[i] = append(cs[i], make(clock, threads-len(cs[i]))...)
		}
	}
	h.arrived, h.opened = make(clock, threads), make(clock, threads)
	for i := range h.words {
		h.words[i].reads = make(clock, threads)
	}
	h.clocks[threads-1][threads-1] = 1
}

func (h *history) clone() history {
	d := *h
	d.clocks, d.locks = slices.Clone(h.clocks), slices.Clone(h.locks)
	for i := range d.clocks {
		d.clocks[i] = slices.Clone(d.clocks[i])
	}
	for i := range d.locks {
		d.locks[i] = slices.Clone(d.locks[i])
	}
	d.arrived, d.opened = slices.Clone(h.arrived), slices.Clone(h.opened)
	d.words = slices.Clone(h.words)
	for i := range d.words {
		d.words[i].reads = slices.Clone(d.words[i].reads)
	}
	return d
}

// write makes a write and returns its number.
func (h *history) write(thread, word int) uint16 {
	w, now := &h.words[word], h.clocks[thread]
	w.raced = !h.ordered(thread, word) || w.raced
	for t, at := range w.reads {
		if at > now[t] {
			h.race(thread, word, "writes", t, "has read")
		}
	}
	w.value++
	w.writer, w.at = thread, now[thread]
	return w.value
}

// read returns the number of the write that a read must see.
func (h *history) read(thread, word int) uint16 {
	w := &h.words[word]
	h.ordered(thread, word)
	w.reads[thread] = h.clocks[thread][thread]
	return w.value
}

// ordered reports whether the last write happened before, and notes a race if it did not.
func (h *history) ordered(thread, word int) bool {
	w := &h.words[word]
	if w.value == 0 || w.at <= h.clocks[thread][w.writer] {
		return true
	}
	h.race(thread, word, "accesses", w.writer, "has written")
	return false
}

func (h *history) race(thread, word int, does string, other int, did string) {
	if h.racy == "" {
		h.racy = fmt.Sprintf("thread %d %s word %d of page %d, which thread %d %s, and nothing orders the two",
			thread, does, word%pageWords, word/pageWords, other, did)
	}
}

// release and acquire move a thread's time through a lock or the barrier.
func (h *history) release(thread int, to clock) {
	to.join(h.clocks[thread])
	h.clocks[thread][thread]++
}

func (h *history) acquire(thread int, from clock) { h.clocks[thread].join(from) }

func (h *history) fingerprint(b []byte) []byte {
	all := append(slices.Concat(h.clocks, h.locks), h.arrived, h.opened)
	for _, w := range h.words {
		all = append(all, w.reads, clock{w.value, uint16(w.writer), w.at, uint16(bit(w.raced))})
	}
	for _, c := range all {
		for _, v := range c {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return append(b, bit(h.racy != ""))
}
