package dsm

import (
	"context"
	"errors"
	"fmt"
	"math"

	"pagemesh/locks"
)

// Counter is a number of the space, known by its name at all nodes, 0 at first. It is kept by one node, its
// home, to which every call is a message and back; additions that goroutines of one node make while another is
// under way go together. A Counter value may be shared by goroutines.
//
// An addition counts once, whoever joins, leaves or is lost meanwhile, and what was added stays when its
// node goes. A counter whose home is lost is lost with it, since only the home knows what itself and nodes
// that are gone have added: from then on its calls return ErrNodeLost, at all nodes that have used it. (If none
// has but those that are lost, nobody remembers it, and it starts anew.)
type Counter struct {
	lock locks.Served
	b    servedLocks
}

// servedLocks are reached through the node in this process, or one in another.
type servedLocks interface {
	add(ctx context.Context, lock locks.Served, delta int64) (value int64, err error)
	watch(ctx context.Context, lock locks.Served, until condition) (value int64, err error)
	election(lock locks.Served) election
	// enlist returns when the lock's home knows that somebody waits for a signal.
	enlist(ctx context.Context, lock locks.Served) (listener, error)
	signal(ctx context.Context, lock locks.Served, all bool) error
}

// condition is that a number is at least, or at most, some bound.
type condition struct {
	bound int64
	most  bool
}

// span returns the numbers that satisfy c.
func (c condition) span() (low, high int64) {
	if c.most {
		return math.MinInt64, c.bound
	}
	return c.bound, math.MaxInt64
}

// Counter returns the counter of that name, 1 to 128 bytes. It asks nobody: a counter comes to be with its
// first use, which also says if the name is wrong.
func (s *Space) Counter(name string) *Counter {
	return &Counter{lock: locks.Served{Class: locks.Count, Name: name}, b: s.b}
}

// Add adds delta, which may be negative, and returns what the counter is with it; it wraps around like
// atomic.AddInt64. If ctx ends before the addition is on its way it does not count, and the error is its cause;
// otherwise Add waits for the answer. Its other errors are ErrNodeLost if the counter or this node is lost, after
// which nobody knows whether it counted, and ErrClosed. What was written before Add is seen by whoever gets a value
// that delta is part of.
func (c *Counter) Add(ctx context.Context, delta int64) (value int64, err error) {
	if err = locks.CheckName(c.lock.Name); err == nil {
		value, err = c.b.add(ctx, c.lock, delta)
	}
	if err != nil {
		return 0, fmt.Errorf("add to %v %q: %w", c.lock.Class, c.lock.Name, err)
	}
	return value, nil
}

// Load returns what the counter is. Its errors are those of AtLeast.
func (c *Counter) Load(ctx context.Context) (value int64, err error) {
	return c.AtLeast(ctx, math.MinInt64)
}

// AtLeast waits until the counter is bound or more, or ctx ends, and returns what it then is. A value that it has
// only for a moment may be missed. Its errors are ErrNodeLost if the counter or this node is lost, ErrClosed, or the
// cause of ctx.
func (c *Counter) AtLeast(ctx context.Context, bound int64) (value int64, err error) {
	return c.watch(ctx, condition{bound: bound})
}

// AtMost waits until the counter is bound or less, like AtLeast.
func (c *Counter) AtMost(ctx context.Context, bound int64) (value int64, err error) {
	return c.watch(ctx, condition{bound: bound, most: true})
}

func (c *Counter) watch(ctx context.Context, until condition) (value int64, err error) {
	if err = locks.CheckName(c.lock.Name); err == nil {
		value, err = c.b.watch(ctx, c.lock, until)
	}
	if err != nil {
		return 0, fmt.Errorf("watch %v %q: %w", c.lock.Class, c.lock.Name, err)
	}
	return value, nil
}

// WaitGroup counts what is still to be done in the space, and is known by its name at all nodes. It is kept
// like a Counter, and lost like one. A node that is lost does not do what it had to: somebody else must do that,
// and Done, or whoever waits ends by its context.
type WaitGroup struct{ c Counter }

// WaitGroup returns the wait group of that name, like Counter. It shares nothing with the Counter of that name.
func (s *Space) WaitGroup(name string) *WaitGroup {
	return &WaitGroup{Counter{lock: locks.Served{Class: locks.WaitGroup, Name: name}, b: s.b}}
}

// errNegative says that more was done than there was to do.
var errNegative = errors.New("more is done than was added")

// Add says that there is so much more to do, or less if delta is negative. It comes before the work begins that it
// stands for. Its errors are those of Counter.Add, and one if more is done than was added.
func (g *WaitGroup) Add(ctx context.Context, delta int) error {
	value, err := g.c.Add(ctx, int64(delta))
	if err == nil && value < 0 {
		err = fmt.Errorf("waitgroup %q: %w", g.c.lock.Name, errNegative)
	}
	return err
}

// Done says that something is done. What was written before is seen by whoever Wait lets go because of it. Its
// errors are those of Add.
func (g *WaitGroup) Done(ctx context.Context) error { return g.Add(ctx, -1) }

// Wait waits until nothing is left to do, or ctx ends. Its errors are those of Counter.AtLeast. The group may then be
// used again; a Wait that has not returned by then may wait for what is added anew.
func (g *WaitGroup) Wait(ctx context.Context) error {
	_, err := g.c.AtMost(ctx, 0)
	return err
}
