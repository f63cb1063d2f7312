package coherence

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Stamp says when and where a diff was written.
type Stamp struct {
	Moment
	// Epoch is that of the Order of its node when the diff was taken.
	Epoch uint64
	// Before is what had happened before by then. It is never written to.
	Before VectorTime
	// Where is the caller's word for the place in the program; the core only keeps it.
	Where string
}

// Shadow is what the home of a page knows of the page's writers: of each word, who wrote it last and when. A diff
// that writes bytes which another node wrote, when neither happened before the other, is a race of the program.
// That the last writer is enough, as long as there is no race, is the discovery of C. Flanagan and S. N. Freund,
// "FastTrack", PLDI 09, section 3; that intervals and diffs are enough to look for races between nodes, of D.
// Perkovic and P. Keleher, "Online Data-Race Detection via Coherency Guarantees", OSDI 96.
//
// It sees bytes that were changed. It doesn't see reads, writes that leave a byte as it was, and races between
// goroutines of one node. Of a word of which two nodes write different bytes it remembers the last one only.
//
// The zero value is ready to use.
type Shadow struct {
	epoch uint64
	words []trace     // nil before the first diff
	kept  []keptStamp // those of words, and unused ones; the first is none
	free  []uint32    // unused ones
}

// trace is what is known of a word.
type trace struct {
	stamp uint32 // in kept; 0: nobody has written it in this epoch
	bytes byte   // those that were written then, bit i for byte i
}

type keptStamp struct {
	Stamp
	words int // that refer to it
}

// Conflict is a race of a diff with another one.
type Conflict struct {
	// Offset is that of the first byte in the page that both have written, and Words how many words have such.
	Offset, Words int
	// Other is the one that was there.
	Other Stamp
}

// Write takes up a diff of a page of that size, and appends to dst one Conflict for each other diff that it is in
// a race with.
//
// Diffs may come in another order than that in which they happened: one that is told to have happened before
// what is there changes nothing.
//
// Preconditions: as ApplyDiff. Diffs of one node come in their order.
func (s *Shadow) Write(st Stamp, diff []byte, pageSize int, dst []Conflict) []Conflict {
	if len(diff) == 0 || st.Epoch < s.epoch {
		return dst
	}
	w := s.begin(st, pageSize, dst)
	eachWord(diff, pageSize, w.word)
	return w.end()
}

// WriteOwn is Write for what the page's home has written itself: what page has not in common with twin. It may be
// called again for the same writes.
// Preconditions: as TakeDiff.
//
//go:norace
func (s *Shadow) WriteOwn(st Stamp, page, twin []byte, dst []Conflict) []Conflict {
	if st.Epoch < s.epoch {
		return dst
	}
	w := s.begin(st, len(page), dst)
	for at := 0; at < len(page); at += skipSize {
		p, t := page[at:at+skipSize:at+skipSize], twin[at:at+skipSize:at+skipSize]
		if alike(p, t) {
			continue
		}
		for i := 0; i < skipSize; i += wordSize {
			if x := binary.LittleEndian.Uint64(p[i:]) ^ binary.LittleEndian.Uint64(t[i:]); x != 0 {
				w.word((at+i)/wordSize, byteMask(x))
			}
		}
	}
	return w.end()
}

// shadowWrite is one diff on its way into the shadow.
type shadowWrite struct {
	s     *Shadow
	slot  uint32 // of the diff's stamp
	found []Conflict
	first int // in found: the diff's own start there
	// last is the stamp that was looked at last, order how it stands to the diff's, and moved how many words went from
	// one to the other: words that were written together stand together.
	last  uint32
	order order
	moved int
}

// order is how a diff that comes stands to one that is there.
type order uint8

const (
	follows order = iota
	precedes
	unordered
)

func (s *Shadow) begin(st Stamp, pageSize int, dst []Conflict) *shadowWrite {
	if st.Epoch > s.epoch || s.words == nil {
		*s = Shadow{epoch: st.Epoch, words: make([]trace, pageSize/wordSize), kept: make([]keptStamp, 1)}
	}
	return &shadowWrite{s: s, slot: s.keep(st), found: dst, first: len(dst)}
}

func (w *shadowWrite) end() []Conflict {
	w.turn(0)
	w.s.refer(w.slot, -1) // the share of keep
	return w.found
}

func (w *shadowWrite) word(index int, mask byte) {
	at := &w.s.words[index]
	if at.stamp != w.last {
		w.turn(at.stamp)
	}
	switch {
	case w.order == precedes:
		return
	case w.order == unordered && at.bytes&mask != 0:
		w.race(index*wordSize+bits.TrailingZeros8(at.bytes&mask), at.stamp)
	}
	w.moved++
	*at = trace{w.slot, mask}
}

// turn goes on to words of another stamp.
func (w *shadowWrite) turn(next uint32) {
	w.s.refer(w.slot, w.moved)
	if w.last != 0 {
		w.s.refer(w.last, -w.moved)
	}
	w.last, w.moved, w.order = next, 0, follows
	if next != 0 {
		w.order = w.s.compare(w.slot, next)
	}
}

// race counts one word of a race.
func (w *shadowWrite) race(offset int, other uint32) {
	st := w.s.kept[other].Stamp
	i := slices.IndexFunc(w.found[w.first:], func(c Conflict) bool { return c.Other.Moment == st.Moment })
	if i < 0 {
		w.found = append(w.found, Conflict{Offset: offset, Words: 1, Other: st})
		return
	}
	w.found[w.first+i].Words++
}

// compare says how the diff of one stamp stands to that of another.
func (s *Shadow) compare(comes, is uint32) order {
	c, i := &s.kept[comes].Stamp, &s.kept[is].Stamp
	switch {
	case c.Node == i.Node || c.Before.Has(i.Moment):
		return follows
	case i.Before.Has(c.Moment):
		return precedes
	}
	return unordered
}

// keep returns a place for a stamp, which one share refers to.
func (s *Shadow) keep(st Stamp) uint32 {
	k := keptStamp{st, 1}
	if last := len(s.free) - 1; last >= 0 {
		slot := s.free[last]
		s.free = s.free[:last]
		s.kept[slot] = k
		return slot
	}
	s.kept = append(s.kept, k)
	return uint32(len(s.kept) - 1)
}

// refer changes how many words refer to a stamp, which is forgotten when none does any more.
func (s *Shadow) refer(slot uint32, by int) {
	k := &s.kept[slot]
	if k.words += by; k.words == 0 {
		*k = keptStamp{}
		s.free = append(s.free, slot)
	}
}

// eachWord calls f for every word that a diff writes to, with which of its bytes, bit i for byte i.
// Preconditions: as ApplyDiff.
func eachWord(diff []byte, pageSize int, f func(index int, mask byte)) {
	var r diffRun
	for len(diff) > 0 {
		rest, err := r.next(diff, pageSize/wordSize)
		if err != nil {
			panic(err)
		}
		for i := r.end - r.count; i < r.end; i++ {
			mask := byte(0xff)
			if r.partial {
				mask, rest = rest[0], rest[1+bits.OnesCount8(rest[0]):]
			} else {
				rest = rest[wordSize:]
			}
			f(i, mask)
		}
		diff = rest
	}
}
