package dsm

import (
	"context"
	"errors"

	"pagemesh/locks"
)

// operation is what somebody waits for of a lock that its home serves.
type operation interface {
	// served returns the lock.
	served() locks.Served
	begin(m *locks.Machine, w locks.Waiter, r *locks.Ready)
}

// addition is an operation on a counter.
type addition struct {
	lock  locks.Served
	delta int64
}

func (o addition) served() locks.Served { return o.lock }

func (o addition) begin(m *locks.Machine, w locks.Waiter, r *locks.Ready) {
	m.Add(o.lock, o.delta, w, r)
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

// candidacy is an operation on an election.
type candidacy struct{ e *nodeElection }

func (o candidacy) served() locks.Served { return o.e.lock }

func (o candidacy) begin(m *locks.Machine, w locks.Waiter, r *locks.Ready) {
	m.Campaign(o.e.lock, w, r)
}

// observation is an operation on an election.
type observation struct {
	lock  locks.Served
	known uint64
}

func (o observation) served() locks.Served { return o.lock }

func (o observation) begin(m *locks.Machine, w locks.Waiter, r *locks.Ready) {
	m.Observe(o.lock, locks.Token(o.known), w, r)
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
	how, err := s.sync.operate(ctx, &syncWaiter{op: addition{lock, delta}, begun: r.write})
	return how.Value, errors.Join(err, r.complete())
}

// watch implements servedLocks. It acquires.
func (s *node) watch(ctx context.Context, lock locks.Served, until condition) (value int64, err error) {
	how, err := s.sync.operate(ctx, &syncWaiter{op: watch{lock, until}})
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

// campaign implements election. It acquires.
func (n *nodeElection) campaign(ctx context.Context) (token uint64, err error) {
	how, err := n.e.operate(ctx, &syncWaiter{op: candidacy{n}})
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
	how, err := n.e.operate(ctx, &syncWaiter{op: observation{n.lock, known}})
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
