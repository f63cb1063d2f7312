package bench

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// Array is a shared array of T, the same at all ranks. Its elements are reached through windows: of an
// attached program they are parts of one plain slice, else views. An access that fails, because a node
// was lost or time is up, ends the rank's part of the workload: Run returns the error.
type Array[T any] struct {
	ctx    context.Context
	region *dsm.Region
	n      int
	plain  []T // nil unless the program is attached
}

// layout says where the pages of an array are homed and how large they are.
type layout struct {
	kind     pagetable.PlacementKind
	pageSize int // bytes; 0 is the default of regions
	// words: ranks use single words of it at once, without a lock or barrier between them.
	words bool
	// release: it is there to measure a release region, whatever the others are.
	release bool
}

// NewArray returns the shared array of that name and length. With pagetable.Blocked, the i-th of equal
// parts is homed at the node of rank i.
func NewArray[T any](ctx context.Context, r *Rank, name string, n int, kind pagetable.PlacementKind) *Array[T] {
	return newArray[T](ctx, r, name, n, layout{kind: kind, pageSize: r.Spec.PageSize})
}

// newArray has rank 0 create the region: the members that others see at this moment may be different
// ones.
func newArray[T any](ctx context.Context, r *Rank, name string, n int, l layout) *Array[T] {
	name = r.name + "/" + name
	l.kind = r.Spec.placement(l.kind)
	if r.Rank == 0 {
		_, err := r.Space.Region(ctx, name, dsm.RegionOptions{
			Size: uint64(n) * uint64(reflect.TypeFor[T]().Size()), PageSize: l.pageSize,
			Placement: dsm.Placement{Kind: l.kind, Nodes: homes(r, l.kind)}, Consistency: r.Spec.consistency(l),
		})
		check(err)
	}
	check(r.Barrier(ctx))
	region, err := r.Space.Region(ctx, name, dsm.RegionOptions{})
	check(err)
	check(dsm.Declare[T](region))
	a := &Array[T]{ctx: ctx, region: region, n: n}
	if r.Space.Access() == dsm.Mapped {
		a.plain, err = dsm.Slice[T](region)
		check(err)
	}
	return a
}

// homes returns the nodes of an array's pages: all members, or for blocks those of the ranks, in their
// order. A member may have no rank here, or leave.
func homes(r *Rank, kind pagetable.PlacementKind) []pagetable.NodeID {
	nodes := make([]pagetable.NodeID, r.Ranks)
	nodes[0] = r.Space.Self()
	var spare []pagetable.NodeID
	for _, m := range r.Space.Members() {
		switch {
		case m.Node == nodes[0] || m.State != "member":
		case m.Rank > 0 && m.Rank < r.Ranks:
			nodes[m.Rank] = m.Node
		default:
			spare = append(spare, m.Node)
		}
	}
	if rank := slices.Index(nodes, 0); rank > 0 {
		check(fmt.Errorf("rank %d: %w", rank, dsm.ErrNodeLost))
	}
	if kind == pagetable.Blocked {
		return nodes
	}
	return append(nodes, spare...)
}

// NewCounter returns the shared word of that name, in a page of its own.
func NewCounter(ctx context.Context, r *Rank, name string) *dsm.Region {
	return newArray[uint64](ctx, r, name, 1, layout{kind: pagetable.Hashed, words: true}).Region()
}

// newWords returns an array whose single words ranks use at once, without a lock or barrier between them.
func newWords(ctx context.Context, r *Rank, name string, n int, kind pagetable.PlacementKind) *Array[uint64] {
	return newArray[uint64](ctx, r, name, n, layout{kind: kind, pageSize: r.Spec.PageSize, words: true})
}

// Len returns the number of elements.
func (a *Array[T]) Len() int { return a.n }

// Region returns the region that holds the array.
func (a *Array[T]) Region() *dsm.Region { return a.region }

// Read returns the elements [lo, hi) for reading.
func (a *Array[T]) Read(lo, hi int) Window[T] { return a.window(lo, hi, pagetable.ReadAccess) }

// Write returns the elements [lo, hi) for reading and writing.
func (a *Array[T]) Write(lo, hi int) Window[T] { return a.window(lo, hi, pagetable.WriteAccess) }

func (a *Array[T]) window(lo, hi int, access pagetable.Access) Window[T] {
	if a.plain != nil {
		return Window[T]{Data: a.plain[lo:hi:hi]}
	}
	v, err := dsm.ViewOf[T](a.ctx, a.region, int64(lo), int64(hi-lo), access)
	check(err)
	return Window[T]{Data: v.Slice(), view: v}
}

// Get returns element i.
func (a *Array[T]) Get(i int) T {
	w := a.Read(i, i+1)
	defer w.Done()
	return w.Data[0]
}

// Set sets element i.
func (a *Array[T]) Set(i int, v T) {
	w := a.Write(i, i+1)
	defer w.Done()
	w.Data[0] = v
}

// Prefetch brings the elements [lo, hi) here for reading, all at a time.
func (a *Array[T]) Prefetch(lo, hi int) {
	size := int64(reflect.TypeFor[T]().Size())
	check(a.region.Prefetch(a.ctx, int64(lo)*size, int64(hi-lo)*size, pagetable.ReadAccess))
}

// Window is a range of an Array that stays at this node until Done.
type Window[T any] struct {
	Data []T
	view dsm.TypedView[T]
}

// Done lets other nodes have the range. Data must not be used any more.
func (w *Window[T]) Done() {
	w.Data = nil
	w.view.Release()
}

// failure is how an error travels out of a workload's loops.
type failure struct{ err error }

// check ends the workload if err is not nil.
func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// acquire locks a mutex and returns its token. If whoever held it before has died, what it was doing under the
// mutex is lost, and so is the run.
func acquire(ctx context.Context, mu *dsm.Mutex) (token uint64) {
	token, err := mu.Lock(ctx)
	if errors.Is(err, dsm.ErrOwnerDied) {
		err = errors.Join(err, mu.Unlock())
	}
	check(err)
	return token
}

// guard calls f and returns the error that ended it.
func guard(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p.err
		default:
			panic(p)
		}
	}()
	return f()
}
