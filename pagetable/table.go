package pagetable

import (
	"fmt"
	"iter"
	"sync/atomic"
)

const (
	// fanoutBits is the number of index bits that one level decides. With 8, five levels cover the
	// 40 bits of a page index, and a uint8 is an index that needs no bounds check.
	fanoutBits = 8
	fanout     = 1 << fanoutBits
)

// Table holds one T per page of a region, for those pages that somebody asked to Ensure. It is a
// radix tree of atomic pointers: any number of goroutines may use it at once, reads take no lock, and
// memory is allocated only on the way to pages that were ensured. What the T's hold is guarded by
// whoever uses them.
//
// Invariant: a pointer in the tree changes once, from nil to its final value.
type Table[T any] struct {
	pages uint64 // indexes are below it
	shift uint   // position of the root's index bits; 0 if the root is a leaf
	root  slot[T]
}

// slot is the way to the next level: to a node above the last level, to a leaf at the last.
type slot[T any] struct {
	node atomic.Pointer[node[T]]
	leaf atomic.Pointer[leaf[T]]
}

type node[T any] [fanout]slot[T]

type leaf[T any] [fanout]atomic.Pointer[T]

// NewTable returns an empty table for pages 0 to pages-1.
// Preconditions: pages <= MaxPageIndex+1.
func NewTable[T any](pages uint64) *Table[T] {
	if pages > MaxPageIndex+1 {
		panic(fmt.Sprintf("pagetable: NewTable: %d pages, at most %d can be named", pages, MaxPageIndex+1))
	}
	t := &Table[T]{pages: pages}
	for pages > fanout<<t.shift {
		t.shift += fanoutBits
	}
	return t
}

// Get returns the entry of page i, or nil if there is none, as for each i beyond the table.
func (t *Table[T]) Get(i uint64) *T {
	if i >= t.pages {
		return nil
	}
	s := &t.root
	for shift := t.shift; shift > 0; shift -= fanoutBits {
		n := s.node.Load()
		if n == nil {
			return nil
		}
		s = &n[uint8(i>>shift)]
	}
	l := s.leaf.Load()
	if l == nil {
		return nil
	}
	return l[uint8(i)].Load()
}

// Ensure returns the entry of page i and makes it, a zero T, if there is none. All callers get the
// same pointer. Preconditions: i is below the number of pages.
func (t *Table[T]) Ensure(i uint64) *T {
	if i >= t.pages {
		panic(fmt.Sprintf("pagetable: Table.Ensure: page %d of %d", i, t.pages))
	}
	s := &t.root
	for shift := t.shift; shift > 0; shift -= fanoutBits {
		s = &ensure(&s.node)[uint8(i>>shift)]
	}
	return ensure(&ensure(&s.leaf)[uint8(i)])
}

// ensure returns what p points to, and makes it first if p is nil. Of goroutines that race here one
// stores its value and the others drop theirs.
func ensure[V any](p *atomic.Pointer[V]) *V {
	if v := p.Load(); v != nil {
		return v
	}
	if v := new(V); p.CompareAndSwap(nil, v) {
		return v
	}
	return p.Load()
}

// All yields the entries in ascending order of their pages. Entries that are made during the loop may
// or may not be seen.
func (t *Table[T]) All() iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) { t.root.all(0, t.shift, yield) }
}

// all yields the entries below s, the first of which would be page first, and reports whether to go on.
func (s *slot[T]) all(first uint64, shift uint, yield func(uint64, *T) bool) bool {
	if shift > 0 {
		if n := s.node.Load(); n != nil {
			for i := range n {
				if !n[i].all(first+uint64(i)<<shift, shift-fanoutBits, yield) {
					return false
				}
			}
		}
		return true
	}
	if l := s.leaf.Load(); l != nil {
		for i := range l {
			if v := l[i].Load(); v != nil && !yield(first+uint64(i), v) {
				return false
			}
		}
	}
	return true
}
