package dsm

import (
	"context"
	"fmt"
	"sync/atomic"

	"pagemesh/pagetable"
)

// MaxGuarded is how many bytes a Mutex value may guard.
const MaxGuarded = 1 << 20

// guards are the ranges that a Mutex value guards.
type guards struct {
	ranges []guarded
	bytes  int64
	last   atomic.Uint64 // token of the last Lock
}

// guarded is a range of a region.
type guarded struct {
	r *Region
	span
}

// Guards binds the mutex to the bytes [off, off+n) of a region: when Lock returns, their pages are here, and none of
// the accesses to them waits for another node, as long as no others use the same pages. Those that are missing are
// asked for together, by Lock, which takes one round trip longer then. In a release region they rarely are: the nodes
// that lock the mutex in turn are sent what others write, ahead of the mutex (see "Release regions" in the package
// comment). In a sequential region the pages come for writing.
//
// It holds for this value, from the next Lock on. Other nodes, and other values, need not say so; data under the
// mutex that lies elsewhere stays as right as before. To guard several ranges call it several times. MaxGuarded
// bounds their sum, else the error is ErrRange. Guards must not be called at the same time as Lock.
//
// An attached program that locks the mutex again before anybody else did asks for nothing. If a page can't be had,
// Lock says nothing of it, the access to it does.
func (m *Mutex) Guards(r *Region, off, n int64) error {
	if err := r.check(off, n); err != nil {
		return fmt.Errorf("mutex %q guards: %w", m.name, err)
	}
	if n > MaxGuarded-m.guards.bytes {
		return fmt.Errorf("mutex %q guards %d bytes and %d more, want at most %d: %w", m.name, m.guards.bytes, n, MaxGuarded, ErrRange)
	}
	m.guards.bytes += n
	m.guards.ranges = append(m.guards.ranges, guarded{r, span{off, n}})
	return nil
}

// bring brings what the mutex guards to this node. The caller has just locked it.
func (m *Mutex) bring(ctx context.Context, token uint64) {
	again := m.guards.last.Swap(token)+1 == token
	if _, here := m.m.(*nodeMutex); again && !here {
		return // a question to the node takes longer than all the rest
	}
	for _, g := range m.guards.ranges {
		access := pagetable.WriteAccess
		if g.r.Consistency() == pagetable.Release {
			access = pagetable.ReadAccess // a first write takes no message
		}
		_ = g.r.Prefetch(ctx, g.off, g.n, access) // whoever needs the page finds out
	}
}
