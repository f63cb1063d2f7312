package dsm

import (
	"context"
	"fmt"
	"sync/atomic"

	"pagemesh/locks"
	"pagemesh/pagetable"
)

// Election has at most one leader in the space at a time, and is known by its name at all nodes. Who campaigns first
// leads first. It is kept by one node, its home, which knows at any time who leads, whoever joins, leaves or is
// lost; if it is lost itself, the others go on. An Election value may be shared by goroutines. To lead twice at
// once, through one value or several, waits for itself.
type Election struct {
	name string
	e    election
}

// Leader is who leads: a node, and the fencing token that Campaign has returned there. The zero Leader is nobody.
type Leader struct {
	Node  pagetable.NodeID
	Token uint64
}

// election is how an Election or a Once is reached: through the node in this process, or one in another.
type election interface {
	// campaign returns a token of 0 if the election is over.
	campaign(ctx context.Context) (token uint64, err error)
	// resign ends the election if over says so.
	resign(over bool) error
	// observe waits for another leader than the one with the token known.
	observe(ctx context.Context, known uint64) (Leader, error)
}

// Election returns the election of that name, 1 to 128 bytes. It asks nobody: an election comes to be with its
// first Campaign, which also says if the name is wrong.
func (s *Space) Election(name string) *Election {
	return &Election{name, s.b.election(locks.Served{Class: locks.Election, Name: name})}
}

// Campaign waits until its caller leads, or ctx ends. It returns a fencing token, as Mutex.Lock does: greater than those
// of all leaders before. Who leads does so until it resigns, its node is lost (Space.Done says so to one that is only
// cut off) or, attached, its program ends. Its errors are ErrClosed, ErrNodeLost if this node is cut off, or the cause
// of ctx.
func (e *Election) Campaign(ctx context.Context) (token uint64, err error) {
	if err = locks.CheckName(e.name); err == nil {
		token, err = e.e.campaign(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("campaign for %q: %w", e.name, err)
	}
	return token, nil
}

// Resign ends what Campaign began. What was written before is seen by whoever leads next, or is told of the change.
// It returns ErrNotHeld if nobody leads through this value.
func (e *Election) Resign() error {
	if err := e.e.resign(false); err != nil {
		return fmt.Errorf("resign from %q: %w", e.name, err)
	}
	return nil
}

// anyLeader is a token that nobody has: everybody is another leader than that.
const anyLeader = 1<<64 - 1

// Leader returns who leads, the zero Leader if nobody does. Its errors are those of Campaign.
func (e *Election) Leader(ctx context.Context) (Leader, error) { return e.observe(ctx, anyLeader) }

// Change waits until the leader is another than known, or ctx ends, and returns who it then is, the zero Leader if
// nobody leads. What changes in between may be missed. Its errors are those of Campaign.
//
//	for l, err := e.Leader(ctx); err == nil; l, err = e.Change(ctx, l) { … }
func (e *Election) Change(ctx context.Context, known Leader) (Leader, error) {
	return e.observe(ctx, known.Token)
}

func (e *Election) observe(ctx context.Context, known uint64) (l Leader, err error) {
	if err = locks.CheckName(e.name); err == nil {
		l, err = e.e.observe(ctx, known)
	}
	if err != nil {
		return Leader{}, fmt.Errorf("observe election %q: %w", e.name, err)
	}
	return l, nil
}

// Once is done once in the space, and is known by its name at all nodes. That it is done is forgotten only when its home
// and all nodes that have called Do are gone. A Once value may be shared by goroutines.
type Once struct {
	name string
	e    election
	done atomic.Bool
}

// Once returns the Once of that name, like Election.
func (s *Space) Once(name string) *Once {
	return &Once{name: name, e: s.b.election(locks.Served{Class: locks.Once, Name: name})}
}

// Do returns when f has been done once in the space: by this call or another one, whose f counts just as well. While one
// does it the others wait, or their ctx ends. If f returns an error or panics, or its node is lost meanwhile, it
// has not been done, and another one of those who wait does theirs. So f may begin more than once, one after the
// other, and end well at most once. (A node that is only cut off may still be at it: f should end with Space.Done.)
// What f wrote is seen by all whose Do has returned. Its errors are that of f, unchanged, and those of
// Election.Campaign.
func (o *Once) Do(ctx context.Context, f func(context.Context) error) error {
	if o.done.Load() {
		return nil
	}
	err := locks.CheckName(o.name)
	var token uint64
	if err == nil {
		token, err = o.e.campaign(ctx)
	}
	if err != nil {
		return fmt.Errorf("do %q once: %w", o.name, err)
	}
	if token > 0 {
		if err := o.try(ctx, f); err != nil {
			return err
		}
	}
	o.done.Store(true)
	return nil
}

// try runs f as the leader, which ends the election if that goes well.
func (o *Once) try(ctx context.Context, f func(context.Context) error) error {
	done := false
	defer func() {
		if !done {
			_ = o.e.resign(false) // if the node ends, so does its leadership
		}
	}()
	if err := f(ctx); err != nil {
		return err
	}
	done = true
	if err := o.e.resign(true); err != nil {
		return fmt.Errorf("do %q once: %w", o.name, err)
	}
	return nil
}
