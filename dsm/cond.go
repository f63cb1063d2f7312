package dsm

import (
	"context"
	"fmt"

	"pagemesh/locks"
)

// Cond is a meeting point of the space for those who wait until something holds that a Mutex guards, and those who
// change it. It is known by its name at all nodes; all use it with the same mutex. As with sync.Cond, a Wait may
// return for no reason (each change of the members wakes all), so it stands in a loop:
//
//	_, err := mu.Lock(ctx)
//	for err == nil && !condition() {
//		_, err = cond.Wait(ctx)
//	}
//
// A Cond value may be shared by goroutines that share its Mutex value.
type Cond struct {
	lock locks.Served
	mu   *Mutex
	b    servedLocks
}

// listener is one who waits for a signal. Its wait comes once; with a ctx that has ended it only gives up.
type listener interface {
	wait(ctx context.Context) error
}

// Cond returns the condition of that name, 1 to 128 bytes, for what mu guards. It asks nobody: a condition comes to be
// with its first use, which also says if the name is wrong.
func (s *Space) Cond(name string, mu *Mutex) *Cond {
	return &Cond{lock: locks.Served{Class: locks.Cond, Name: name}, mu: mu, b: s.b}
}

// Wait unlocks the mutex, which its caller has locked, waits for a signal until ctx ends, and locks the mutex again.
// A signal of whoever locks the mutex in between is not missed; nor is one lost that comes to a Wait whose ctx has
// ended: it wakes another. To wait takes two messages and a Lock before it sleeps.
//
// The mutex is locked again also if ctx has ended, however long that takes, and Wait returns the fencing token of that
// Lock. Its errors are the cause of ctx, and ErrOwnerDied, with which the mutex is locked; ErrClosed, ErrNodeLost if this
// node is cut off, and ErrDeadlock, with which it is not; and ErrNotHeld if it was not locked through the value that
// the Cond was made with.
//
//go:noinline
func (c *Cond) Wait(ctx context.Context) (token uint64, err error) {
	if err = locks.CheckName(c.lock.Name); err == nil {
		token, err = c.wait(ctx, caller{goroutine: goroutine(), site: callerPC()})
	}
	if err != nil {
		return token, fmt.Errorf("wait for condition %q: %w", c.lock.Name, err)
	}
	return token, nil
}

func (c *Cond) wait(ctx context.Context, by caller) (token uint64, err error) {
	l, err := c.b.enlist(ctx, c.lock)
	if err != nil {
		return 0, err
	}
	if err := c.mu.m.unlock(); err != nil {
		c.giveUp(ctx, l)
		return 0, err
	}
	err = l.wait(ctx)
	token, again := c.mu.m.lock(context.WithoutCancel(ctx), by)
	if again != nil {
		err = again
	}
	return token, err
}

// giveUp ends the wait of a listener. A signal that it has got is for another.
func (c *Cond) giveUp(ctx context.Context, l listener) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if l.wait(ended) == nil {
		_ = c.b.signal(ctx, c.lock, false) // if the node ends, nobody waits here
	}
}

// Signal wakes the one who has waited longest, if somebody waits. Its caller may have the mutex locked, and need not.
// What was written before is seen by the one it wakes. Its errors are ErrClosed, ErrNodeLost if this node is cut off,
// or the cause of ctx.
func (c *Cond) Signal(ctx context.Context) error { return c.signal(ctx, false) }

// Broadcast wakes all who wait, like Signal.
func (c *Cond) Broadcast(ctx context.Context) error { return c.signal(ctx, true) }

func (c *Cond) signal(ctx context.Context, all bool) error {
	err := locks.CheckName(c.lock.Name)
	if err == nil {
		err = c.b.signal(ctx, c.lock, all)
	}
	if err != nil {
		return fmt.Errorf("signal condition %q: %w", c.lock.Name, err)
	}
	return nil
}
