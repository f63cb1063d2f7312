package coherence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// A diff says what bytes of a page differ from its twin: runs of words that differ, in ascending order.
// A word is looked at whole, but only those of its bytes that differ are in the diff, so that two nodes
// may write two bytes of one word.
//
//	diff  = run…
//	run   = words since the run before, as uvarint · words in this run times two, plus one if partial, as uvarint · words
//	words = if whole:   the words
//	        if partial: a mask for each word, bit i for byte i, and then those bytes
//
// Pages are read and written here while goroutines write to other bytes of them through views. The race detector
// would take that for a race of theirs, so the functions that touch pages are hidden from it, with all that
// they call to do so. A race between two goroutines of the program is still seen.
const wordSize = 8

// MaxDiff returns the length of the longest diff of a page: whole and partial words that take turns.
func MaxDiff(pageSize int) int { return pageSize + pageSize/4 + 2*binary.MaxVarintLen64 }

// skipSize is how much of a page is compared at once as long as it is the same.
const skipSize = 64

// TakeDiff appends to dst how page differs from twin, and makes the two alike: what is written to the page
// while this runs is in this diff or in the next one. Nothing is appended if they don't differ.
// Preconditions: page and twin have one length, a multiple of 64.
//
//go:norace
func TakeDiff(dst, page, twin []byte) []byte {
	e := diffEncoder{out: dst}
	for at := 0; at < len(page); at += skipSize {
		p, t := page[at:at+skipSize:at+skipSize], twin[at:at+skipSize:at+skipSize]
		if alike(p, t) {
			continue
		}
		for i := 0; i < skipSize; i += wordSize {
			now := binary.LittleEndian.Uint64(p[i:])
			if x := now ^ binary.LittleEndian.Uint64(t[i:]); x != 0 {
				binary.LittleEndian.PutUint64(t[i:], now)
				e.word((at+i)/wordSize, now, byteMask(x))
			}
		}
	}
	e.end()
	return e.out
}

// Differs reports whether TakeDiff would find anything, as far as nobody writes to the page meanwhile.
// Preconditions: as TakeDiff.
//
//go:norace
func Differs(page, twin []byte) bool {
	for at := 0; at < len(page); at += skipSize {
		if !alike(page[at:at+skipSize:at+skipSize], twin[at:at+skipSize:at+skipSize]) {
			return true
		}
	}
	return false
}

// alike compares skipSize bytes.
//
//go:norace
func alike(p, t []byte) bool {
	var x uint64
	for i := 0; i < skipSize; i += wordSize {
		x |= binary.LittleEndian.Uint64(p[i:]) ^ binary.LittleEndian.Uint64(t[i:])
	}
	return x == 0
}

// byteMask returns which bytes of x are not zero, bit i for byte i.
func byteMask(x uint64) byte {
	const low, high = 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	tops := ((x&low + low) | x) & high
	// Byte i's bit, at 8i, goes to 56+i, and no two bits meet.
	return byte(tops >> 7 * 0x0102040810204080 >> 56)
}

// spread returns the word that has all bits of the bytes in mask.
func spread(mask byte) uint64 {
	ones := uint64(mask) * 0x0101010101010101 & 0x8040201008040201
	return uint64(((ones+0x7f7f7f7f7f7f7f7f)|ones)&0x8080808080808080) >> 7 * 0xff
}

// diffEncoder appends runs to out. The run under way has its words in out, and gets its header in front of
// them when it ends: where it starts one byte for each number is left free, which is enough for most.
type diffEncoder struct {
	out     []byte
	start   int // of the header in out
	first   int // word of the page; valid if count > 0
	count   int
	partial bool
	end0    int // word after the run before
}

const headerRoom = 2

func (e *diffEncoder) word(index int, now uint64, mask byte) {
	partial := mask != 0xff
	if e.count == 0 || partial != e.partial || index != e.first+e.count {
		e.end()
		e.start, e.first, e.partial = len(e.out), index, partial
		e.out = append(e.out, 0, 0)
	}
	e.count++
	if !partial {
		e.out = binary.LittleEndian.AppendUint64(e.out, now)
		return
	}
	e.out = append(e.out, mask)
	for m := mask; m != 0; m &= m - 1 {
		e.out = append(e.out, byte(now>>(8*bits.TrailingZeros8(m))))
	}
}

// end writes the header of the run under way.
func (e *diffEncoder) end() {
	if e.count == 0 {
		return
	}
	var room [2 * binary.MaxVarintLen64]byte
	length := uint64(e.count) << 1
	if e.partial {
		length |= 1
	}
	h := binary.AppendUvarint(room[:0], uint64(e.first-e.end0))
	h = binary.AppendUvarint(h, length)
	if more := len(h) - headerRoom; more > 0 {
		e.out = append(e.out, h[:more]...)
		copy(e.out[e.start+len(h):], e.out[e.start+headerRoom:])
	}
	copy(e.out[e.start:], h)
	e.end0, e.count = e.first+e.count, 0
}

var errDiff = errors.New("coherence: not a diff")

// diffRun is the run of a diff that was read last.
type diffRun struct {
	end     int // word of the page after it
	count   int
	partial bool
}

// next reads the header of the run at the front of diff, and returns what follows it.
func (r *diffRun) next(diff []byte, words int) ([]byte, error) {
	gap, n := binary.Uvarint(diff)
	if n <= 0 || gap > uint64(words-r.end) {
		return nil, fmt.Errorf("%w: a run starts %d words after word %d of %d", errDiff, gap, r.end, words)
	}
	diff = diff[n:]
	start := r.end + int(gap)
	length, n := binary.Uvarint(diff)
	if n <= 0 || length>>1 == 0 || length>>1 > uint64(words-start) {
		return nil, fmt.Errorf("%w: a run of %d words from word %d of %d", errDiff, length>>1, start, words)
	}
	r.count, r.partial = int(length>>1), length&1 != 0
	r.end = start + r.count
	return diff[n:], nil
}

// CheckDiff returns what is wrong with a diff of a page of that size. It is for diffs from outside.
func CheckDiff(diff []byte, pageSize int) (err error) {
	var r diffRun
	for len(diff) > 0 && err == nil {
		if diff, err = r.next(diff, pageSize/wordSize); err != nil {
			return err
		}
		diff, err = r.skip(diff)
	}
	return err
}

// skip returns what follows the words of r.
func (r *diffRun) skip(diff []byte) ([]byte, error) {
	if !r.partial {
		if len(diff)/wordSize < r.count {
			return nil, fmt.Errorf("%w: %d bytes where %d words are to come", errDiff, len(diff), r.count)
		}
		return diff[r.count*wordSize:], nil
	}
	for i := range r.count {
		if len(diff) == 0 || len(diff) <= bits.OnesCount8(diff[0]) {
			return nil, fmt.Errorf("%w: it ends %d words before its run", errDiff, r.count-i)
		}
		diff = diff[1+bits.OnesCount8(diff[0]):]
	}
	return diff, nil
}

// EachRun calls f for every run of words that a diff of a page of that size writes to, in part or as a whole, with
// its first byte and the one after its last.
// Preconditions: as ApplyDiff.
func EachRun(diff []byte, pageSize int, f func(start, end int)) {
	var r diffRun
	for len(diff) > 0 {
		var err error
		if diff, err = r.next(diff, pageSize/wordSize); err == nil {
			diff, err = r.skip(diff)
		}
		if err != nil {
			panic(err)
		}
		f((r.end-r.count)*wordSize, r.end*wordSize)
	}
}

// ApplyDiff writes what a diff says to page.
// Preconditions: CheckDiff has found nothing wrong with it, or it comes from TakeDiff.
//
//go:norace
func ApplyDiff(page, diff []byte) {
	var r diffRun
	for len(diff) > 0 {
		var err error
		if diff, err = r.next(diff, len(page)/wordSize); err != nil {
			panic(err)
		}
		to := page[(r.end-r.count)*wordSize : r.end*wordSize]
		if r.partial {
			diff = applyPartial(to, diff)
			continue
		}
		CopyWords(to, diff)
		diff = diff[len(to):]
	}
}

// CopyWords copies the words of from to to, as many as to has. Those that are equal are not written, so that who
// reads them meanwhile is not disturbed.
// Preconditions: the length of to is a multiple of 8, and from is not shorter.
//
//go:norace
func CopyWords(to, from []byte) {
	for i := 0; i+wordSize <= len(to); i += wordSize {
		if v := binary.LittleEndian.Uint64(from[i:]); v != binary.LittleEndian.Uint64(to[i:]) {
			binary.LittleEndian.PutUint64(to[i:], v)
		}
	}
}

//go:norace
func applyPartial(to, diff []byte) []byte {
	for ; len(to) > 0; to = to[wordSize:] {
		mask := diff[0]
		diff = diff[1:]
		for ; mask != 0; mask &= mask - 1 {
			to[bits.TrailingZeros8(mask)] = diff[0]
			diff = diff[1:]
		}
	}
	return diff
}

// Merge puts fresh bytes from the home under a page's changes: what page has in common with twin becomes
// as in fresh, and twin becomes fresh. A word that fresh doesn't change is not written, so that who reads or
// writes it meanwhile, through a view that was taken before, is not disturbed.
// Preconditions: the three have one length, a multiple of 8.
//
//go:norace
func Merge(page, twin, fresh []byte) {
	for i := 0; i+wordSize <= len(page); i += wordSize {
		f, t := binary.LittleEndian.Uint64(fresh[i:]), binary.LittleEndian.Uint64(twin[i:])
		if f == t {
			continue
		}
		binary.LittleEndian.PutUint64(twin[i:], f)
		p := binary.LittleEndian.Uint64(page[i:])
		changed := spread(byteMask(p ^ t))
		binary.LittleEndian.PutUint64(page[i:], p&changed|f&^changed)
	}
}
