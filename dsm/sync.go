package dsm

import (
	"context"
	"errors"
	"fmt"

	"pagemesh/locks"
)

// ErrNotHeld is returned by Mutex.Unlock if the mutex is not locked through this value: the other values
// of the same name don't count.
var ErrNotHeld = errors.New("mutex is not held")

// Mutex is a lock of the space, known by its name at all nodes. Waiting nodes get it first come, first
// served; at the node that had it last it is taken again without a message. A Mutex value may be
// shared by goroutines. It is not reentrant.
type Mutex struct {
	name string
	m    mutex
}

// mutex is how a Mutex is reached: through the node in this process, or one in another.
type mutex interface {
	lock(ctx context.Context) (token uint64, err error)
	unlock() error
}

// Mutex returns the mutex of that name, 1 to 128 bytes. It asks nobody: a mutex comes to be with its
// first Lock, which also says if the name is wrong. Every call returns a value of its own.
func (s *Space) Mutex(name string) *Mutex { return &Mutex{name: name, m: s.b.mutex(name)} }

// Lock waits for the mutex until ctx ends. It returns a fencing token: of two acquisitions anywhere in
// the space the later has the greater token, so that whoever is written to can refuse a holder that
// was cut off meanwhile. Its errors are ErrClosed, ErrNodeLost if this node is cut off, or the cause
// of ctx.
func (m *Mutex) Lock(ctx context.Context) (token uint64, err error) {
	if err = locks.CheckName(m.name); err == nil {
		token, err = m.m.lock(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("lock mutex %q: %w", m.name, err)
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
// barrier is ready for the next phase. Its errors are ErrNodeLost if a node that took part in the
// barrier is lost, which breaks the barrier for good, ErrMismatch if others use it with another number
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
