package shared

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// The buckets of a stripe are those of extendible hashing (Fagin, Nievergelt, Pippenger, Strong: Extendible
// Hashing, TODS 4(3), 1979) without its directory: the bucket of number n and level l holds the keys whose
// hashes end with the l bits of n, and lies at place n of the stripe, whose memory costs nothing before it is
// used. A bucket that is full is split: half of its keys go to the bucket whose number has one bit more.
//
//	level 0        level 1          level 2
//	bucket 0 ──┬── bucket 0  ──┬──  bucket 00
//	           │               └──  bucket 10
//	           └── bucket 1  ─────  bucket 1, not split yet
//
// Where a key is follows from the words of the buckets alone. A reader guesses a level, mostly the right one,
// and the word of the bucket that it finds there sends it on if there was a split.

// errChanging is what a reader without a lock gets that came in the middle of a change.
var errChanging = errors.New("bucket is changing")

// locate reads the bucket that a key belongs to.
func (m *Map[K, V]) locate(ctx context.Context, x *scratch[K, V]) error {
	depth := &m.stripes[x.stripe].depth
	level, known := uint(depth.Load()), uint(0) // buckets of levels up to known were born
	for {
		if err := m.read(ctx, &x.b, x.stripe, tail(x.hashed, level)); err != nil {
			return err
		}
		switch {
		case !x.b.born() && level <= known:
			return errChanging
		case !x.b.born(): // it would come from the bucket without its first bit
			level = uint(bits.Len64(x.b.number)) - 1
		case x.b.covers(x.hashed):
			if now := uint32(x.b.word.level()); now != depth.Load() {
				depth.Store(now)
			}
			return nil
		default: // on to the first bucket that it was split into and that has the hash's bits
			level += uint(bits.TrailingZeros64(x.hashed>>level)) + 1
			known = level
		}
	}
}

// read reads a bucket as it is at one moment, or returns errChanging.
func (m *Map[K, V]) read(ctx context.Context, b *bucket[K, V], stripe int, number uint64) error {
	b.number, b.off = number, m.offset(stripe, number)
	before, err := m.r.Load(ctx, b.off)
	if err != nil {
		return err
	}
	if b.word = bucketWord(before); b.word.used() == 0 {
		return nil
	}
	if _, err := m.r.ReadAt(b.bytes, b.off); err != nil {
		return err
	}
	order()
	after, err := m.r.Load(ctx, b.off)
	if err == nil && after != before {
		err = errChanging
	}
	return err
}

// order keeps the loads before it before those after it, on machines that would not.
func order() {
	var v atomic.Uint32
	v.Add(1)
}

// settle does what locate does for whoever has locked the stripe. A bucket that is still to be born then is
// left from a program that died during a split.
func (m *Map[K, V]) settle(ctx context.Context, x *scratch[K, V]) error {
	for {
		err := m.locate(ctx, x)
		if !errors.Is(err, errChanging) {
			return err
		}
		if err := m.bear(ctx, &x.b); err != nil {
			return err
		}
	}
}

// bear completes the split that a bucket comes from.
func (m *Map[K, V]) bear(ctx context.Context, b *bucket[K, V]) error {
	word, err := m.r.Load(ctx, b.off+bucketNext)
	if err != nil {
		return err
	}
	if word == 0 {
		return fmt.Errorf("entries in bucket %d: %w", b.number, dsm.ErrNodeLost)
	}
	return m.r.Store(ctx, b.off, word)
}

// set writes an entry to a free slot and makes it the one that counts, instead of slot i if that is not
// negative.
func (m *Map[K, V]) set(ctx context.Context, x *scratch[K, V], i int, e slot[K, V]) error {
	for i < 0 && x.b.full() {
		if err := m.split(ctx, x); err != nil {
			return err
		}
		if err := m.settle(ctx, x); err != nil {
			return err
		}
	}
	used := x.b.word.used()
	free := bits.TrailingZeros32(^used)
	x.b.slots[free] = e
	from, to := x.b.slotSpan(free)
	if _, err := m.r.WriteAt(x.b.bytes[from:to], x.b.off+int64(from)); err != nil {
		return err
	}
	if i >= 0 {
		used &^= 1 << i
	}
	return m.commit(ctx, &x.b, used|1<<free, x.b.word.level())
}

// commit writes the word of a bucket.
func (m *Map[K, V]) commit(ctx context.Context, b *bucket[K, V], used uint32, level uint) error {
	b.word = b.word.next(used, level)
	return m.r.Store(ctx, b.off, uint64(b.word))
}

// split moves the keys that have the next bit of their hashes set to a bucket of their own. Its steps are in
// an order in which each key can be found at any time, if need be by whoever comes after a program that died
// in between:
//
//  1. the sibling gets its entries, and the word that it will have beside its own;
//  2. the bucket gets its new word, with the new level and without what has moved;
//  3. the sibling gets its word.
func (m *Map[K, V]) split(ctx context.Context, x *scratch[K, V]) error {
	b, s := &x.b, &x.sibling
	level := b.word.level()
	if level == m.levels {
		return ErrFull
	}
	if err := m.read(ctx, s, x.stripe, b.number|1<<level); err != nil {
		return err
	}
	moved, n := uint32(0), 0
	for used := b.word.used(); used != 0; used &= used - 1 {
		i := bits.TrailingZeros32(used)
		if x.hash(b.slots[i].Key)>>level&1 == 1 {
			s.slots[n] = b.slots[i]
			moved, n = moved|1<<i, n+1
		}
	}
	if _, end := s.slotSpan(n - 1); n > 0 {
		if _, err := m.r.WriteAt(s.bytes[bucketSlots:end], s.off+bucketSlots); err != nil {
			return err
		}
	}
	word := s.word.next(1<<n-1, level+1)
	if err := m.r.Store(ctx, s.off+bucketNext, uint64(word)); err != nil {
		return err
	}
	if err := m.commit(ctx, b, b.word.used()&^moved, level+1); err != nil {
		return err
	}
	return m.r.Store(ctx, s.off, uint64(word))
}

// eachBucket calls f with every bucket of a stripe, while nobody else changes it.
func (m *Map[K, V]) eachBucket(ctx context.Context, stripe int, f func(b *bucket[K, V])) error {
	return m.locked(ctx, stripe, func() error { return m.walkAll(ctx, stripe, f) })
}

// repair takes back what a split has left in a release region whose node was lost: of the pages that it has changed
// some may have got home and others not. A sibling without its bucket's new level is none.
func (m *Map[K, V]) repair(ctx context.Context, stripe int) error {
	if m.r.Consistency() != pagetable.Release {
		return nil
	}
	var ahead []int64 // offsets of the siblings that buckets will have
	err := m.walkAll(ctx, stripe, func(b *bucket[K, V]) {
		if level := b.word.level(); level < m.levels {
			ahead = append(ahead, m.offset(stripe, b.number|1<<level))
		}
	})
	for _, off := range ahead {
		if err == nil {
			err = m.r.Store(ctx, off, 0)
		}
	}
	return err
}

// walkAll calls f with every bucket of a stripe that is locked.
func (m *Map[K, V]) walkAll(ctx context.Context, stripe int, f func(b *bucket[K, V])) error {
	x := m.scratch.Get().(*scratch[K, V])
	defer m.scratch.Put(x)
	x.stripe = stripe
	return m.walk(ctx, x, 0, 0, f)
}

// walk calls f with the bucket that was born with that number and level, and with all that come from it.
func (m *Map[K, V]) walk(ctx context.Context, x *scratch[K, V], number uint64, level uint, f func(b *bucket[K, V])) error {
	x.hashed = number
	if err := m.read(ctx, &x.b, x.stripe, number); err != nil {
		return err
	}
	if !x.b.born() {
		if err := m.bear(ctx, &x.b); err != nil {
			return err
		}
		return m.walk(ctx, x, number, level, f)
	}
	f(&x.b)
	for now := x.b.word.level(); level < now; level++ {
		if err := m.walk(ctx, x, number|1<<level, level+1, f); err != nil {
			return err
		}
	}
	return nil
}
