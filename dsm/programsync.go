package dsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"pagemesh/locks"
)

// This file answers what a program asks about locks. No goroutine of the node waits for such
// an answer: whoever brings the news writes it.

// programMutex is the node's side of one Mutex value in a program.
type programMutex struct {
	nodeMutex
	users int // goroutines of the program that wait for it or hold it; without any it is forgotten
}

// programPool is the node's side of one RWMutex or Semaphore value in a program. It is forgotten when nobody
// waits and nothing is taken.
type programPool struct {
	nodePool
	waiting int // guarded by the program's mu
}

// waitSync begins the wait for a lock.
func (p *program) waitSync(ctx context.Context, q question) {
	p.asked.Add(1)
	if p.s.sync.prepared() {
		p.beginSync(ctx, q)
		return
	}
	go func() {
		if err := p.s.sync.prepare(ctx); err != nil {
			p.endSync(q, 0, nil, err)
			return
		}
		p.beginSync(ctx, q)
	}()
}

func (p *program) beginSync(ctx context.Context, q question) {
	switch q.kind {
	case askLock:
		p.lock(ctx, q)
	case askTake:
		p.take(ctx, q)
	case askWait:
		p.arrive(ctx, q)
	default:
		p.operate(ctx, q)
	}
}

// endSync answers q, without waiting for the program to read.
func (p *program) endSync(q question, value uint64, data []byte, err error) {
	defer p.asked.Done()
	p.cancel(q.id)
	p.conn.writeSoon(answerFrame(q.id, value, data, err), &p.asked, p.end)
}

// begin begins a wait that then ends, or that is given up when ctx ends.
func (p *program) begin(ctx context.Context, w *syncWaiter, then func(wakening)) {
	giveUp := func() {
		if p.s.sync.cancel(w) {
			then(wakening{err: context.Cause(ctx)})
		}
	}
	stop := context.AfterFunc(ctx, giveUp)
	wait := p.s.sync.beginWait(w)
	var waits atomic.Bool
	w.then = func(how wakening) {
		stop()
		if waits.Load() || how.from != 0 {
			p.s.sync.recordWait(w, wait, how)
		}
		then(how)
	}
	p.s.sync.begin(w)
	waits.Store(true)
	if ctx.Err() != nil {
		giveUp() // it may have ended before there was a wait
	}
}

// caller returns who asks q.
func (p *program) caller(q question) caller { return caller{p, q.goroutine, uintptr(q.site)} }

// lock locks a mutex and lends it to the program, if it can. Then the answer's data says which loan it is. One
// whose owner has died is not lent, since the answer is an error.
func (p *program) lock(ctx context.Context, q question) {
	m, err := p.enter(q)
	if err != nil {
		p.endSync(q, 0, nil, err)
		return
	}
	p.begin(ctx, &syncWaiter{mutex: &m.nodeMutex, by: p.caller(q)}, func(how wakening) {
		token, data, err := uint64(how.Token), []byte(nil), how.error()
		if l, ok := p.loan(m.id); err == nil && ok && p.s.sync.lend(&m.nodeMutex, token, l) {
			data = binary.AppendUvarint(nil, uint64(l.index))
		}
		if !how.holds() || data != nil {
			p.exit(q.arg, m)
		}
		p.endSync(q, token, data, err)
	})
}

// arrive waits at a barrier.
func (p *program) arrive(ctx context.Context, q question) {
	name, parties := string(q.data), int(min(q.arg, math.MaxInt))
	if err := errors.Join(locks.CheckName(name), locks.CheckParties(parties)); err != nil {
		p.endSync(q, 0, nil, err)
		return
	}
	p.s.intervals.before(func(uint32) {
		p.begin(ctx, &syncWaiter{barrier: name, parties: parties, by: p.caller(q)}, func(how wakening) {
			err := how.error()
			if how.Err == locks.Canceled && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			p.endSync(q, 0, nil, err)
		})
	})
}

// enter returns the node's side of the Mutex value that q is about, for one more user.
func (p *program) enter(q question) (*programMutex, error) {
	name := string(q.data)
	if err := locks.CheckName(name); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.mutexes[q.arg]
	if m == nil {
		m = &programMutex{nodeMutex: newNodeMutex(&p.s.sync, name)}
		p.mutexes[q.arg] = m
	}
	if m.name != name {
		return nil, fmt.Errorf("mutex value %d is called %q and %q", q.arg, m.name, name)
	}
	m.users++
	return m, nil
}

// exit says that one user of a Mutex value is done.
func (p *program) exit(value uint64, m *programMutex) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.users--; m.users == 0 {
		delete(p.mutexes, value)
	}
}

// loan returns the place of a mutex.
func (p *program) loan(id locks.ID) (l loan, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	index, ok := p.loans[id]
	if !ok && len(p.loans) < maxLoans {
		index, ok = len(p.loans), true
		p.loans[id] = index
	}
	return loan{p.words, index}, ok
}

func (p *program) unlock(q question) error {
	p.mu.Lock()
	m := p.mutexes[q.arg]
	p.mu.Unlock()
	if m == nil {
		return ErrNotHeld
	}
	err := m.unlockReleased()
	if err == nil {
		p.exit(q.arg, m)
	}
	return err
}

// answerReleased answers an unlock, when the release that it is part of is complete.
func (p *program) answerReleased(q question, number uint32, err error) {
	p.s.intervals.after(number, func() { p.answer(q.id, 0, nil, err) })
}

// take takes permits.
func (p *program) take(ctx context.Context, q question) {
	l, err := p.enterPool(q)
	if err != nil {
		p.endSync(q, 0, nil, err)
		return
	}
	p.begin(ctx, &syncWaiter{pool: &l.nodePool, count: uint64(q.n), by: p.caller(q)}, func(how wakening) {
		p.mu.Lock()
		l.waiting--
		p.forgetPool(q.arg, l)
		p.mu.Unlock()
		p.endSync(q, uint64(how.Token), nil, how.error())
	})
}

// enterPool returns the node's side of the value that q is about, for one more waiter.
func (p *program) enterPool(q question) (*programPool, error) {
	name, size := string(q.data), uint64(q.off)
	err := locks.CheckName(name)
	if err == nil && size != locks.Everything {
		err = locks.CheckPermits(int(q.off))
	}
	if err == nil && (q.n < 1 || q.n > q.off) {
		err = fmt.Errorf("%d permits: want 1 to %d", q.n, q.off)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.pools[q.arg]
	if l == nil {
		l = &programPool{nodePool: newNodePool(&p.s.sync, name, size)}
		p.pools[q.arg] = l
	}
	if l.name != name || l.size != size {
		return nil, fmt.Errorf("value %d is %q of %d and %q of %d", q.arg, l.name, l.size, name, size)
	}
	l.waiting++
	return l, nil
}

// forgetPool forgets a value that is not used. The caller holds p.mu.
func (p *program) forgetPool(value uint64, l *programPool) {
	if l.waiting == 0 && l.inUse() == 0 {
		delete(p.pools, value)
	}
}

func (p *program) put(q question) error {
	p.mu.Lock()
	l := p.pools[q.arg]
	p.mu.Unlock()
	if l == nil {
		return ErrNotHeld
	}
	if err := l.putReleased(uint64(q.n), p.caller(q)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetPool(q.arg, l)
	return nil
}
