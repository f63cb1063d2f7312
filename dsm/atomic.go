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

// Load returns the word at off, in bytes. Its errors, and those of the other word operations, are
// ErrMisaligned, ErrRange, and those of waiting for a page (see the package comment).
func (r *Region) Load(ctx context.Context, off int64) (uint64, error) {
	pg, frame, in, err := r.word(off, pagetable.ReadAccess)
	if err != nil {
		return 0, err
	}
	if pg != nil {
		v := vm.LoadUint64(frame, in)
		pg.mu.Unlock()
		return v, nil
	}
	var v uint64
	err = r.slowWord(ctx, off, pagetable.ReadAccess, func(f []byte) { v = vm.LoadUint64(f, in) })
	return v, err
}

// Store sets the word at off.
func (r *Region) Store(ctx context.Context, off int64, v uint64) error {
	pg, frame, in, err := r.word(off, pagetable.WriteAccess)
	if err != nil {
		return err
	}
	if pg != nil {
		vm.StoreUint64(frame, in, v)
		pg.mu.Unlock()
		return nil
	}
	return r.slowWord(ctx, off, pagetable.WriteAccess, func(f []byte) { vm.StoreUint64(f, in, v) })
}

// Add adds delta to the word at off and returns the sum, both modulo 2^64. To subtract x, add -x.
func (r *Region) Add(ctx context.Context, off int64, delta uint64) (uint64, error) {
	pg, frame, in, err := r.word(off, pagetable.WriteAccess)
	if err != nil {
		return 0, err
	}
	if pg != nil {
		v := vm.AddUint64(frame, in, delta)
		pg.mu.Unlock()
		return v, nil
	}
	var v uint64
	err = r.slowWord(ctx, off, pagetable.WriteAccess, func(f []byte) { v = vm.AddUint64(f, in, delta) })
	return v, err
}

// Swap sets the word at off and returns what it was.
func (r *Region) Swap(ctx context.Context, off int64, v uint64) (uint64, error) {
	pg, frame, in, err := r.word(off, pagetable.WriteAccess)
	if err != nil {
		return 0, err
	}
	if pg != nil {
		old := vm.SwapUint64(frame, in, v)
		pg.mu.Unlock()
		return old, nil
	}
	var old uint64
	err = r.slowWord(ctx, off, pagetable.WriteAccess, func(f []byte) { old = vm.SwapUint64(f, in, v) })
	return old, err
}

// CompareAndSwap sets the word at off to v if it is old, and reports whether it was.
func (r *Region) CompareAndSwap(ctx context.Context, off int64, old, v uint64) (bool, error) {
	pg, frame, in, err := r.word(off, pagetable.WriteAccess)
	if err != nil {
		return false, err
	}
	if pg != nil {
		ok := vm.CompareAndSwapUint64(frame, in, old, v)
		pg.mu.Unlock()
		return ok, nil
	}
	var ok bool
	err = r.slowWord(ctx, off, pagetable.WriteAccess, func(f []byte) { ok = vm.CompareAndSwapUint64(f, in, old, v) })
	return ok, err
}

// word returns the page of the word at off, locked, with its frame and the word's place in it, if the
// page is here. It returns no page if it has to be fetched.
func (r *Region) word(off int64, a pagetable.Access) (pg *page, frame []byte, in int, err error) {
	if off&7 != 0 {
		return nil, nil, 0, fmt.Errorf("word at %d of region %q: %w: want a multiple of 8", off, r.Name(), ErrMisaligned)
	}
	if err := r.check(off, 8); err != nil {
		return nil, nil, 0, err
	}
	index := uint64(off) >> r.shift
	in = int(off) & (1<<r.shift - 1)
	pg = r.pages.Get(index)
	if pg == nil {
		return nil, nil, in, nil
	}
	pg.mu.Lock()
	if !pg.allows(a) {
		pg.mu.Unlock()
		return nil, nil, in, nil
	}
	return pg, r.frame(index), in, nil
}

// slowWord fetches the page and performs fn when it comes.
func (r *Region) slowWord(ctx context.Context, off int64, a pagetable.Access, fn func(frame []byte)) error {
	b := r.one(uint64(off)>>r.shift, waiter{want: a, op: opFunc, fn: fn})
	if err := b.wait(ctx); err != nil {
		return fmt.Errorf("word at %d of region %q: %w", off, r.Name(), err)
	}
	return nil
}

// one starts a batch of a single fault.
func (r *Region) one(index uint64, wt waiter) *batch {
	b, w := r.newBatch(1), r.s.getWork()
	b.add(w, index, wt)
	r.s.putWork(w)
	b.group.finish(nil)
	return b
}
