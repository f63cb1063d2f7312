package dsm

import (
	"context"
	"errors"
	"fmt"

	"pagemesh/locks"
)

// ErrNotHeld is returned by Unlock, RUnlock and Release if what they give back is not held through this
// value: the other values of the same name don't count.
var ErrNotHeld = errors.New("not held")

// Mutex is a lock of the space, known by its name at all nodes. Waiting nodes get it first come, first
// served; at the node that had it last it is taken again without a message. A Mutex value may be
// shared by goroutines. It is not reentrant.
//
// A Mutex is robust, as pthread_mutexattr_setrobust has it: if whoever holds it dies, the next caller of Lock
// gets the mutex together with ErrOwnerDied, once for one death. It must bring in order what the mutex guards, or
// say for whom it is lost, and unlock:
//
//	token, err := mu.Lock(ctx)
//	if errors.Is(err, dsm.ErrOwnerDied) {
//		err = repair() // the mutex is locked
//	} else if err != nil {
//		return err // it is not
//	}
//	defer mu.Unlock()
//
// An attached program dies if it ends, in whatever way, while it has the mutex locked; a node, if it is lost,
// or closes, while one of its programs or goroutines has. Of a lost node nobody knows whether it had unlocked a
// mutex that it kept for its next use, nor, if it was the mutex's home, whether the mutex was locked at all,
// even if it never was: ErrOwnerDied comes in these cases too. It never fails to come.
type Mutex struct {
	name   string
	m      mutex
	guards guards
}

// mutex is how a Mutex is reached: through the node in this process, or one in another.
type mutex interface {
	lock(ctx context.Context, by caller) (token uint64, err error)
	unlock() error
}

// Mutex returns the mutex of that name, 1 to 128 bytes. It asks nobody: a mutex comes to be with its
// first Lock, which also says if the name is wrong. Every call returns a value of its own.
func (s *Space) Mutex(name string) *Mutex { return &Mutex{name: name, m: s.b.mutex(name)} }

// Lock waits for the mutex until ctx ends. It returns a fencing token: of two acquisitions anywhere in
// the space the later has the greater token, so that whoever is written to can refuse a holder that
// was cut off meanwhile. With the error ErrOwnerDied the mutex is locked, see Mutex. Its other errors
// are ErrClosed, ErrNodeLost if this node is cut off, ErrDeadlock if it would never return, or the cause of ctx.
//
//go:noinline
func (m *Mutex) Lock(ctx context.Context) (token uint64, err error) {
	if err = locks.CheckName(m.name); err == nil {
		token, err = m.m.lock(ctx, caller{goroutine: goroutine(), site: callerPC()})
	}
	if len(m.guards.ranges) > 0 && (err == nil || errors.Is(err, ErrOwnerDied)) {
		m.bring(ctx, token)
	}
	if err != nil {
		return token, fmt.Errorf("lock mutex %q: %w", m.name, err)
	}
	return token, nil
}

// Unlock gives the mutex to whoever waits for it, or keeps it here for the next Lock. What was written
// before Unlock is seen by whoever locks next. It returns ErrNotHeld if it is not locked.
func (m *Mutex) Unlock() error {
	if err := m.m.unlock(); err != nil {
		return fmt.Errorf("unlock mutex %q: %w", m.name, err)
	}
	return nil
}

// pool is how an RWMutex or a Semaphore is reached: through the node in this process, or one in another.
type pool interface {
	take(ctx context.Context, count uint64, by caller) (token uint64, err error)
	put(count uint64, by caller) error
}

// RWMutex is a lock of the space, known by its name at all nodes, which any number of readers or one
// writer holds. All who wait get it first come, first served, so that readers don't keep a writer out: whoever
// comes to read after a writer has begun to wait waits behind it. A node keeps its right to read, or to
// write, until somebody elsewhere needs the lock, and until then takes it again without a message to others.
// An RWMutex value may be shared by goroutines. It is not reentrant, not even for readers.
//
// It is not robust as a Mutex is: readers come in any number at once, and each of them would have to hear that a
// writer died. Only LockStatus.OwnerDied says so.
type RWMutex struct {
	name string
	p    pool
}

// RWMutex returns the read/write mutex of that name, like Mutex. It shares nothing with the Mutex of that name.
func (s *Space) RWMutex(name string) *RWMutex {
	return &RWMutex{name: name, p: s.b.pool(name, locks.Everything)}
}

// Lock waits until nobody else holds the mutex, or ctx ends. It returns a fencing token, as Mutex.Lock does,
// which is greater than those of all writers before. Its errors are those of Mutex.Lock.
//
//go:noinline
func (m *RWMutex) Lock(ctx context.Context) (token uint64, err error) {
	token, err = m.take(ctx, locks.Everything, caller{goroutine: goroutine(), site: callerPC()})
	if err != nil {
		return 0, fmt.Errorf("lock rwmutex %q: %w", m.name, err)
	}
	return token, nil
}

// RLock waits until no writer holds the mutex, or ctx ends. Its errors are those of Mutex.Lock.
//
//go:noinline
func (m *RWMutex) RLock(ctx context.Context) error {
	if _, err := m.take(ctx, 1, caller{goroutine: goroutine(), site: callerPC()}); err != nil {
		return fmt.Errorf("read-lock rwmutex %q: %w", m.name, err)
	}
	return nil
}

func (m *RWMutex) take(ctx context.Context, count uint64, by caller) (token uint64, err error) {
	if err := locks.CheckName(m.name); err != nil {
		return 0, err
	}
	return m.p.take(ctx, count, by)
}

// Unlock ends what Lock began. What was written before is seen by whoever locks next, to read or to write. It
// returns ErrNotHeld if there is no writer.
func (m *RWMutex) Unlock() error {
	if err := m.p.put(locks.Everything, caller{goroutine: goroutine()}); err != nil {
		return fmt.Errorf("unlock rwmutex %q: %w", m.name, err)
	}
	return nil
}

// RUnlock ends what one RLock began. It returns ErrNotHeld if there is no reader.
func (m *RWMutex) RUnlock() error {
	if err := m.p.put(1, caller{goroutine: goroutine()}); err != nil {
		return fmt.Errorf("read-unlock rwmutex %q: %w", m.name, err)
	}
	return nil
}

// Semaphore is a number of permits of the space, known by its name at all nodes. Whoever waits for permits
// gets them first come, first served, even if those who come later want fewer. A node keeps permits that were
// released there until somebody elsewhere waits, and until then acquires them again without a message. A
// Semaphore value may be shared by goroutines, one may release what another has acquired.
type Semaphore struct {
	name    string
	permits int
	p       pool
}

// Semaphore returns the semaphore of that name, 1 to 128 bytes, with that number of permits, from 1. It asks
// nobody: a semaphore comes to be with its first Acquire, which also says if name or number are wrong.
func (s *Space) Semaphore(name string, permits int) *Semaphore {
	return &Semaphore{name: name, permits: permits, p: s.b.pool(name, uint64(permits))}
}

// Acquire waits for n permits until ctx ends. Its errors are ErrMismatch if others use the semaphore with
// another number of permits, and those of Mutex.Lock. The permits of a node that is lost come back.
//
//go:noinline
func (s *Semaphore) Acquire(ctx context.Context, n int) error {
	err := errors.Join(locks.CheckName(s.name), locks.CheckPermits(s.permits))
	switch {
	case err != nil:
	case n < 1 || n > s.permits:
		err = fmt.Errorf("%d permits: want 1 to %d", n, s.permits)
	default:
		_, err = s.p.take(ctx, uint64(n), caller{goroutine: goroutine(), site: callerPC()})
	}
	if err != nil {
		return fmt.Errorf("acquire semaphore %q of %d: %w", s.name, s.permits, err)
	}
	return nil
}

// Release gives n permits back. What was written before is seen by whoever gets one of them. It returns
// ErrNotHeld if fewer were acquired through this value.
func (s *Semaphore) Release(n int) error {
	err := ErrNotHeld
	if n > 0 && n <= s.permits {
		err = s.p.put(uint64(n), caller{goroutine: goroutine()})
	}
	if err != nil {
		return fmt.Errorf("release semaphore %q of %d: %w", s.name, s.permits, err)
	}
	return nil
}

// Barrier is a meeting point of the space, known by its name at all nodes.
type Barrier struct {
	name    string
	parties int
	b       backend
}

// Barrier returns the barrier of that name, 1 to 128 bytes, for that number of waits a phase, from 1. It
// asks nobody: a barrier comes to be with its first Wait, which also says if name or number are wrong.
func (s *Space) Barrier(name string, parties int) *Barrier {
	return &Barrier{name: name, parties: parties, b: s.b}
}

// Wait returns when as many goroutines of the space as the barrier has parties have called it, and the
// barrier is ready for the next phase. Its errors are ErrNodeLost, with the nodes that went down, if one that
// took part in the barrier is lost, which breaks it for good, ErrMismatch if others use it with another number
// of parties, ErrClosed, or the cause of ctx, which takes the arrival back. What was written before Wait
// is seen by all after it.
func (b *Barrier) Wait(ctx context.Context) error {
	err := errors.Join(locks.CheckName(b.name), locks.CheckParties(b.parties))
	if err == nil {
		err = b.b.wait(ctx, b.name, b.parties)
	}
	if err != nil {
		return fmt.Errorf("wait at barrier %q of %d: %w", b.name, b.parties, err)
	}
	return nil
}
