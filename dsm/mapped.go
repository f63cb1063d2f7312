package dsm

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// mapping is a region in the memory of an attached program. Every load and store is served by the
// trap of its page, so what an explicit access adds is to bring many pages at a time, and to return an
// error for a page that can't be had.
type mapping struct {
	a    *attachment
	meta pagetable.Region
	b    []byte

	viewed viewed
}

// transfer implements memory.
func (m *mapping) transfer(ctx context.Context, a pagetable.Access, o op, sp span, buf []byte) error {
	page := int64(m.meta.PageSize)
	if o == opTouch || sp.off/page != (sp.off+sp.n-1)/page {
		if err := m.touch(ctx, a, sp); err != nil || o == opTouch {
			return err
		}
	}
	return m.guard(func() error {
		if o == opRead {
			copy(buf, m.b[sp.off:sp.off+sp.n])
		} else {
			copy(m.b[sp.off:sp.off+sp.n], buf)
		}
		return nil
	})
}

func (m *mapping) touch(ctx context.Context, a pagetable.Access, sp span) error {
	_, err := m.a.ask(ctx, question{
		kind: askTouch, region: m.meta.ID, span: sp, arg: uint64(a), site: uint64(programPC()),
	})
	return err
}

// word implements memory.
func (m *mapping) word(_ context.Context, off int64, o wordOp) (v uint64, ok bool, err error) {
	err = m.guard(func() error {
		v, ok = o.apply(m.b, int(off))
		return nil
	})
	return v, ok, err
}

// pin implements memory. The node pins; the program's accesses are still its own.
func (m *mapping) pin(ctx context.Context, h hold) ([]byte, error) {
	if !m.a.maps(m.meta.ID) {
		return nil, errUnmapped
	}
	if m.viewed.news(h.elem) {
		m.typed(arrayOf(h.elem, m.meta.Size))
	}
	q := question{kind: askPin, region: m.meta.ID, span: h.span, arg: uint64(h.access), site: uint64(h.site)}
	if _, err := m.a.ask(ctx, q); err != nil {
		return nil, err
	}
	return m.b[h.off : h.off+h.n : h.off+h.n], nil
}

// unpin implements memory.
func (m *mapping) unpin(h hold) {
	m.a.write(question{kind: askUnpin, region: m.meta.ID, span: h.span, arg: uint64(h.access)})
}

// home implements memory.
func (m *mapping) home(index uint64) pagetable.NodeID {
	off := int64(index * uint64(m.meta.PageSize))
	ans, err := m.a.ask(context.Background(), question{kind: askHome, region: m.meta.ID, span: span{off: off}})
	if err != nil {
		return 0
	}
	return pagetable.NodeID(ans.value)
}

// guard calls f and returns why a page of a mapped region that f touched can't be had.
func (m *mapping) guard(f func() error) error { return m.a.guard(f) }

func (a *attachment) guard(f func() error) error {
	addr, hit, err := vm.Catch(f)
	if !hit {
		return err
	}
	return a.explain(addr)
}

// explain says what is wrong with the page at an address that could not be reached.
func (a *attachment) explain(addr pagetable.Addr) error {
	a.mu.Lock()
	var m *mapping
	for _, other := range a.regions {
		if other.meta.Range().Contains(addr) {
			m = other
		}
	}
	a.mu.Unlock()
	if m == nil {
		return fmt.Errorf("address %v: %w: no region is there", addr, ErrNotMapped)
	}
	off := int64(addr - m.meta.Base)
	_, err := m.a.ask(context.Background(), question{kind: askCause, region: m.meta.ID, span: span{off: off}})
	if err == nil {
		err = fmt.Errorf("page %d of region %q can't be reached", off/int64(m.meta.PageSize), m.meta.Name)
	}
	page := pagetable.Addr(m.meta.PageSize)
	start := addr / page * page
	return errors.Join(fmt.Errorf("address %v: %w", addr, err), a.window.Heal(pagetable.Range{Start: start, End: start + page}))
}

// Guard calls f and returns its error, or, if f touches shared memory that can't be had, ends f there and
// returns an error that names address, region and page, and wraps the cause: mostly ErrNodeLost. The next
// access tries anew. Without Guard such an access ends the program, after a line on standard error that
// says why. It covers the goroutine of f only.
func (s *Space) Guard(f func() error) error {
	if a, ok := s.b.(*attachment); ok {
		return a.guard(f)
	}
	return f()
}

// Bytes returns the whole region as ordinary memory, at its address in the shared space. It is for
// attached programs, else the error is ErrNotMapped. The memory is there until Unmap or Space.Close.
func (r *Region) Bytes() ([]byte, error) {
	m, ok := r.m.(*mapping)
	if !ok {
		return nil, fmt.Errorf("bytes of region %q: %w: attach the program to a node, or use views", r.name, ErrNotMapped)
	}
	if !m.a.maps(m.meta.ID) {
		return nil, fmt.Errorf("bytes of region %q: %w", r.name, errUnmapped)
	}
	return m.b, nil
}

// errUnmapped says that a region was mapped once.
var errUnmapped = fmt.Errorf("%w any more: open it again with Space.Region", ErrNotMapped)

// Unmap takes the region out of this program's memory, for every Region of its name that the program has.
// Nobody may use its memory then: slices, pointers, views. Space.Region maps it again, at the same address.
// The error is ErrNotMapped if it is not mapped, as in an embedded node.
func (r *Region) Unmap() error {
	done, err := false, error(nil)
	if m, ok := r.m.(*mapping); ok {
		done, err = m.a.unmap(m.meta)
	}
	if !done {
		err = ErrNotMapped
	}
	if err != nil {
		return fmt.Errorf("unmap region %q: %w", r.name, err)
	}
	return nil
}

// declare says what the region is an array of.
func (m *mapping) declare(layout string) error {
	_, err := m.a.ask(context.Background(), question{kind: askDeclare, region: m.meta.ID, data: []byte(layout)})
	return err
}

// Slice returns the region as ordinary memory: a slice of as many T as fit. T must hold no Go pointers
// (ErrPointers), and all programs must agree on it: the first decides, and a slice of a type with another
// name or other fields is ErrMismatch. What Region.Bytes says holds for it.
func Slice[T any](r *Region) ([]T, error) {
	if err := checkType[T](); err != nil {
		return nil, err
	}
	b, err := r.Bytes()
	if err != nil {
		return nil, err
	}
	if vm.SizeOf[T]() == 0 {
		return nil, fmt.Errorf("slice of region %q: %v has no size", r.name, reflect.TypeFor[T]())
	}
	if err := r.m.(*mapping).declare(textOf(reflect.TypeFor[T]())); err != nil {
		return nil, fmt.Errorf("slice of region %q: %w", r.name, err)
	}
	return vm.Cast[T](b), nil
}

// At returns the T at off, which must be a multiple of T's alignment (ErrMisaligned), as ordinary memory.
// What Slice says holds for it.
func At[T any](r *Region, off int64) (*T, error) {
	if err := checkType[T](); err != nil {
		return nil, err
	}
	if err := r.check(off, int64(max(vm.SizeOf[T](), 1))); err != nil {
		return nil, err
	}
	if off%int64(vm.AlignOf[T]()) != 0 {
		return nil, fmt.Errorf("%v at %d of region %q: %w: want a multiple of %d", reflect.TypeFor[T](), off, r.name,
			ErrMisaligned, vm.AlignOf[T]())
	}
	b, err := r.Bytes()
	if err != nil {
		return nil, err
	}
	return &vm.Cast[T](b[off : off+int64(max(vm.SizeOf[T](), 1))])[0], nil
}
