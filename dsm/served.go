package dsm

import (
	"context"
	"errors"

	"pagemesh/locks"
)

// operation is what somebody waits for of a lock that its home serves. The caller holds the engine's mu.
type operation interface {
	// served returns the lock.
	served() locks.Served
	begin(e *syncEngine, w locks.Waiter)
	// cancel gives the wait up, and reports whether it is over with that.
	cancel(e *syncEngine, w locks.Waiter) bool
}

// servedLock is the lock that an operation is about.
type servedLock struct{ lock locks.Served }

func (l servedLock) served() locks.Served { return l.lock }

func (l servedLock) cancel(e *syncEngine, w locks.Waiter) bool {
	return e.m.CancelServed(l.lock, w, &e.rd)
}

// addition is an operation on a counter.
type addition struct {
	servedLock
	delta int64
}

func (o addition) begin(e *syncEngine, w locks.Waiter) { e.m.Add(o.lock, o.delta, w, &e.rd) }

// watch is an operation on a counter.
type watch struct {
	servedLock
	until condition
}

func (o watch) begin(e *syncEngine, w locks.Waiter) {
	low, high := o.until.span()
	e.m.Watch(o.lock, low, high, w, &e.rd)
}

// candidacy is an operation on an election.
type candidacy struct {
	servedLock
	by *nodeElection
}

func (o candidacy) begin(e *syncEngine, w locks.Waiter) { e.m.Campaign(o.lock, w, &e.rd) }

// observation is an operation on an election.
type observation struct {
	servedLock
	known uint64
}

func (o observation) begin(e *syncEngine, w locks.Waiter) {
	e.m.Observe(o.lock, locks.Token(o.known), w, &e.rd)
}

// add implements servedLocks. It lets others acquire, and acquires.
func (s *node) add(ctx context.Context, lock locks.Served, delta int64) (value int64, err error) {
	if err := s.sync.prepare(ctx); err != nil {
		return 0, err
	}
	r, err := s.intervals.toSync()
	if err != nil {
		return 0, err
	}
	s.races.released(lock.ID())
	how, err := s.sync.operate(ctx, &syncWaiter{op: addition{servedLock{lock}, delta}, begun: r.write})
	return how.Value, errors.Join(err, r.complete())
}

// watch implements servedLocks. It acquires.
func (s *node) watch(ctx context.Context, lock locks.Served, until condition) (value int64, err error) {
	how, err := s.sync.operate(ctx, &syncWaiter{op: watch{servedLock{lock}, until}})
	return how.Value, err
}

// operate waits for an operation.
func (e *syncEngine) operate(ctx context.Context, w *syncWaiter) (wakening, error) {
	if err := e.prepare(ctx); err != nil {
		return wakening{}, err
	}
	how, ok := e.await(ctx, w)
	if !ok {
		return how, context.Cause(ctx)
	}
	return how, how.error()
}

// nodeElection is an Election or a Once through the node in this process.
type nodeElection struct {
	e      *syncEngine
	lock   locks.Served
	leader locks.Waiter // of the goroutine that leads; guarded by e.mu
}

// election implements servedLocks.
func (s *node) election(lock locks.Served) election { return &nodeElection{e: &s.sync, lock: lock} }

func (n *nodeElection) candidacy() candidacy { return candidacy{servedLock{n.lock}, n} }

// campaign implements election. It acquires.
func (n *nodeElection) campaign(ctx context.Context) (token uint64, err error) {
	how, err := n.e.operate(ctx, &syncWaiter{op: n.candidacy()})
	return uint64(how.Token), err
}

// resign implements election. It lets others acquire.
func (n *nodeElection) resign(over bool) error {
	r, err := n.e.s.intervals.toSync()
	if err == nil {
		err = n.resignReleased(over)
	}
	return errors.Join(err, r.complete())
}

// resignReleased is resign when the interval has ended.
func (n *nodeElection) resignReleased(over bool) error {
	if err := n.e.s.closed(); err != nil {
		return err
	}
	if !n.e.resign(n, over) {
		return ErrNotHeld
	}
	return nil
}

// observe implements election. It acquires.
func (n *nodeElection) observe(ctx context.Context, known uint64) (Leader, error) {
	how, err := n.e.operate(ctx, &syncWaiter{op: observation{servedLock{n.lock}, known}})
	return Leader{how.Node, uint64(how.Token)}, err
}

// abandon resigns if the program that led has ended, and reports whether it did.
func (n *nodeElection) abandon() bool { return n.e.resign(n, false) }

func (e *syncEngine) resign(n *nodeElection, over bool) (led bool) {
	why := locks.OK
	if over {
		why = locks.Over
	}
	e.do(func() {
		e.s.races.released(n.lock.ID())
		if led = n.leader != 0 && e.m.Resign(n.lock, n.leader, why, &e.rd); led {
			n.leader = 0
		}
	})
	return led
}
