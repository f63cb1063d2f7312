package dsm

import (
	"context"
	"errors"

	"pagemesh/locks"
)

// attachedListener is a listener through a node in another process.
type attachedListener struct {
	a     *attachment
	value uint64
}

// enlist implements servedLocks.
func (a *attachment) enlist(ctx context.Context, lock locks.Served) (listener, error) {
	q := servedQuestion(askEnlist, lock)
	q.arg = a.values.Add(1)
	if _, err := a.ask(ctx, q); err != nil {
		return nil, err
	}
	return attachedListener{a, q.arg}, nil
}

// wait implements listener.
func (l attachedListener) wait(ctx context.Context) error {
	_, err := l.a.ask(ctx, question{kind: askListen, arg: l.value})
	return err
}

// signal implements servedLocks.
func (a *attachment) signal(ctx context.Context, lock locks.Served, all bool) error {
	q := servedQuestion(askSignal, lock)
	if all {
		q.n = 1
	}
	_, err := a.ask(ctx, q)
	return err
}

// programListener is the node's side of a listener in a program. It is forgotten when the program has begun to wait for
// its signal.
type programListener struct {
	*nodeListener
	// Of these one is nil: how the wait has ended, before the program asked, and whom to tell, once it has.
	ended *wakening
	tell  func(wakening)
}

var errListener = errors.New("there is no such listener, or there are too many")

// enlist makes a program a listener.
func (p *program) enlist(ctx context.Context, q question, lock locks.Served) {
	l := &programListener{nodeListener: p.s.sync.newListener(lock)}
	l.w.then = func(how wakening) { p.heard(l, how) }
	p.mu.Lock()
	refused := p.listen[q.arg] != nil || len(p.listen) >= maxOpen
	if !refused {
		p.listen[q.arg] = l
	}
	p.mu.Unlock()
	if refused {
		p.endSync(q, 0, nil, errListener)
		return
	}
	p.begin(ctx, &syncWaiter{op: enlistment{servedLock{lock}, l.nodeListener}}, func(how wakening) {
		err := how.error()
		if err != nil {
			l.drop()
			p.mu.Lock()
			delete(p.listen, q.arg)
			p.mu.Unlock()
		}
		p.endSync(q, 0, nil, err)
	})
}

// heard takes up that the wait of a listener has ended.
func (p *program) heard(l *programListener, how wakening) {
	p.mu.Lock()
	tell := l.tell
	if tell == nil {
		l.ended = &how
	}
	p.mu.Unlock()
	if tell != nil {
		tell(how)
	}
}

// hear answers q when the listener has its signal.
func (p *program) hear(ctx context.Context, q question) {
	var stop func() bool
	tell := func(how wakening) {
		if stop != nil {
			stop()
		}
		p.endSync(q, 0, nil, how.error())
	}
	p.mu.Lock()
	l := p.listen[q.arg]
	delete(p.listen, q.arg)
	if l == nil {
		p.mu.Unlock()
		p.endSync(q, 0, nil, errListener)
		return
	}
	ended := l.ended
	if ended == nil {
		stop = context.AfterFunc(ctx, func() {
			if p.s.sync.cancel(l.w) {
				p.endSync(q, 0, nil, context.Cause(ctx))
			}
		})
		l.tell = tell
	}
	p.mu.Unlock()
	if ended != nil {
		tell(*ended)
	}
}

// stopListening gives up the listeners of a program that has ended before it began to wait for their signals. Those
// that have come are for others.
func (p *program) stopListening() {
	p.mu.Lock()
	list := p.listen
	p.listen = nil
	p.mu.Unlock()
	for _, l := range list {
		if !p.s.sync.cancel(l.w) {
			p.s.sync.signal(l.w.op.served(), false)
		}
	}
}
