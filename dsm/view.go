package dsm

import (
	"context"
	"fmt"
	"reflect"
	"runtime"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// View is a window into a region whose pages stay on this node, with the right that was asked for,
// until Release. Other nodes that want them wait, so hold a view for a moment only; one that delays
// others for longer than Config.ViewWarning is named in a warning. A view gives no mutual exclusion:
// goroutines of this node may use the same pages. To hold two views that other nodes may also want
// both, take them in ascending order of address.
//
// A View is for one goroutine at a time. Its errors are those of the package comment.
type View struct {
	r      *Region
	off, n int64
	access pagetable.Access
	site   uintptr
}

// View pins the bytes [off, off+n) for reading (pagetable.ReadAccess) or writing
// (pagetable.WriteAccess). It waits until all of their pages are here, or ctx ends; if it fails nothing
// is pinned. Writing through a view that was taken for reading is lost or worse.
func (r *Region) View(ctx context.Context, off, n int64, a pagetable.Access) (*View, error) {
	v := &View{r: r, off: off, n: n, access: a, site: callSite()}
	if err := v.take(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// Bytes returns the n bytes of the view, the memory itself. They must not be touched after Release.
func (v *View) Bytes() []byte { return v.r.mem.Bytes(uint64(v.off), int(v.n)) }

// TypedView is a View whose bytes are elements of type T. Get one from ViewOf.
type TypedView[T any] struct {
	v View
	s []T
}

// ViewOf pins count elements of type T of a region that is an array of them: elements index to
// index+count, at off = index*size of T. T must hold no Go pointers (ErrPointers), whose targets no other
// node could reach, and have a size. What a View says holds for it.
func ViewOf[T any](ctx context.Context, r *Region, index, count int64, a pagetable.Access) (TypedView[T], error) {
	size := int64(vm.SizeOf[T]())
	if err := checkType[T](); err != nil {
		return TypedView[T]{}, err
	}
	if size == 0 || index < 0 || count < 0 || index > int64(r.Size())/size || count > int64(r.Size())/size {
		return TypedView[T]{}, fmt.Errorf("elements [%d, %d+%d) of %d bytes in region %q, which has %d bytes: %w",
			index, index, count, size, r.Name(), r.Size(), ErrRange)
	}
	t := TypedView[T]{v: View{r: r, off: index * size, n: count * size, access: a, site: callSite()}}
	if err := t.v.take(ctx); err != nil {
		return TypedView[T]{}, err
	}
	t.s = vm.Cast[T](t.v.Bytes())
	return t, nil
}

// Slice returns the elements, nil after Release. They must not be touched after Release.
func (t *TypedView[T]) Slice() []T { return t.s }

// Release ends the view. A second Release has no effect.
func (t *TypedView[T]) Release() {
	t.s = nil
	t.v.Release()
}

// checkType refuses types that hold Go pointers. Plain numbers, the common case, need no reflection.
func checkType[T any]() error {
	var zero T
	switch any(zero).(type) {
	case byte, int8, uint16, int16, uint32, int32, uint64, int64, int, uint, float32, float64:
		return nil
	}
	if err := vm.CheckType(reflect.TypeFor[T]()); err != nil {
		return fmt.Errorf("%w: %w; shared memory holds plain data only", ErrPointers, err)
	}
	return nil
}

// callSite returns the program counter of the caller's caller.
func callSite() uintptr {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	return pc[0]
}

// take pins the pages in ascending order. All are asked for first, without pins, so that their
// transfers overlap; pinning in one order at all nodes keeps two wide views from waiting for each
// other in a circle.
func (v *View) take(ctx context.Context) error {
	if err := v.check(); err != nil {
		return err
	}
	first, end := v.pages()
	if end-first > 1 {
		if err := v.r.transfer(ctx, v.access, opTouch, span{v.off, v.n}, nil); err != nil {
			return v.failed(err)
		}
	}
	for i := first; i < end; i++ {
		if err := v.pin(ctx, i); err != nil {
			v.release(first, i)
			return v.failed(err)
		}
	}
	return nil
}

func (v *View) check() error {
	if v.access == pagetable.NoAccess || !v.access.Valid() {
		return fmt.Errorf("view with access %v: want read or write", v.access)
	}
	return v.r.check(v.off, v.n)
}

func (v *View) failed(err error) error {
	return fmt.Errorf("%v view of %d bytes at %d of region %q: %w", v.access, v.n, v.off, v.r.Name(), err)
}

// pages returns the half-open range of the view's page indexes.
func (v *View) pages() (first, end uint64) {
	if v.n == 0 {
		return 0, 0
	}
	return uint64(v.off) >> v.r.shift, uint64(v.off+v.n-1)>>v.r.shift + 1
}

func (v *View) pin(ctx context.Context, index uint64) error {
	if pg := v.r.pages.Get(index); pg != nil {
		pg.mu.Lock()
		if pg.allows(v.access) {
			pg.pin(v.access, v.site)
			pg.mu.Unlock()
			return nil
		}
		pg.mu.Unlock()
	}
	return v.r.one(index, waiter{want: v.access, op: opPin, site: v.site}).wait(ctx)
}

// Release ends the view and lets other nodes have its pages. A second Release has no effect.
func (v *View) Release() {
	if v.r == nil {
		return
	}
	first, end := v.pages()
	v.release(first, end)
	v.r = nil
}

func (v *View) release(first, end uint64) {
	for i := first; i < end; i++ {
		v.unpin(v.r.pages.Get(i))
	}
}

func (v *View) unpin(pg *page) {
	pg.mu.Lock()
	pg.forgetPin(v.access, v.site)
	if pg.closed || !pg.proto.Delayed() {
		var rd coherence.Ready
		pg.proto.Unpin(v.access, &rd)
		pg.mu.Unlock()
		return
	}
	w := v.r.s.getWork()
	w.unpin(v.r, pg, v.access)
	pg.mu.Unlock()
	v.r.s.putWork(w)
}
