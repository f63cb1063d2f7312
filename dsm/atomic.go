package dsm

import (
	"context"
	"fmt"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// The word operations act on one 8-byte word at an offset that is a multiple of 8 (else
// ErrMisaligned), in the byte order of the machine. They are atomic with respect to every other
// access in the space, and sequentially consistent among each other.
//
// In a release region Load and Store are plain accesses, and Add, Swap and CompareAndSwap return
// ErrConsistency: two nodes may have the word at once. Put words that nodes count on without a mutex into a
// sequential region.
//
// They are not inlined, so that the line which waits can be told from its caller's.

// Load returns the word at off, in bytes. Its errors, and those of the other word operations, are
// ErrMisaligned, ErrRange, and those of waiting for a page (see the package comment).
//
//go:noinline
func (r *Region) Load(ctx context.Context, off int64) (uint64, error) {
	v, _, err := r.word(ctx, off, wordOp{kind: wordLoad})
	return v, err
}

// Store sets the word at off.
//
//go:noinline
func (r *Region) Store(ctx context.Context, off int64, v uint64) error {
	_, _, err := r.word(ctx, off, wordOp{kind: wordStore, new: v})
	return err
}

// Add adds delta to the word at off and returns the sum, both modulo 2^64. To subtract x, add -x.
//
//go:noinline
func (r *Region) Add(ctx context.Context, off int64, delta uint64) (uint64, error) {
	v, _, err := r.word(ctx, off, wordOp{kind: wordAdd, new: delta})
	return v, err
}

// Swap sets the word at off and returns what it was.
//
//go:noinline
func (r *Region) Swap(ctx context.Context, off int64, v uint64) (uint64, error) {
	old, _, err := r.word(ctx, off, wordOp{kind: wordSwap, new: v})
	return old, err
}

// CompareAndSwap sets the word at off to v if it is old, and reports whether it was.
//
//go:noinline
func (r *Region) CompareAndSwap(ctx context.Context, off int64, old, v uint64) (bool, error) {
	_, ok, err := r.word(ctx, off, wordOp{kind: wordCompareAndSwap, old: old, new: v})
	return ok, err
}

func (r *Region) word(ctx context.Context, off int64, o wordOp) (v uint64, ok bool, err error) {
	if off&7 != 0 {
		return 0, false, fmt.Errorf("word at %d of region %q: %w: want a multiple of 8", off, r.name, ErrMisaligned)
	}
	if err := r.check(off, 8); err != nil {
		return 0, false, err
	}
	if o.kind > wordStore && r.consistency == pagetable.Release {
		return 0, false, fmt.Errorf("word at %d of region %q: %w", off, r.name, ErrConsistency)
	}
	if v, ok, err = r.m.word(ctx, off, o); err != nil {
		err = fmt.Errorf("word at %d of region %q: %w", off, r.name, err)
	}
	return v, ok, err
}

// wordOp is an operation on one word.
type wordOp struct {
	kind     wordKind
	old, new uint64
}

type wordKind uint8

const (
	wordLoad wordKind = iota
	wordStore
	wordAdd
	wordSwap
	wordCompareAndSwap
)

// access returns the right that the operation needs.
func (o wordOp) access() pagetable.Access {
	if o.kind == wordLoad {
		return pagetable.ReadAccess
	}
	return pagetable.WriteAccess
}

// apply performs the operation on the word at b[in].
func (o wordOp) apply(b []byte, in int) (v uint64, ok bool) {
	switch o.kind {
	case wordLoad:
		return vm.LoadUint64(b, in), true
	case wordStore:
		vm.StoreUint64(b, in, o.new)
		return o.new, true
	case wordAdd:
		return vm.AddUint64(b, in, o.new), true
	case wordSwap:
		return vm.SwapUint64(b, in, o.new), true
	case wordCompareAndSwap:
		return o.old, vm.CompareAndSwapUint64(b, in, o.old, o.new)
	}
	panic(fmt.Sprintf("dsm: word operation %d is unknown", o.kind))
}

// word performs an operation on the word at frame[in]. The caller holds pg.mu.
func (pg *page) word(o wordOp, frame []byte, in int) (v uint64, ok bool) {
	if o.kind != wordLoad {
		pg.traffic.wrote(in, 8)
	}
	return o.apply(frame, in)
}

// word implements memory.
func (r *region) word(ctx context.Context, off int64, o wordOp) (v uint64, ok bool, err error) {
	index, in := uint64(off)>>r.shift, int(off)&(1<<r.shift-1)
	if pg := r.pages.Get(index); pg != nil {
		pg.mu.Lock()
		if pg.allows(o.access()) {
			if r.release {
				pg.proto.Used()
			}
			v, ok = pg.word(o, r.frame(index), in)
			pg.mu.Unlock()
			return v, ok, nil
		}
		pg.mu.Unlock()
	}
	return r.slowWord(ctx, index, in, o)
}

// slowWord fetches the page and performs o when it comes.
func (r *region) slowWord(ctx context.Context, index uint64, in int, o wordOp) (v uint64, ok bool, err error) {
	b := r.one(ctx, index, waiter{want: o.access(), op: opFunc, off: in, size: 8, fn: func(pg *page, frame []byte) { v, ok = pg.word(o, frame, in) }})
	err = b.wait(ctx)
	return v, ok, err
}

// one starts a batch of a single fault.
func (r *region) one(ctx context.Context, index uint64, wt waiter) *batch {
	b, w := r.newBatch(1), r.s.getWork()
	wt.site = r.s.sites.of(ctx)
	b.add(w, index, wt)
	r.s.putWork(w)
	b.group.finish(nil)
	return b
}
