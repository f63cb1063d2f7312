package dsm

import (
	"context"
	"fmt"
	"reflect"

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
	r     *Region // nil after Release
	h     hold
	bytes []byte
}

// hold is what a View keeps: a span's pages, with a right, for the caller at site.
type hold struct {
	span
	access pagetable.Access
	site   uintptr      // program counter of the call that took the view
	elem   reflect.Type // what the region is an array of; nil if the view doesn't say
}

// View pins the bytes [off, off+n) for reading (pagetable.ReadAccess) or writing
// (pagetable.WriteAccess). It waits until all of their pages are here, or ctx ends; if it fails nothing
// is pinned. Writing through a view that was taken for reading is lost or worse.
//
//go:noinline
func (r *Region) View(ctx context.Context, off, n int64, a pagetable.Access) (*View, error) {
	h := hold{span: span{off, n}, access: a, site: callerPC()}
	b, err := r.pin(ctx, h)
	if err != nil {
		return nil, err
	}
	return &View{r, h, b}, nil
}

// pin checks what h holds and pins it.
func (r *Region) pin(ctx context.Context, h hold) ([]byte, error) {
	if h.access == pagetable.NoAccess || !h.access.Valid() {
		return nil, fmt.Errorf("view with access %v: want read or write", h.access)
	}
	if err := r.check(h.off, h.n); err != nil {
		return nil, err
	}
	b, err := r.m.pin(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("%v view of %d bytes at %d of region %q: %w", h.access, h.n, h.off, r.name, err)
	}
	return b, nil
}

// Bytes returns the n bytes of the view, the memory itself. They must not be touched after Release.
func (v *View) Bytes() []byte { return v.bytes }

// Release ends the view and lets other nodes have its pages. A second Release has no effect.
func (v *View) Release() {
	if v.r == nil {
		return
	}
	v.r.m.unpin(v.h)
	v.r, v.bytes = nil, nil
}

// TypedView is a View whose bytes are elements of type T. Get one from ViewOf.
type TypedView[T any] struct {
	r *Region // nil after Release
	h hold
	s []T
}

// ViewOf pins count elements of type T of a region that is an array of them: elements index to
// index+count, at off = index*size of T. T must hold no Go pointers (ErrPointers), whose targets no other
// node could reach, and have a size. What a View says holds for it.
//
//go:noinline
func ViewOf[T any](ctx context.Context, r *Region, index, count int64, a pagetable.Access) (TypedView[T], error) {
	size := int64(vm.SizeOf[T]())
	if err := checkType[T](); err != nil {
		return TypedView[T]{}, err
	}
	if size == 0 || index < 0 || count < 0 || index > int64(r.size)/size || count > int64(r.size)/size {
		return TypedView[T]{}, fmt.Errorf("elements [%d, %d+%d) of %d bytes in region %q, which has %d bytes: %w",
			index, index, count, size, r.name, r.size, ErrRange)
	}
	h := hold{span{index * size, count * size}, a, callerPC(), reflect.TypeFor[T]()}
	b, err := r.pin(ctx, h)
	if err != nil {
		return TypedView[T]{}, err
	}
	return TypedView[T]{r, h, vm.Cast[T](b)}, nil
}

// Slice returns the elements, nil after Release. They must not be touched after Release.
func (t *TypedView[T]) Slice() []T { return t.s }

// Release ends the view. A second Release has no effect.
func (t *TypedView[T]) Release() {
	if t.r == nil {
		return
	}
	t.r.m.unpin(t.h)
	t.r, t.s = nil, nil
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
