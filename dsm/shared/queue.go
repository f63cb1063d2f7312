package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"pagemesh/dsm"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// ErrQueueClosed is returned by Put on a queue that is closed, and by Take and TryTake once it is empty too.
var ErrQueueClosed = errors.New("queue is closed")

// Queue hands items from any nodes to any nodes, first in, first out, each to one taker. It is known by its name
// at all nodes, and bounded like a Go channel: Put waits while it is full, Take while it is empty. A Queue may be
// shared by goroutines.
//
// Those who put and those who take lock a mutex each and have a page each to count in, so that they meet only in
// the pages of items. Who is the only one to put, or to take, and doesn't find the queue full, or empty, needs no
// other node except for an item's page. Who waits looks at a copy of the other side's count, which is here until it
// changes: that takes no message, and up to 1 ms to see an item after a long wait.
//
// If a node or a program dies in Put, the item is in the queue or it is not; if it dies in Take, the item is
// still there or went down with it. Of items in pages that went down with a node, Take says dsm.ErrNodeLost.
type Queue[T any] struct {
	name     string
	s        *dsm.Space
	r        *dsm.Region
	puts     *dsm.Mutex // to write the count of puts
	takes    *dsm.Mutex // to write the count of takes
	page     int64      // bytes
	capacity uint64     // items
	fit      uint64     // items in a page
	// put and taken are counts that were right once and have only grown since.
	put, taken atomic.Uint64
	items      sync.Pool // of *item[T]
}

// item is an item as bytes.
type item[T any] struct {
	bytes []byte
	v     []T // one, the same memory
}

// QueueOptions are the properties of a queue. All nodes must give the same.
type QueueOptions struct {
	// Capacity is how many items the queue holds before Put waits. It costs address space only, and memory for as
	// many items as were in the queue at once, or have gone through it. Default 1024.
	Capacity int
	// PageSize in bytes, as in dsm.RegionOptions. It is larger where an item does not fit otherwise.
	PageSize int
	// Placement of the pages, as in dsm.RegionOptions.
	Placement dsm.Placement
}

const defaultQueue = 1024 // items

// The region of a queue has, each in a page of its own, what it is, two counts, and as many items as fit.
const (
	putsPage  = 1 // word 0: how many items were put, with closedMark
	takesPage = 2 // word 0: how many items were taken
	itemsPage = 3 // and those behind it: item i of all lies at place i modulo the capacity

	closedMark = 1 << 63
)

// OpenQueue opens the queue of that name, and creates it if there is none. The name is that of its region too,
// which is a sequential one, and the start of those of its locks. T must hold no Go pointers (dsm.ErrPointers). The
// error is dsm.ErrMismatch if the queue exists with other options or another type, or the name is used for
// something else. Other errors are those of Space.Region.
func OpenQueue[T any](ctx context.Context, s *dsm.Space, name string, o QueueOptions) (*Queue[T], error) {
	q, err := openQueue[T](ctx, s, name, o)
	if err != nil {
		return nil, fmt.Errorf("open queue %q: %w", name, err)
	}
	return q, nil
}

func openQueue[T any](ctx context.Context, s *dsm.Space, name string, o QueueOptions) (*Queue[T], error) {
	if err := checkType(reflect.TypeFor[T]()); err != nil {
		return nil, err
	}
	size, capacity := vm.SizeOf[T](), cmp.Or(o.Capacity, defaultQueue)
	switch {
	case capacity < 0:
		return nil, fmt.Errorf("capacity of %d: choose one from 1", capacity)
	case size == 0 || size > pagetable.MaxPageSize:
		return nil, fmt.Errorf("items of %d bytes: they must have some, and fit a page of %d", size, pagetable.MaxPageSize)
	}
	page := pageSize(o.PageSize, size)
	fit := page / size
	pages := itemsPage + (capacity+fit-1)/fit
	form := fmt.Sprintf("queue of up to %d %s", capacity, typeName[T]())
	r, err := open(ctx, s, name, form, dsm.RegionOptions{
		Size: uint64(pages) * uint64(page), PageSize: page, Placement: o.Placement,
	})
	if err != nil {
		return nil, err
	}
	q := &Queue[T]{
		name: name, s: s, r: r, puts: s.Mutex(name + "/put"), takes: s.Mutex(name + "/take"),
		page: int64(page), capacity: uint64(capacity), fit: uint64(fit),
	}
	q.items.New = func() any {
		b := buffer(size)
		return &item[T]{b, vm.Cast[T](b)}
	}
	return q, nil
}

// Put adds an item at the end. It waits while the queue is full, until ctx ends. Its errors are ErrQueueClosed,
// the cause of ctx, and those of waiting for a page or a lock; then the item is not in the queue.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	for {
		done, err := q.tryPut(ctx, v)
		if err == nil && !done {
			err = q.await(ctx, q.hasRoom)
		}
		if done || err != nil {
			return q.failed("put into", err)
		}
	}
}

// Take removes the first item and returns it. It waits while the queue is empty, until ctx ends. Its errors are
// ErrQueueClosed if the queue is closed and empty, the cause of ctx, and those of waiting for a page or a lock.
func (q *Queue[T]) Take(ctx context.Context) (v T, err error) {
	for {
		v, found, err := q.tryTake(ctx)
		if err == nil && !found {
			err = q.await(ctx, q.hasItem)
		}
		if found || err != nil {
			return v, q.failed("take from", err)
		}
	}
}

// TryTake is Take if there is an item, and otherwise returns at once with found unset.
func (q *Queue[T]) TryTake(ctx context.Context) (v T, found bool, err error) {
	v, found, err = q.tryTake(ctx)
	return v, found, q.failed("take from", err)
}

// Len returns the number of items at one moment between call and return.
func (q *Queue[T]) Len(ctx context.Context) (n int, err error) {
	err = locked(ctx, q.takes, func() error {
		taken, err := q.r.Load(ctx, q.takesAt())
		if err != nil {
			return err
		}
		put, err := q.r.Load(ctx, q.putsAt())
		n = int(put&^closedMark - taken)
		return err
	})
	return n, q.failed("count", err)
}

// Close ends the queue: whoever waits in Put, or comes later, gets ErrQueueClosed. What is in it can still be
// taken; then Take returns ErrQueueClosed too. A second Close has no effect.
func (q *Queue[T]) Close(ctx context.Context) error {
	err := locked(ctx, q.puts, func() error {
		put, err := q.r.Load(ctx, q.putsAt())
		if err != nil {
			return err
		}
		return q.r.Store(ctx, q.putsAt(), put|closedMark)
	})
	return q.failed("close", err)
}

// tryPut adds an item if there is room.
func (q *Queue[T]) tryPut(ctx context.Context, v T) (done bool, err error) {
	err = locked(ctx, q.puts, func() error {
		put, err := q.r.Load(ctx, q.putsAt())
		if err != nil {
			return err
		}
		if put&closedMark != 0 {
			return ErrQueueClosed
		}
		if done, err = q.room(ctx, put); !done || err != nil {
			return err
		}
		x := q.items.Get().(*item[T])
		defer q.items.Put(x)
		x.v[0] = v
		if _, err := q.r.WriteAt(x.bytes, q.itemAt(put)); err != nil {
			return err
		}
		return q.r.Store(ctx, q.putsAt(), put+1)
	})
	return done && err == nil, err
}

// room reports whether there is room for item put of all.
func (q *Queue[T]) room(ctx context.Context, put uint64) (bool, error) {
	if put-q.taken.Load() < q.capacity {
		return true, nil
	}
	taken, err := q.r.Load(ctx, q.takesAt())
	if err == nil {
		q.taken.Store(taken)
	}
	return put-taken < q.capacity, err
}

// tryTake removes the first item if there is one.
func (q *Queue[T]) tryTake(ctx context.Context) (v T, found bool, err error) {
	err = locked(ctx, q.takes, func() error {
		taken, err := q.r.Load(ctx, q.takesAt())
		if err != nil {
			return err
		}
		if found, err = q.there(ctx, taken); !found || err != nil {
			return err
		}
		x := q.items.Get().(*item[T])
		defer q.items.Put(x)
		if _, err := q.r.ReadAt(x.bytes, q.itemAt(taken)); err != nil {
			return err
		}
		v = x.v[0]
		return q.r.Store(ctx, q.takesAt(), taken+1)
	})
	return v, found && err == nil, err
}

// there reports whether item taken of all was put in.
func (q *Queue[T]) there(ctx context.Context, taken uint64) (bool, error) {
	if taken < q.put.Load() {
		return true, nil
	}
	word, err := q.r.Load(ctx, q.putsAt())
	if err != nil {
		return false, err
	}
	put := word &^ closedMark
	q.put.Store(put)
	if taken == put && word != put {
		err = ErrQueueClosed
	}
	return taken < put, err
}

// hasRoom reports whether Put has no reason to wait.
func (q *Queue[T]) hasRoom(ctx context.Context) (bool, error) {
	taken, err := q.r.Load(ctx, q.takesAt())
	if err != nil {
		return false, err
	}
	put, err := q.r.Load(ctx, q.putsAt())
	return put&closedMark != 0 || put-taken < q.capacity, err
}

// hasItem reports whether Take has no reason to wait.
func (q *Queue[T]) hasItem(ctx context.Context) (bool, error) {
	taken, err := q.r.Load(ctx, q.takesAt())
	if err != nil {
		return false, err
	}
	put, err := q.r.Load(ctx, q.putsAt())
	return put != taken, err
}

const (
	shortPause = 10 * time.Microsecond
	longPause  = time.Millisecond
)

// await returns when done says so, or ctx or the space ends. The pages that done looks at are here until somebody
// changes them.
func (q *Queue[T]) await(ctx context.Context, done func(ctx context.Context) (bool, error)) error {
	for pause := shortPause; ; pause = min(2*pause, longPause) {
		if ok, err := done(ctx); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-q.s.Done():
			return q.s.Err()
		case <-time.After(pause):
		}
	}
}

func (q *Queue[T]) putsAt() int64  { return putsPage * q.page }
func (q *Queue[T]) takesAt() int64 { return takesPage * q.page }

// itemAt returns where item i of all that are ever put lies in the region, in bytes.
func (q *Queue[T]) itemAt(i uint64) int64 {
	place := i % q.capacity
	return int64(itemsPage+place/q.fit)*q.page + int64(place%q.fit)*int64(vm.SizeOf[T]())
}

// failed names the queue in an error, if there is one.
func (q *Queue[T]) failed(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s queue %q: %w", what, q.name, err)
	}
	return err
}
