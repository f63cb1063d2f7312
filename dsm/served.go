package dsm

import (
	"context"

	"pagemesh/locks"
)

// operation is a wait for a lock that its home serves, as the lock machine takes it.
type operation interface {
	// served returns the lock.
	served() locks.Served
	begin(m *locks.Machine, w locks.Waiter, r *locks.Ready)
	// cancel gives the wait up, and reports whether it is over with that.
	cancel(m *locks.Machine, w locks.Waiter, r *locks.Ready) bool
}

// addition is an operation on a counter.
type addition struct {
	lock  locks.Served
	delta int64
}

func (a addition) served() locks.Served { return a.lock }

func (a addition) begin(m *locks.Machine, w locks.Waiter, r *locks.Ready) {
	m.Add(a.lock, a.delta, w, r)
}

func (a addition) cancel(m *locks.Machine, w locks.Waiter, _ *locks.Ready) bool {
	return m.CancelAdd(a.lock, w)
}

// watch is an operation on a counter.
type watch struct {
	lock  locks.Served
	until condition
}

func (o watch) served() locks.Served { return o.lock }

func (o watch) begin(m *locks.Machine, w locks.Waiter, r *locks.Ready) {
	low, high := o.until.span()
	m.Watch(o.lock, low, high, w, r)
}

func (o watch) cancel(m *locks.Machine, w locks.Waiter, r *locks.Ready) bool {
	return m.CancelWatch(o.lock, w, r)
}

// add implements servedLocks. It lets others acquire, and acquires.
func (s *node) add(ctx context.Context, lock locks.Served, delta int64) (value int64, err error) {
	if err := s.sync.prepare(ctx); err != nil {
		return 0, err
	}
	if err := s.intervals.release(); err != nil {
		return 0, err
	}
	s.races.released(lock.ID())
	how, err := s.sync.operate(ctx, addition{lock, delta})
	return how.Value, err
}

// watch implements servedLocks. It acquires.
func (s *node) watch(ctx context.Context, lock locks.Served, until condition) (value int64, err error) {
	if err := s.sync.prepare(ctx); err != nil {
		return 0, err
	}
	how, err := s.sync.operate(ctx, watch{lock, until})
	return how.Value, err
}

// operate waits for an operation.
func (e *syncEngine) operate(ctx context.Context, op operation) (wakening, error) {
	how, ok := e.await(ctx, &syncWaiter{op: op})
	if !ok {
		return how, context.Cause(ctx)
	}
	return how, how.error()
}
