package dsm

import (
	"context"
	"errors"
	"runtime/trace"
	"sync"
	"sync/atomic"

	"pagemesh/coherence"
	"pagemesh/locks"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// nodeMutex is a Mutex through the node in this process.
type nodeMutex struct {
	e      *syncEngine
	id     locks.ID
	holder locks.Waiter // of the goroutine that has it; guarded by e.mu
	holders
}

// mutex implements backend.
func (s *node) mutex(name string) mutex {
	m := newNodeMutex(&s.sync, name)
	return &m
}

func newNodeMutex(e *syncEngine, name string) nodeMutex {
	return nodeMutex{e: e, id: locks.MutexID(name), holders: holders{kind: "mutex", name: name}}
}

// lock implements mutex.
func (m *nodeMutex) lock(ctx context.Context, by caller) (token uint64, err error) {
	if err := m.e.prepare(ctx); err != nil {
		return 0, err
	}
	how, ok := m.e.await(ctx, &syncWaiter{mutex: m, by: by})
	if !ok {
		return 0, context.Cause(ctx)
	}
	return uint64(how.Token), how.error()
}

// unlock implements mutex.
func (m *nodeMutex) unlock() error {
	r, err := m.e.s.intervals.toSync()
	if err == nil {
		err = m.unlockReleased()
	}
	return errors.Join(err, r.complete())
}

// unlockReleased is unlock when the interval has ended.
func (m *nodeMutex) unlockReleased() error {
	if err := m.e.s.closed(); err != nil {
		return err
	}
	if !m.e.unlock(m, false) {
		return ErrNotHeld
	}
	return nil
}

// abandon unlocks the mutex if its program has ended with it, and reports whether it had. The next holder hears
// of it.
func (m *nodeMutex) abandon() bool { return m.e.unlock(m, true) }

// wait implements backend.
func (s *node) wait(ctx context.Context, name string, parties int) error {
	e := &s.sync
	if err := e.prepare(ctx); err != nil {
		return err
	}
	r, err := s.intervals.toSync()
	if err != nil {
		return err
	}
	how, _ := e.await(ctx, &syncWaiter{barrier: name, parties: parties, begun: r.write})
	if how.Err == locks.Canceled && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return how.error()
}

// syncEngine is the one place where events meet the lock machine: calls of the program, messages and
// views go in, and the Ready that comes out is performed under the same lock.
type syncEngine struct {
	s *node
	// placed: the machine knows the homes of locks. The node has a view with them a little earlier; who
	// used a lock by then would take the coordinator for its home.
	placed atomic.Bool
	// wakenings holds channels of waits that have ended, each a chan wakening, empty.
	wakenings sync.Pool
	mu        sync.Mutex // guards all that follows
	m         *locks.Machine
	// view is the one that the homes of the machine's epoch come from. Another epoch gets another one;
	// within its epoch it changes, once, when the locks are placed.
	view    *coherence.View
	rd      locks.Ready
	ended   []endedWait // that have a then
	waiters map[locks.Waiter]*syncWaiter
	lent    map[locks.ID]*lentMutex
	held    heldLocks
	// recent and recentLoan are the mutex that was locked here last, unless it was unlocked.
	recent     atomic.Pointer[nodeMutex]
	recentLoan atomic.Pointer[lentMutex]
	last       locks.Waiter
	from       pagetable.NodeID // of the message that is being performed, 0 if there is none
	buf        []byte
	err        error // why nobody can wait any more
	// lost are the nodes that went down while this one was a member.
	lost []pagetable.NodeID
	// idle is closed when this node leaves and nobody here holds a mutex or waits; nil if it stays.
	idle chan struct{}
}

// syncWaiter is one goroutine that waits: for a mutex, a pool, an operation, or else at a barrier.
type syncWaiter struct {
	id      locks.Waiter
	woken   chan wakening  // receives once; capacity 1
	then    func(wakening) // or this is called, without any lock; it must not block
	begun   func()         // called when the wait has begun; nil if nothing is to be done
	mutex   *nodeMutex
	pool    *nodePool
	count   uint64 // permits of the pool
	barrier string
	parties int
	by      caller
	late    lateness
	op      operation // of a lock that its home serves
}

// end ends a wait. The caller holds e.mu, and calls e.release.
func (e *syncEngine) end(w *syncWaiter, how wakening) {
	if w.then == nil {
		w.woken <- how
		return
	}
	e.ended = append(e.ended, endedWait{w.then, how})
}

// release unlocks e.mu and goes on with those whose waits have ended.
func (e *syncEngine) release() {
	ended := e.ended
	e.ended = nil
	e.mu.Unlock()
	for _, w := range ended {
		w.then(w.how)
	}
}

func (e *syncEngine) init(s *node) {
	e.s = s
	e.waiters = map[locks.Waiter]*syncWaiter{}
	e.wakenings.New = func() any { return make(chan wakening, 1) }
	e.lent = map[locks.ID]*lentMutex{}
}

// prepared reports whether prepare has nothing to do.
func (e *syncEngine) prepared() bool { return e.s.refusal() == nil && e.placed.Load() }

// prepare has the homes of locks placed once, before the first wait.
func (e *syncEngine) prepare(ctx context.Context) error {
	if err := e.s.refusal(); err != nil || e.prepared() {
		return err
	}
	_, err := e.s.propose(ctx, change{kind: changeLocks})
	return err
}

// do runs one event of the program and performs what comes out.
func (e *syncEngine) do(event func()) {
	out := e.s.getWork()
	e.mu.Lock()
	event()
	e.perform(out.out)
	e.release()
	e.s.putWork(out)
}

// begin begins a wait.
func (e *syncEngine) begin(w *syncWaiter) {
	e.do(func() {
		if e.err != nil {
			e.end(w, wakening{err: e.err})
			return
		}
		e.last++
		w.id = e.last
		e.waiters[w.id] = w
		switch {
		case w.mutex != nil:
			e.m.Lock(w.mutex.name, w.id, &e.rd)
		case w.pool != nil:
			e.m.Take(w.pool.name, w.pool.size, w.count, w.id, &e.rd)
		case w.op != nil:
			w.op.begin(e, w.id)
		default:
			e.s.races.released(w.lockID())
			e.m.Wait(w.barrier, w.parties, w.id, &e.rd)
		}
	})
}

// await begins a wait and returns how it ended. It returns false if it was given up because
// ctx is done.
func (e *syncEngine) await(ctx context.Context, w *syncWaiter) (wakening, bool) {
	w.woken = e.wakenings.Get().(chan wakening)
	e.begin(w)
	if w.begun != nil {
		w.begun()
	}
	var how wakening
	select {
	case how = <-w.woken: // the common case of one that ended at once
	default:
		defer trace.StartRegion(ctx, "dsm: wait for a lock or barrier").End()
		wait := e.beginWait(w)
		select {
		case how = <-w.woken:
			e.recordWait(w, wait, how)
		case <-ctx.Done():
			if e.cancel(w) {
				return wakening{}, false
			}
			how = <-w.woken
		}
	}
	e.wakenings.Put(w.woken) // it has received, and does so once
	return how, true
}

// unlock ends a possession of m. died says that it is not the holder's own doing.
func (e *syncEngine) unlock(m *nodeMutex, died bool) (held bool) {
	e.do(func() {
		if held = m.holder != 0 && e.giveBack(m.id, m.holder, 0, died); held {
			m.holder = 0
			e.held.clear(&m.holders)
			e.recent.CompareAndSwap(m, nil)
		}
	})
	return held
}

// giveBack ends a possession for the machine. The caller holds e.mu.
func (e *syncEngine) giveBack(id locks.ID, w locks.Waiter, last locks.Token, died bool) (held bool) {
	e.s.races.released(id)
	if died {
		return e.m.Abandon(id, w, last, &e.rd)
	}
	return e.m.Return(id, w, last, &e.rd)
}

// lockHeld returns the name of a mutex that is locked here, "" if there is none that is known. Of several it is
// the one that was locked last.
func (e *syncEngine) lockHeld() string {
	if m := e.recent.Load(); m != nil {
		return m.name
	}
	if l := e.recentLoan.Load(); l != nil && l.locked() {
		return l.name
	}
	return ""
}

// cancel gives a wait up. It returns true if it is over with that. If not, it has ended, or ends in the usual
// way: at a barrier with locks.Canceled if that was in time.
func (e *syncEngine) cancel(w *syncWaiter) (canceled bool) {
	e.do(func() {
		if canceled = e.withdraw(w); canceled {
			delete(e.waiters, w.id)
		}
	})
	return canceled
}

// withdraw is cancel for the machine. The caller holds e.mu.
func (e *syncEngine) withdraw(w *syncWaiter) (canceled bool) {
	switch {
	case w.mutex != nil:
		return e.m.CancelLock(w.mutex.id, w.id)
	case w.pool != nil:
		return e.m.CancelTake(w.pool.name, w.pool.size, w.id, &e.rd)
	case w.op != nil:
		return w.op.cancel(e, w.id)
	}
	e.m.CancelWait(locks.BarrierID(w.barrier), w.parties, w.id, &e.rd)
	return false
}

// perform ends the loans, queues the messages and wakes the waiters of e.rd. The caller holds e.mu.
func (e *syncEngine) perform(out *transport.Outbox) {
	for i := 0; i < len(e.rd.Wanted); i++ { // what comes back may add to e.rd
		e.recall(e.rd.Wanted[i])
	}
	for _, o := range e.rd.Send {
		e.s.races.tell(out, o)
		e.buf = o.Msg.Append(append(e.buf[:0], classLock))
		e.s.intervals.post(out, o, e.buf)
	}
	if len(e.rd.Wake) > 0 {
		e.acquire()
	}
	for _, k := range e.rd.Wake {
		w := e.waiters[k.Waiter]
		delete(e.waiters, k.Waiter)
		if w == nil {
			continue // its wait was ended by fail
		}
		if k.Err.Holds() {
			e.has(w)
		}
		how := wakening{Woken: k, from: e.from}
		if k.Err == locks.Lost {
			how.err = e.loss()
		}
		e.end(w, how)
	}
	e.rd.Reset()
	e.noteIdle()
}

// acquire makes this node see what happened before the waits that have ended. The caller holds e.mu.
func (e *syncEngine) acquire() {
	for _, k := range e.rd.Wake {
		if w := e.waiters[k.Waiter]; w != nil && (k.Err.Holds() || k.Err == locks.Over) {
			e.s.races.acquired(w.lockID())
		}
	}
	e.s.intervals.acquire()
}

// lockID returns the lock that a waiter waits for.
func (w *syncWaiter) lockID() locks.ID {
	switch {
	case w.mutex != nil:
		return w.mutex.id
	case w.pool != nil:
		return locks.PoolID(w.pool.name, w.pool.size)
	case w.op != nil:
		return w.op.served().ID()
	}
	return locks.BarrierID(w.barrier)
}

// has notes that a waiter has what it waited for. The caller holds e.mu.
func (e *syncEngine) has(w *syncWaiter) {
	switch {
	case w.mutex != nil:
		w.mutex.holder = w.id
		e.held.add(&w.mutex.holders, holder{w.by, true})
		e.recent.Store(w.mutex)
	case w.pool != nil:
		w.pool.taken += w.count
		if w.pool.size == locks.Everything {
			e.held.add(&w.pool.holders, holder{w.by, w.count == w.pool.size})
		}
	case w.op != nil:
		if c, ok := w.op.(candidacy); ok {
			c.by.leader = w.id
		}
	}
}

// noteIdle tells a node that leaves when its locks don't keep it any more. The caller holds e.mu.
func (e *syncEngine) noteIdle() {
	if e.idle == nil || !e.m.Idle() {
		return
	}
	select {
	case <-e.idle:
	default:
		close(e.idle)
	}
}

// settled reports whether the homes of locks at this node are in that epoch and done with its changes.
func (e *syncEngine) settled(epoch uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.m != nil && e.m.Epoch() == epoch && e.m.Settled()
}

// packet handles a message of a peer, or returns false if it has to wait for a view.
func (e *syncEngine) packet(p *peer, b []byte) (done bool, err error) {
	msg, err := locks.Decode(b)
	if err != nil {
		return false, err
	}
	e.mu.Lock()
	defer e.release()
	if e.m == nil || msg.Epoch > e.m.Epoch() || len(e.view.Locks.Nodes) == 0 && msg.Kind != locks.ReportsDone {
		return false, nil
	}
	e.m.Step(p.node, msg, &e.rd)
	e.from = p.node
	e.perform(p.work.out)
	e.from = 0
	return true, nil
}

// newView tells the locks of a view in which the nodes in gone are no members any more.
func (e *syncEngine) newView(v coherence.View, gone []pagetable.NodeID) {
	work := e.s.getWork()
	defer e.s.putWork(work)
	e.mu.Lock()
	defer e.release()
	e.placed.Store(len(v.Locks.Nodes) > 0)
	e.s.races.newEpoch(v.Epoch)
	if e.m != nil && v.Epoch == e.m.Epoch() {
		*e.view = v
		return
	}
	e.view = &v
	lv := locks.View{Epoch: v.Epoch, Members: v.Nodes(), Home: func(id locks.ID) pagetable.NodeID {
		if len(v.Locks.Nodes) == 0 {
			return v.Coordinator
		}
		return v.LockHome(uint64(id))
	}}
	if e.m == nil {
		e.m = locks.New(e.s.self, lv)
		return
	}
	for _, n := range gone {
		if n == v.Departed {
			lv.Left = append(lv.Left, n)
		} else {
			lv.Lost = append(lv.Lost, n)
		}
	}
	e.lost = append(e.lost, lv.Lost...)
	e.s.intervals.locksTold()
	e.m.NewEpoch(lv, &e.rd)
	e.perform(work.out)
}

// surrender gives back what is cached here and ends all waits; nobody here can lock or wait from now on.
// The channel is closed when no mutex or permit is held here any more and every arrival at a barrier is taken back.
func (e *syncEngine) surrender() <-chan struct{} {
	e.do(func() {
		e.idle = make(chan struct{})
		for id, w := range e.waiters {
			if e.withdraw(w) {
				delete(e.waiters, id)
				e.end(w, wakening{err: ErrClosed})
			}
		}
		e.recallAll()
		e.m.Surrender(&e.rd)
	})
	return e.idle
}

// fail ends every wait with err, now and from now on.
func (e *syncEngine) fail(err error) {
	e.mu.Lock()
	defer e.release()
	e.err = err
	for _, w := range e.waiters {
		e.end(w, wakening{err: err})
	}
	clear(e.waiters)
	e.recallAll()
	e.rd.Reset() // nobody hears of it any more
}

// status describes the locks homed here.
func (e *syncEngine) status() []LockStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []LockStatus{}
	for _, l := range e.m.Status() {
		list = append(list, LockStatus{
			Name: l.Name, Kind: l.Kind, Home: e.s.self, Holder: l.Holder, Waiting: nodeList(l.Waiting),
			Token: uint64(l.Token), Value: l.Value, Over: l.Over, Parties: l.Parties, Arrived: l.Arrived, Acquires: l.Acquires,
			OwnerDied: l.OwnerDied, Broken: l.Broken, Holders: nodeList(l.Holders), Permits: l.Permits, Free: l.Free,
		})
	}
	return list
}

// nodeList returns a copy that JSON shows as a list even if it is empty.
func nodeList(nodes []pagetable.NodeID) []pagetable.NodeID {
	return append([]pagetable.NodeID{}, nodes...)
}
