package dsm

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"sync"

	"pagemesh/dsm/layout"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// ErrHeapFull says that a heap's region has no room for an object of that size.
var ErrHeapFull = errors.New("heap is full")

// A heap cuts its region into chunks. Chunk 0 holds the heap's own words; a chunk of small objects holds
// objects of one class and type, all handed out by the Heap value that took the chunk; a large object has a
// run of chunks for itself. Every chunk or run begins with a head:
//
//	word 0   class of the objects: their size in bytes; of a run, its number of chunks with runMark
//	word 1   freed objects that their Heap has not taken back yet, linked through their first words
//
// What a Heap hands out and takes back itself it remembers in its own process, so that allocation costs
// no message. Whoever else frees an object pushes it onto word 1; the Heap takes the whole list at
// once, so no object is ever popped by two (as mimalloc does it: Leijen, Zorn, de Moura, APLAS 2019,
// section 2.4).
const (
	minChunk  = 64 << 10
	chunkHead = 64 // bytes
	runMark   = 1 << 63

	nextChunkAt = 0 // word in chunk 0: how many chunks were taken so far, without chunk 0
	freeRunsAt  = 8 // word in chunk 0: offset of the first free run, guarded by the heap's mutex
	classAt     = 0 // word of a chunk's head
	freedAt     = 8 // word of a chunk's head; in a free run, the offset of the next
)

// Heap allocates objects in a region. All nodes may allocate and free in it at once, each through a Heap
// of its own. Objects that different Heaps allocate never share a page, so that they are never falsely
// shared. The memory of a Heap's program that ends stays allocated.
type Heap struct {
	r     *Region
	large *Mutex
	chunk uint64 // bytes

	mu    sync.Mutex // guards what follows
	lists map[objects]*classList
	// owners are the lists by the offsets of their chunks.
	owners map[uint64]*classList
}

// objects are what a chunk is for: one class, and one type, so that reports can name what lies in a page.
type objects struct {
	class uint64
	elem  reflect.Type
}

// classList is what a Heap has of one class and type.
type classList struct {
	objects
	free   []uint64 // offsets of objects
	chunks []uint64 // offsets of its chunks
	look   int      // the chunk whose freed objects to take back next
	mixed  bool     // objects of other types were taken from it
}

// NewHeap opens the heap in r, which must be used for nothing else. A region that was just created is an
// empty heap. It has room for objects if it has at least two chunks: of 64 KiB, or of a page if that is
// larger. The region must be sequential (ErrConsistency): nodes take memory from it by single words.
func NewHeap(s *Space, r *Region) (*Heap, error) {
	if r.consistency == pagetable.Release {
		return nil, fmt.Errorf("heap in region %q: %w: make it a sequential one", r.name, ErrConsistency)
	}
	h := &Heap{
		r: r, large: s.Mutex("heap/" + r.name), chunk: max(minChunk, uint64(r.PageSize())),
		lists: map[objects]*classList{}, owners: map[uint64]*classList{},
	}
	if r.size < 2*h.chunk {
		return nil, fmt.Errorf("heap in region %q of %d bytes: give it at least %d", r.name, r.size, 2*h.chunk)
	}
	return h, nil
}

// Ptr points to a T in shared memory. It is a number that means the same at all nodes, so it may be
// stored in shared memory itself. The zero Ptr points to nothing.
type Ptr[T any] struct{ addr pagetable.Addr }

// Get returns the T as ordinary memory, nil for the zero Ptr. The program must be attached and have
// mapped the region (see Region.Bytes): an address that is not mapped ends the program when it is used.
func (p Ptr[T]) Get() *T { return vm.At[T](p.addr) }

// IsNil reports whether p points to nothing.
func (p Ptr[T]) IsNil() bool { return p.addr == 0 }

// Offset returns where the T lies in r, in bytes. Preconditions: p points into r.
func (p Ptr[T]) Offset(r *Region) int64 { return int64(p.addr - r.base) }

// Array points to consecutive elements in shared memory, as Ptr does to one.
type Array[T any] struct {
	first Ptr[T]
	n     uint64
}

// Get returns the elements as ordinary memory, nil for the zero Array. What Ptr.Get says holds for it.
func (a Array[T]) Get() []T {
	if a.n == 0 {
		return nil
	}
	return vm.SliceAt[T](a.first.addr, int(a.n))
}

// Len returns the number of elements.
func (a Array[T]) Len() int { return int(a.n) }

// Index returns a pointer to element i.
func (a Array[T]) Index(i int) Ptr[T] {
	if uint64(i) >= a.n {
		panic(fmt.Sprintf("dsm: Array.Index: %d of %d", i, a.n))
	}
	return Ptr[T]{a.first.addr + pagetable.Addr(i*vm.SizeOf[T]())}
}

// New allocates a zero T. T must hold no Go pointers (ErrPointers) but may hold Ptrs. The error is
// ErrHeapFull if there is no room, or one of waiting for a page.
func New[T any](ctx context.Context, h *Heap) (Ptr[T], error) {
	a, err := MakeSlice[T](ctx, h, 1)
	return a.first, err
}

// MakeSlice allocates n zero elements, n > 0. What New says holds for it.
func MakeSlice[T any](ctx context.Context, h *Heap, n int) (Array[T], error) {
	if err := checkType[T](); err != nil {
		return Array[T]{}, err
	}
	size := uint64(vm.SizeOf[T]())
	if over, total := bits.Mul64(size, uint64(n)); n <= 0 || size == 0 || over != 0 || total > h.r.size {
		return Array[T]{}, fmt.Errorf("allocate %d %v of %d bytes in heap %q of %d bytes: %w", n, reflect.TypeFor[T](), size,
			h.r.name, h.r.size, ErrHeapFull)
	}
	off, err := h.allocate(ctx, size*uint64(n), reflect.TypeFor[T]())
	if err != nil {
		return Array[T]{}, fmt.Errorf("allocate %d bytes in heap %q: %w", size*uint64(n), h.r.name, err)
	}
	return Array[T]{Ptr[T]{h.r.base + pagetable.Addr(off)}, uint64(n)}, nil
}

// Free gives the object back, allocated by whichever Heap of the region. Nobody may use it any more.
func Free[T any](ctx context.Context, h *Heap, p Ptr[T]) error {
	if p.IsNil() {
		return nil
	}
	if err := h.free(ctx, uint64(p.Offset(h.r))); err != nil {
		return fmt.Errorf("free %v in heap %q: %w", p.addr, h.r.name, err)
	}
	return nil
}

// FreeSlice gives all elements back, as Free does one.
func FreeSlice[T any](ctx context.Context, h *Heap, a Array[T]) error { return Free(ctx, h, a.first) }

// classOf returns the size that an object of n bytes gets: a multiple of 16 with four classes between
// two powers of two, so that at most a quarter is lost.
func classOf(n uint64) uint64 {
	if n <= 64 {
		return (n + 15) &^ 15
	}
	step := uint64(1) << (bits.Len64(n-1) - 3)
	return (n + step - 1) &^ (step - 1)
}

// allocate returns n zero bytes for values of type elem.
func (h *Heap) allocate(ctx context.Context, n uint64, elem reflect.Type) (uint64, error) {
	class := classOf(n)
	if class > (h.chunk-chunkHead)/4 {
		off, err := h.allocateRun(ctx, n)
		if err == nil {
			h.r.m.typed(layout.Range{Start: off, End: off + n, Stride: n, Type: textOf(elem), Heap: true})
		}
		return off, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.stocked(ctx, objects{class, elem})
	if err != nil {
		return 0, err
	}
	off := l.free[len(l.free)-1]
	if err := h.zero(off, n); err != nil {
		return 0, err
	}
	l.free = l.free[:len(l.free)-1]
	return off, nil
}

// stocked returns a list with a free object.
func (h *Heap) stocked(ctx context.Context, o objects) (*classList, error) {
	l := h.lists[o]
	if l == nil {
		l = &classList{objects: o}
		h.lists[o] = l
	}
	if len(l.free) == 0 {
		if err := h.takeBack(ctx, l); err != nil {
			return nil, err
		}
	}
	if len(l.free) > 0 {
		return l, nil
	}
	err := h.addChunk(ctx, l)
	if errors.Is(err, ErrHeapFull) {
		if other := h.mix(ctx, o.class); other != nil {
			return other, nil
		}
	}
	return l, err
}

// mix returns a list of the class and any type with a free object, or nil. It has no type from now on.
func (h *Heap) mix(ctx context.Context, class uint64) *classList {
	for _, l := range h.lists {
		if l.class != class || len(l.free) == 0 && h.takeBack(ctx, l) != nil || len(l.free) == 0 {
			continue
		}
		if !l.mixed {
			l.mixed = true
			for _, off := range l.chunks {
				h.r.m.typed(layout.Range{Start: off, End: off + h.chunk, Heap: true})
			}
		}
		return l
	}
	return nil
}

// takeBack looks once at each chunk, until it has found one with objects that others have freed.
func (h *Heap) takeBack(ctx context.Context, l *classList) error {
	for range l.chunks {
		l.look = (l.look + 1) % len(l.chunks)
		at := int64(l.chunks[l.look] + freedAt)
		if head, err := h.r.Load(ctx, at); err != nil || head == 0 {
			if err != nil {
				return err
			}
			continue
		}
		off, err := h.r.Swap(ctx, at, 0)
		for ; off != 0 && err == nil; off, err = h.r.Load(ctx, int64(off)) {
			l.free = append(l.free, off)
		}
		return err
	}
	return nil
}

// addChunk takes a new chunk and cuts it into objects, the first of which is used first.
func (h *Heap) addChunk(ctx context.Context, l *classList) error {
	off, err := h.takeChunks(ctx, 1)
	if err != nil {
		return err
	}
	if err := h.r.Store(ctx, int64(off+classAt), l.class); err != nil {
		return err
	}
	l.chunks = append(l.chunks, off)
	h.owners[off] = l
	start, end := off+chunkHead, off+chunkHead+(h.chunk-chunkHead)/l.class*l.class
	for at := end; at > start; {
		at -= l.class
		l.free = append(l.free, at)
	}
	if !l.mixed {
		h.r.m.typed(layout.Range{Start: start, End: end, Stride: l.class, Type: textOf(l.elem), Heap: true})
	}
	return nil
}

// takeChunks takes n chunks in a row that nobody ever had.
func (h *Heap) takeChunks(ctx context.Context, n uint64) (uint64, error) {
	for {
		taken, err := h.r.Load(ctx, nextChunkAt)
		if err != nil {
			return 0, err
		}
		if (taken+1+n)*h.chunk > h.r.size {
			return 0, ErrHeapFull
		}
		if ok, err := h.r.CompareAndSwap(ctx, nextChunkAt, taken, taken+n); err != nil || ok {
			return (taken + 1) * h.chunk, err
		}
	}
}

// lockRuns locks the list of free runs. Invariant: between any two words that are written under the lock, the
// list is whole, so whoever comes after one that died goes on. The run that it was about to take or to give stays
// allocated.
func (h *Heap) lockRuns(ctx context.Context) error {
	if _, err := h.large.Lock(ctx); err != nil && !errors.Is(err, ErrOwnerDied) {
		return err
	}
	return nil
}

// allocateRun returns a large object: the first free run that is long enough, or new chunks.
func (h *Heap) allocateRun(ctx context.Context, n uint64) (off uint64, err error) {
	chunks := (n + chunkHead + h.chunk - 1) / h.chunk
	if err := h.lockRuns(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.large.Unlock()) }()
	off, err = h.reuseRun(ctx, chunks)
	if err == nil && off == 0 {
		off, err = h.takeChunks(ctx, chunks)
	}
	if err == nil {
		err = h.r.Store(ctx, int64(off+classAt), runMark|chunks)
	}
	if err == nil {
		err = h.zero(off+chunkHead, n)
	}
	return off + chunkHead, err
}

// reuseRun takes a run of that many chunks from the front of the first free run that has them, and
// returns 0 if none has. The caller holds h.large.
func (h *Heap) reuseRun(ctx context.Context, chunks uint64) (uint64, error) {
	link := uint64(freeRunsAt)
	for {
		off, err := h.r.Load(ctx, int64(link))
		if err != nil || off == 0 {
			return 0, err
		}
		head, err := h.r.Load(ctx, int64(off+classAt))
		if err != nil {
			return 0, err
		}
		next, err := h.r.Load(ctx, int64(off+freedAt))
		if err != nil {
			return 0, err
		}
		length := head &^ runMark
		if length < chunks {
			link = off + freedAt
			continue
		}
		if length > chunks {
			rest := off + chunks*h.chunk
			err = errors.Join(h.r.Store(ctx, int64(rest+classAt), runMark|(length-chunks)), h.r.Store(ctx, int64(rest+freedAt), next))
			next = rest
		}
		return off, errors.Join(err, h.r.Store(ctx, int64(link), next))
	}
}

func (h *Heap) free(ctx context.Context, off uint64) error {
	chunk := off / h.chunk * h.chunk
	if off >= h.r.size || chunk == 0 {
		return fmt.Errorf("it is no object of this heap: %w", ErrRange)
	}
	head, err := h.r.Load(ctx, int64(chunk+classAt))
	switch {
	case err != nil:
		return err
	case head&runMark != 0 && off == chunk+chunkHead:
		return h.freeRun(ctx, chunk, head)
	case head == 0 || head&runMark != 0 || (off-chunk-chunkHead)%head != 0:
		return fmt.Errorf("it is no object of this heap: %w", ErrRange)
	}
	if h.freeHere(chunk, off) {
		return nil
	}
	for {
		first, err := h.r.Load(ctx, int64(chunk+freedAt))
		if err != nil {
			return err
		}
		if err := h.r.Store(ctx, int64(off), first); err != nil {
			return err
		}
		if ok, err := h.r.CompareAndSwap(ctx, int64(chunk+freedAt), first, off); err != nil || ok {
			return err
		}
	}
}

// freeHere takes an object back if this Heap has handed it out.
func (h *Heap) freeHere(chunk, off uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.owners[chunk]
	if l == nil {
		return false
	}
	l.free = append(l.free, off)
	return true
}

// freeRun puts a run into the list of free runs, which is in ascending order, and joins neighbours.
func (h *Heap) freeRun(ctx context.Context, off, head uint64) (err error) {
	if err := h.lockRuns(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.large.Unlock()) }()
	before, link := uint64(0), uint64(freeRunsAt)
	next, err := h.r.Load(ctx, int64(link))
	for ; err == nil && next != 0 && next < off; next, err = h.r.Load(ctx, int64(link)) {
		before, link = next, next+freedAt
	}
	if err != nil {
		return err
	}
	length := head &^ runMark
	if next == off+length*h.chunk {
		if length, next, err = h.absorb(ctx, length, next); err != nil {
			return err
		}
	}
	if before != 0 {
		head, err := h.r.Load(ctx, int64(before+classAt))
		if err != nil {
			return err
		}
		if have := head &^ runMark; before+have*h.chunk == off {
			return h.setRun(ctx, before, have+length, next)
		}
	}
	return errors.Join(h.setRun(ctx, off, length, next), h.r.Store(ctx, int64(link), off))
}

// absorb adds the free run at next to a run of that length that ends there.
func (h *Heap) absorb(ctx context.Context, length, next uint64) (uint64, uint64, error) {
	head, err := h.r.Load(ctx, int64(next+classAt))
	if err != nil {
		return 0, 0, err
	}
	after, err := h.r.Load(ctx, int64(next+freedAt))
	return length + head&^runMark, after, err
}

// setRun writes the head of a free run. If it is in the list and grows over the next one, that leaves the list
// first.
func (h *Heap) setRun(ctx context.Context, off, length, next uint64) error {
	if err := h.r.Store(ctx, int64(off+freedAt), next); err != nil {
		return err
	}
	return h.r.Store(ctx, int64(off+classAt), runMark|length)
}

// zeros is what new objects are filled with.
var zeros [4 << 10]byte

func (h *Heap) zero(off, n uint64) error {
	for n > 0 {
		part := min(n, uint64(len(zeros)))
		if _, err := h.r.WriteAt(zeros[:part], int64(off)); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}
