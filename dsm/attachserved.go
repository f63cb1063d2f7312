package dsm

import (
	"context"
	"encoding/binary"
	"fmt"

	"pagemesh/locks"
	"pagemesh/pagetable"
)

// This file is both ends of what a program asks its node about locks that their homes serve.

// add implements servedLocks.
func (a *attachment) add(ctx context.Context, lock locks.Served, delta int64) (value int64, err error) {
	q := servedQuestion(askAdd, lock)
	q.arg = uint64(delta)
	return a.askNumber(ctx, q)
}

// watch implements servedLocks.
func (a *attachment) watch(ctx context.Context, lock locks.Served, until condition) (value int64, err error) {
	q := servedQuestion(askWatch, lock)
	q.arg = uint64(until.bound)
	if until.most {
		q.n = 1
	}
	return a.askNumber(ctx, q)
}

func (a *attachment) askNumber(ctx context.Context, q question) (int64, error) {
	ans, err := a.ask(ctx, q)
	return int64(ans.value), err
}

// servedQuestion is a question about a lock.
func servedQuestion(kind askKind, lock locks.Served) question {
	return question{kind: kind, span: span{off: int64(lock.Class)}, data: []byte(lock.Name)}
}

// lock returns the lock that q is about, or an error if it is none on which one can do that.
func (q *question) lock() (locks.Served, error) {
	lock := locks.Served{Class: locks.Class(min(q.off, 255)), Name: string(q.data)}
	if !q.kind.fits(lock.Class) {
		return lock, fmt.Errorf("question of kind %d about a %v", q.kind, lock.Class)
	}
	return lock, locks.CheckName(lock.Name)
}

// fits reports whether a question can be about a lock of that class.
func (k askKind) fits(c locks.Class) bool {
	switch k {
	case askAdd, askWatch:
		return c == locks.Count || c == locks.WaitGroup
	case askEnlist, askSignal:
		return c == locks.Cond
	case askCampaign, askObserve:
		return c == locks.Election || c == locks.Once
	}
	return false
}

// operate begins what a program wants of a lock.
func (p *program) operate(ctx context.Context, q question) {
	if q.kind == askListen {
		p.hear(ctx, q)
		return
	}
	lock, err := q.lock()
	if err != nil {
		p.endSync(q, 0, nil, err)
		return
	}
	switch q.kind {
	case askAdd:
		p.s.intervals.before(func(number uint32) {
			p.s.races.released(lock.ID())
			p.await(ctx, q, addition{servedLock{lock}, int64(q.arg)}, number)
		})
	case askWatch:
		p.await(ctx, q, watch{servedLock{lock}, condition{int64(q.arg), q.n == 1}}, 0)
	case askCampaign:
		p.campaign(ctx, q, lock)
	case askEnlist:
		p.enlist(ctx, q, lock)
	case askSignal:
		p.s.intervals.before(func(number uint32) {
			p.s.sync.signal(lock, q.n == 1)
			p.s.intervals.after(number, func() { p.endSync(q, 0, nil, p.s.closed()) })
		})
	case askObserve:
		p.begin(ctx, &syncWaiter{op: observation{servedLock{lock}, q.arg}}, func(how wakening) {
			p.endSync(q, uint64(how.Token), binary.AppendUvarint(nil, uint64(how.Node)), how.error())
		})
	}
}

// await answers q with the value that an operation ends with, when the release that came before it is complete.
func (p *program) await(ctx context.Context, q question, op operation, number uint32) {
	p.begin(ctx, &syncWaiter{op: op}, func(how wakening) {
		p.s.intervals.after(number, func() { p.endSync(q, uint64(how.Value), nil, how.error()) })
	})
}

// election implements servedLocks.
func (a *attachment) election(lock locks.Served) election {
	return &attachedElection{a: a, lock: lock, value: a.values.Add(1)}
}

// attachedElection is an Election or a Once through a node in another process.
type attachedElection struct {
	a     *attachment
	lock  locks.Served
	value uint64
}

// campaign implements election.
func (e *attachedElection) campaign(ctx context.Context) (token uint64, err error) {
	q := servedQuestion(askCampaign, e.lock)
	q.arg = e.value
	ans, err := e.a.ask(ctx, q)
	return ans.value, err
}

// resign implements election.
func (e *attachedElection) resign(over bool) error {
	q := servedQuestion(askResign, e.lock)
	q.arg = e.value
	if over {
		q.n = 1
	}
	_, err := e.a.ask(context.Background(), q)
	return err
}

// observe implements election.
func (e *attachedElection) observe(ctx context.Context, known uint64) (Leader, error) {
	q := servedQuestion(askObserve, e.lock)
	q.arg = known
	ans, err := e.a.ask(ctx, q)
	if err != nil {
		return Leader{}, err
	}
	node, n := binary.Uvarint(ans.data)
	if n != len(ans.data) || node > 1<<32-1 {
		return Leader{}, fmt.Errorf("the node says that %#x leads", ans.data)
	}
	return Leader{pagetable.NodeID(node), ans.value}, nil
}

// programElection is the node's side of one Election or Once value in a program. It is forgotten when nobody stands
// or leads through it.
type programElection struct {
	nodeElection
	users int // who stand or lead; guarded by the program's mu
}

// campaign stands for an election through the value that q is about.
func (p *program) campaign(ctx context.Context, q question, lock locks.Served) {
	e, err := p.enterElection(q.arg, lock)
	if err != nil {
		p.endSync(q, 0, nil, err)
		return
	}
	p.begin(ctx, &syncWaiter{op: e.candidacy()}, func(how wakening) {
		if how.err != nil || how.Err != locks.OK {
			p.exitElection(q.arg, e)
		}
		p.endSync(q, uint64(how.Token), nil, how.error())
	})
}

// enterElection returns the node's side of a value, for one more user.
func (p *program) enterElection(value uint64, lock locks.Served) (*programElection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.elected[value]
	if e == nil {
		e = &programElection{nodeElection: nodeElection{e: &p.s.sync, lock: lock}}
		p.elected[value] = e
	}
	if e.lock != lock {
		return nil, fmt.Errorf("value %d is %v %q and %v %q", value, e.lock.Class, e.lock.Name, lock.Class, lock.Name)
	}
	e.users++
	return e, nil
}

// exitElection says that one user of a value is done.
func (p *program) exitElection(value uint64, e *programElection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.users--; e.users == 0 {
		delete(p.elected, value)
	}
}

// resign ends a program's leadership.
func (p *program) resign(q question) error {
	p.mu.Lock()
	e := p.elected[q.arg]
	p.mu.Unlock()
	if e == nil {
		return ErrNotHeld
	}
	err := e.nodeElection.resignReleased(q.n == 1)
	if err == nil {
		p.exitElection(q.arg, e)
	}
	return err
}
