package pagetable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	wordSize  = 8  // bytes that share one bit of a Footprint
	blockSize = 64 // bytes that Diff compares at once before it looks at words
)

// Footprint says which 8-byte words of a page have been written. The zero Footprint is empty and
// costs no memory beyond itself. Two nodes whose footprints in a page don't intersect share it falsely.
type Footprint struct {
	// marks has one bit per word: bit i%64 of marks[i/64] stands for bytes [8i, 8i+8). It is as long
	// as the largest page seen needs, or nil as long as nothing is marked.
	marks []uint64
}

// Span is the bytes [Start, End) of a page.
type Span struct{ Start, End int }

var zeroBlock [blockSize]byte

// Diff marks the words of page that differ from its twin. A nil twin stands for a page of zeros.
// Preconditions: page is a whole page, and twin is nil or of the same length.
func (f *Footprint) Diff(twin, page []byte) {
	if len(page)%blockSize != 0 || twin != nil && len(twin) != len(page) {
		panic(fmt.Sprintf("pagetable: Footprint.Diff: page of %d bytes, twin of %d", len(page), len(twin)))
	}
	if twin != nil && bytes.Equal(twin, page) {
		return
	}
	for at := 0; at < len(page); at += blockSize {
		old := zeroBlock[:]
		if twin != nil {
			old = twin[at : at+blockSize]
		}
		now := page[at : at+blockSize]
		if bytes.Equal(old, now) {
			continue
		}
		f.grow(len(page))
		words := diffBlock((*[blockSize]byte)(old), (*[blockSize]byte)(now))
		f.marks[at/(wordSize*64)] |= words << (at / wordSize % 64)
	}
}

// Mark marks the words of the bytes [start, end) of a page.
func (f *Footprint) Mark(start, end int) {
	if start >= end {
		return
	}
	f.grow(end)
	first, last := start/wordSize, (end-1)/wordSize
	for i := first / 64; i <= last/64; i++ {
		lo, hi := max(first-64*i, 0), min(last-64*i, 63)
		f.marks[i] |= ^uint64(0) << lo & (^uint64(0) >> (63 - hi))
	}
}

// Clear unmarks all words and keeps the memory.
func (f *Footprint) Clear() { clear(f.marks) }

// diffBlock returns a bit for each word in which two blocks differ. It has no branch, as on pages with
// scattered writes that would be mispredicted every other time.
func diffBlock(old, now *[blockSize]byte) (words uint64) {
	for i := range blockSize / wordSize {
		x := binary.NativeEndian.Uint64(old[i*wordSize:]) ^ binary.NativeEndian.Uint64(now[i*wordSize:])
		words |= (x | -x) >> 63 << i // the top bit of x|-x is set unless x is 0
	}
	return words
}

// grow makes room for the words of the first size bytes of a page.
func (f *Footprint) grow(size int) {
	need := (size + wordSize*64 - 1) / (wordSize * 64)
	if need > len(f.marks) {
		marks := make([]uint64, need)
		copy(marks, f.marks)
		f.marks = marks
	}
}

// Merge adds the words of o to f.
func (f *Footprint) Merge(o *Footprint) {
	f.grow(len(o.marks) * wordSize * 64)
	for i, w := range o.marks {
		f.marks[i] |= w
	}
}

// MergeCommon adds the words that are marked in a and in b to f.
func (f *Footprint) MergeCommon(a, b *Footprint) {
	n := min(len(a.marks), len(b.marks))
	f.grow(n * wordSize * 64)
	for i := range n {
		f.marks[i] |= a.marks[i] & b.marks[i]
	}
}

// Words returns the number of marked words.
func (f *Footprint) Words() int {
	n := 0
	for _, w := range f.marks {
		n += bits.OnesCount64(w)
	}
	return n
}

// Bytes returns how many bytes the marked words have.
func (f *Footprint) Bytes() int { return f.Words() * wordSize }

// Sketch returns the footprint at a coarser grain: bit i is set if a word of the i-th 64th of the page is
// marked. In pages of fewer than 64 words several bits stand for one word.
// Preconditions: size is that of the page, in bytes, a power of two.
func (f *Footprint) Sketch(size int) (sketch uint64) {
	words := size / wordSize
	for i, w := range f.marks {
		if w == 0 {
			continue
		}
		if words >= 64*64 { // one bit for several marks
			sketch |= 1 << (i * 64 * 64 / words)
			continue
		}
		sketch |= spread(w, words) << (i * 64 * 64 / words)
	}
	return sketch
}

// spread returns the bits of a sketch that the 64 words of w make in a page of that many words, at most 2048.
func spread(w uint64, words int) (bits uint64) {
	if words < 64 {
		for i := range 64 {
			bits |= w >> (i * words / 64) & 1 << i
		}
		return bits
	}
	per := words / 64 // words that share a bit
	for n := 1; n < per; n *= 2 {
		w |= w >> n
	}
	for i := range 64 / per {
		bits |= w >> (i * per) & 1 << i
	}
	return bits
}

// Intersects reports whether a word is marked in both.
func (f *Footprint) Intersects(o *Footprint) bool {
	for i := range min(len(f.marks), len(o.marks)) {
		if f.marks[i]&o.marks[i] != 0 {
			return true
		}
	}
	return false
}

// Spans returns the runs of marked words in bytes, ascending; no two of them touch.
func (f *Footprint) Spans() []Span {
	var spans []Span
	for i, w := range f.marks {
		for ; w != 0; w &= w - 1 {
			start := (i*64 + bits.TrailingZeros64(w)) * wordSize
			if n := len(spans); n > 0 && spans[n-1].End == start {
				spans[n-1].End += wordSize
			} else {
				spans = append(spans, Span{start, start + wordSize})
			}
		}
	}
	return spans
}
