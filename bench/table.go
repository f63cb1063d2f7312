package bench

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// table is a hash table in shared memory, from words to tallies. It is cut into stripes, each of which
// is a small hash table by itself, in pages of its own and under a mutex of its own. A stripe that is
// full goes on in another one.
type table struct {
	ctx     context.Context
	rank    *Rank
	stripes *Array[stripe]
	bases   int         // stripes that words are spread over; those after them continue full ones
	used    *dsm.Region // how many of those after them are in use
}

const (
	stripeSize  = 1 << 17 // bytes
	stripeSlots = 1 << 12
	stripeText  = stripeSize - 16*stripeSlots - 16
	// stripeWords leaves a quarter of the slots free, so that a search ends soon.
	stripeWords = stripeSlots / 4 * 3
	// stripeInput is how many bytes of text there are for each base stripe: program text has some 4
	// different words in a kilobyte.
	stripeInput = 1 << 19
	// stripeLeast is how many bytes of text have passed, at least, when a stripe is full: so many words
	// of one letter and the spaces between them.
	stripeLeast = 2 * stripeWords
)

// stripe is a hash table with open addressing. Words lie one after the other in Text.
type stripe struct {
	Next  int32 // stripe where this one goes on; 0 if it doesn't
	Words int32
	Used  int32 // bytes of Text
	_     int32
	Slots [stripeSlots]slot
	Text  [stripeText]byte
}

// slot is a word and its tally. It is free if Count is 0.
type slot struct {
	Count      uint64
	Files      uint32
	Start, Len uint16 // the word is Text[Start : Start+Len]
}

// newTable returns an empty table for the words of that many bytes of text.
func newTable(ctx context.Context, r *Rank, size int64) *table {
	bases := int(size/stripeInput) + 1
	return &table{
		ctx: ctx, rank: r, bases: bases,
		stripes: NewArray[stripe](ctx, r, "stripes", bases+int(size/stripeLeast), pagetable.Hashed),
		used:    NewCounter(ctx, r, "used"),
	}
}

// entry is what is to be added to one word's tally.
type entry struct {
	word string
	hash uint64
	*tally
}

// add adds counts to the table, stripe by stripe. Ranks begin at different ones.
func (t *table) add(counts map[string]*tally) {
	entries := make([][]entry, t.bases)
	for word, tally := range counts {
		h := fnv.New64a()
		_, _ = io.WriteString(h, word) // never fails, see package hash
		sum := h.Sum64()
		i := sum % uint64(t.bases)
		entries[i] = append(entries[i], entry{word, sum / uint64(t.bases), tally})
	}
	for k := range t.bases {
		i := (k + t.bases*t.rank.Rank/t.rank.Ranks) % t.bases
		t.addTo(i, entries[i])
	}
}

// addTo adds entries to a base stripe and those that continue it.
func (t *table) addTo(i int, entries []entry) {
	mu := t.rank.Mutex(fmt.Sprintf("stripe/%d", i))
	acquire(t.ctx, mu)
	for len(entries) > 0 {
		w := t.stripes.Write(i, i+1)
		s := &w.Data[0]
		entries = s.add(entries)
		if len(entries) > 0 && s.Next == 0 {
			n, err := t.used.Add(t.ctx, 0, 1)
			check(err)
			s.Next = int32(t.bases + int(n) - 1)
		}
		i = int(s.Next)
		w.Done()
	}
	check(mu.Unlock())
}

// compare counts the words in the table, and those among them whose tallies are as in want.
func (t *table) compare(want map[string]*tally) (found, right int) {
	more, err := t.used.Load(t.ctx, 0)
	check(err)
	for i := range t.bases + int(more) {
		w := t.stripes.Read(i, i+1)
		for _, slot := range w.Data[0].Slots {
			if slot.Count == 0 {
				continue
			}
			found++
			ref := want[string(w.Data[0].word(slot))]
			if ref != nil && slot.Count == ref.count && uint64(slot.Files) == ref.files {
				right++
			}
		}
		w.Done()
	}
	return found, right
}

// add adds entries to the stripe and returns those that don't fit. What does not fit once never will,
// so that a word is always found in the same stripe.
func (s *stripe) add(entries []entry) (rest []entry) {
	for _, e := range entries {
		slot := s.find(e)
		if slot.Count == 0 && !s.put(slot, e.word) {
			rest = append(rest, e)
			continue
		}
		slot.Count += e.count
		slot.Files += uint32(e.files)
	}
	return rest
}

// find returns the slot of a word: the one that has it, or the free one where it belongs.
func (s *stripe) find(e entry) *slot {
	for i := e.hash % stripeSlots; ; i = (i + 1) % stripeSlots {
		slot := &s.Slots[i]
		if slot.Count == 0 || string(s.word(*slot)) == e.word {
			return slot
		}
	}
}

func (s *stripe) word(l slot) []byte { return s.Text[l.Start:][:l.Len] }

// put gives a free slot its word, if there is room.
func (s *stripe) put(l *slot, word string) bool {
	if s.Words == stripeWords || int(s.Used)+len(word) > len(s.Text) {
		return false
	}
	l.Start, l.Len = uint16(s.Used), uint16(len(word))
	s.Used += int32(copy(s.Text[s.Used:], word))
	s.Words++
	return true
}
