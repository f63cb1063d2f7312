package dsm

import (
	"fmt"

	"pagemesh/locks"
	"pagemesh/pagetable"
)

// wakening is how a wait ended: as the machine says, or by err.
type wakening struct {
	locks.Woken
	from pagetable.NodeID // whose message ended it, 0 if none
	err  error
}

// endedWait is a wait whose then is to be called.
type endedWait struct {
	then func(wakening)
	how  wakening
}

// holds reports whether the waiter has what it waited for.
func (w wakening) holds() bool { return w.err == nil && w.Err.Holds() }

func (w wakening) error() error {
	switch {
	case w.err != nil:
		return w.err
	case w.Err == locks.OK, w.Err == locks.Over:
		return nil
	case w.Err == locks.OwnerDied:
		return ErrOwnerDied
	case w.Err == locks.Mismatch:
		return fmt.Errorf("%w: others use it with another number of parties or permits", ErrMismatch)
	case w.Err == locks.Leaving, w.Err == locks.Canceled:
		return ErrClosed
	}
	return ErrNodeLost
}

// loss says why what a wait was for is broken. The caller holds e.mu.
func (e *syncEngine) loss() error {
	if len(e.lost) == 0 {
		return fmt.Errorf("%w: it took part, or kept the lock, before this node came", ErrNodeLost)
	}
	return fmt.Errorf("%w: one of %v took part, or kept the lock", ErrNodeLost, e.lost)
}
