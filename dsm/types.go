package dsm

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"pagemesh/dsm/layout"
	"pagemesh/pagetable"
)

// maxTyped bounds the parts of a region whose type a node knows. What is beyond has no names.
const maxTyped = 1 << 16

// types are what programs of this node have said about what lies in a region, for whoever looks at its pages.
type types struct {
	mu   sync.Mutex     // guards what follows
	list []layout.Range // ascending; no two overlap
	// array is what the region was said to be an array of. disputed: by now it was said to be another, too.
	array    string
	disputed bool
}

// set says what lies in t, instead of what was said before. Without a Type nobody knows. Arrays of different types
// contradict each other.
func (ts *types) set(t layout.Range) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if !t.Heap {
		ts.disputed = ts.disputed || ts.array != "" && ts.array != t.Type
		ts.array = t.Type
	}
	if ts.disputed {
		ts.list = nil
		return
	}
	from, to := ts.overlap(t.Start, t.End)
	var now []layout.Range
	if t.Type != "" && len(ts.list)-(to-from) < maxTyped {
		now = []layout.Range{t}
	}
	ts.list = slices.Replace(ts.list, from, to, now...)
}

// within returns what is known of the bytes [start, end).
func (ts *types) within(start, end uint64) []layout.Range {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	from, to := ts.overlap(start, end)
	return append([]layout.Range{}, ts.list[from:to]...)
}

// overlap returns which entries of the list have bytes of [start, end).
func (ts *types) overlap(start, end uint64) (from, to int) {
	from, _ = slices.BinarySearchFunc(ts.list, start, func(t layout.Range, start uint64) int {
		if t.End <= start {
			return -1
		}
		return 1
	})
	for to = from; to < len(ts.list) && ts.list[to].Start < end; to++ {
	}
	return from, to
}

// viewed are the types of a region's typed views, as far as they are news: the first one, and one that contradicts it.
type viewed struct {
	mu       sync.Mutex // guards what follows
	elem     reflect.Type
	disputed bool
}

// news reports whether nobody has been told yet that the region is an array of t.
func (v *viewed) news(t reflect.Type) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t == nil || v.disputed || v.elem == t {
		return false
	}
	v.elem, v.disputed = t, v.elem != nil
	return true
}

// arrayOf returns what is to be said of a region of that size that is an array of t.
func arrayOf(t reflect.Type, size uint64) layout.Range {
	return layout.Range{End: size, Stride: uint64(t.Size()), Type: textOf(t)}
}

func textOf(t reflect.Type) string { return layout.Of(t).Text(pagetable.MaxLayoutLen) }

// Declare says that the region is an array of T, so that what looks at its pages can name their bytes: a report says
// []Worker[17].hits where it would say bytes [408,416). Slice and ViewOf declare by themselves, and heaps know what
// they allocate. Declarations of different types cancel each other out. T must hold no Go pointers (ErrPointers).
func Declare[T any](r *Region) error {
	if err := checkType[T](); err != nil {
		return err
	}
	if t := reflect.TypeFor[T](); t.Size() > 0 {
		r.m.typed(arrayOf(t, r.size))
	}
	return nil
}

// typed implements memory.
func (r *region) typed(t layout.Range) { r.types.set(t) }

// typed implements memory. A node that has ended needs no names.
func (m *mapping) typed(t layout.Range) {
	arg := t.Stride << 1
	if t.Heap {
		arg |= 1
	}
	_, _ = m.a.ask(context.Background(), question{
		kind: askTyped, region: m.meta.ID, span: span{int64(t.Start), int64(t.End - t.Start)}, arg: arg, data: []byte(t.Type),
	})
}

// typed takes up what a program says about a part of a region.
func (p *program) typed(q question) error {
	r := p.s.cur.Load().regions[q.region]
	if r == nil {
		return fmt.Errorf("region %d: %w", q.region, ErrNotExist)
	}
	if size := int64(r.meta.Load().Size); q.n <= 0 || q.off > size || q.n > size-q.off || len(q.data) > pagetable.MaxLayoutLen {
		return fmt.Errorf("bytes [%d, +%d) of region %q with a type of %d bytes: %w", q.off, q.n, r.name(), len(q.data), ErrRange)
	}
	r.types.set(layout.Range{
		Start: uint64(q.off), End: uint64(q.off + q.n), Stride: q.arg >> 1, Type: string(q.data), Heap: q.arg&1 != 0,
	})
	return nil
}

// declared returns what all programs have agreed on that a region is, if they have.
func declared(meta pagetable.Region) (layout.Range, bool) {
	t, err := layout.Parse(meta.Layout)
	if err != nil {
		return layout.Range{}, false
	}
	return layout.Range{End: meta.Size, Stride: uint64(t.Size), Type: meta.Layout}, true
}
