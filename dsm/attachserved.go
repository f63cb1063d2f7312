package dsm

import (
	"context"
	"fmt"

	"pagemesh/locks"
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
	}
	return false
}

// operate begins what a program wants of a lock.
func (p *program) operate(ctx context.Context, q question) {
	lock, err := q.lock()
	if err != nil {
		p.endSync(q, 0, nil, err)
		return
	}
	switch q.kind {
	case askAdd:
		p.s.intervals.before(func() {
			p.s.races.released(lock.ID())
			p.await(ctx, q, addition{lock, int64(q.arg)})
		})
	case askWatch:
		p.await(ctx, q, watch{lock, condition{int64(q.arg), q.n == 1}})
	}
}

// await answers q with the value that an operation ends with.
func (p *program) await(ctx context.Context, q question, op operation) {
	p.begin(ctx, &syncWaiter{op: op}, func(how wakening) {
		p.endSync(q, uint64(how.Value), nil, how.error())
	})
}
