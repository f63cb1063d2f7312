package shared

import (
	"math/bits"

	"pagemesh/pagetable/vm"
)

// bucketWord is the first word of a bucket and all that decides what is in it: which slots are in use, the
// bucket's level, and a count of the changes, by which readers see that there was one.
//
//	bits 0 to 31   slot i is in use
//	bits 32 to 39  level: the bucket holds the keys whose hashes end with that many bits of its number
//	bits 40 to 63  changes, modulo 2^24
//
// A slot is written while it is not in use, and then this word in one go. So a change is there as a whole or
// not at all, for whoever reads without a lock and for whoever comes after a program that has died.
type bucketWord uint64

func (w bucketWord) used() uint32 { return uint32(w) }
func (w bucketWord) level() uint  { return uint(w >> 32 & 0xff) }

// next returns the word after a change.
func (w bucketWord) next(used uint32, level uint) bucketWord {
	return bucketWord(used) | bucketWord(level)<<32 | (w>>40+1)<<40
}

// A bucket is its word, the word that it gets when it is born (see split), and slots.
const (
	bucketNext  = 8  // offset in bytes
	bucketSlots = 16 // offset in bytes
	maxSlots    = 32 // that a word has bits for
)

// slot is an entry of a map.
type slot[K comparable, V any] struct {
	Key   K
	Value V
}

// bucket is a copy of a bucket.
type bucket[K comparable, V any] struct {
	number uint64 // in its stripe
	off    int64  // in the region, in bytes
	word   bucketWord
	bytes  []byte
	slots  []slot[K, V] // of bytes
}

func newBucket[K comparable, V any](g geometry) bucket[K, V] {
	b := buffer(g.bucket)
	return bucket[K, V]{bytes: b, slots: vm.Cast[slot[K, V]](b[bucketSlots:])[:g.slots]}
}

// born reports whether the bucket has come to be: the first one of a stripe always has.
func (b *bucket[K, V]) born() bool { return b.number == 0 || b.word.level() > 0 }

// covers reports whether keys of that hash are in this bucket, if they are anywhere.
func (b *bucket[K, V]) covers(hash uint64) bool { return tail(hash, b.word.level()) == b.number }

// find returns the slot of a key, or -1.
func (b *bucket[K, V]) find(key K) int {
	for used := b.word.used(); used != 0; used &= used - 1 {
		if i := bits.TrailingZeros32(used); b.slots[i].Key == key {
			return i
		}
	}
	return -1
}

// full reports whether there is no room for another key: one slot stays free for changes.
func (b *bucket[K, V]) full() bool { return bits.OnesCount32(b.word.used()) >= len(b.slots)-1 }

// slotSpan returns where slot i lies in the bucket, in bytes.
func (b *bucket[K, V]) slotSpan(i int) (from, to int) {
	size := vm.SizeOf[slot[K, V]]()
	return bucketSlots + i*size, bucketSlots + (i+1)*size
}

// tail returns the last n bits of a hash.
func tail(hash uint64, n uint) uint64 { return hash & (1<<n - 1) }
