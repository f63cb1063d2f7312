package dsm

import (
	"context"
	"errors"

	"pagemesh/locks"
)

// enlistment is an operation on a condition: the wait until the home knows of a listener. It makes the listener a
// waiter, too, since a signal may follow at once.
type enlistment struct {
	servedLock
	l *nodeListener
}

func (o enlistment) begin(e *syncEngine, w locks.Waiter) {
	e.last++
	o.l.w.id = e.last
	e.waiters[o.l.w.id] = o.l.w
	o.l.enlisting = w
	e.m.Enlist(o.lock, w, o.l.w.id, &e.rd)
}

func (o enlistment) cancel(e *syncEngine, w locks.Waiter) bool {
	canceled := o.servedLock.cancel(e, w)
	if canceled {
		delete(e.waiters, o.l.w.id)
	}
	return canceled
}

// listening is an operation on a condition: the wait for the signal.
type listening struct {
	servedLock
	l *nodeListener
}

// begin implements operation. It has begun with the enlistment.
func (o listening) begin(*syncEngine, locks.Waiter) {}

// cancel implements operation. As long as the listener is enlisting, that is the wait to cancel.
func (o listening) cancel(e *syncEngine, w locks.Waiter) bool {
	return e.waiters[o.l.enlisting] == nil && o.servedLock.cancel(e, w)
}

// nodeListener is a listener through the node in this process.
type nodeListener struct {
	e         *syncEngine
	w         *syncWaiter
	enlisting locks.Waiter // guarded by e.mu
}

func (e *syncEngine) newListener(lock locks.Served) *nodeListener {
	l := &nodeListener{e: e}
	l.w = &syncWaiter{woken: make(chan wakening, 1), op: listening{servedLock{lock}, l}}
	return l
}

// enlist implements servedLocks.
func (s *node) enlist(ctx context.Context, lock locks.Served) (listener, error) {
	l := s.sync.newListener(lock)
	if _, err := s.sync.operate(ctx, &syncWaiter{op: enlistment{servedLock{lock}, l}}); err != nil {
		l.drop()
		return nil, err
	}
	return l, nil
}

// drop forgets a listener that was not enlisted.
func (l *nodeListener) drop() {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	delete(l.e.waiters, l.w.id)
}

// wait implements listener. It acquires.
func (l *nodeListener) wait(ctx context.Context) error {
	select {
	case how := <-l.w.woken:
		return how.error()
	case <-ctx.Done():
		if l.e.cancel(l.w) {
			return context.Cause(ctx)
		}
		how := <-l.w.woken
		return how.error()
	}
}

// signal implements servedLocks. It lets others acquire.
func (s *node) signal(ctx context.Context, lock locks.Served, all bool) error {
	if err := s.sync.prepare(ctx); err != nil {
		return err
	}
	r, err := s.intervals.toSync()
	if err == nil {
		s.sync.signal(lock, all)
	}
	return errors.Join(err, r.complete())
}

func (e *syncEngine) signal(lock locks.Served, all bool) {
	e.do(func() {
		if e.err == nil {
			e.s.races.released(lock.ID())
			e.m.Signal(lock, all, &e.rd)
		}
	})
}
