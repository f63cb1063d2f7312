package dsm

import (
	"testing"
	"time"
)

// TestLocksAreUsedOncePlaced: a node has a view with the homes of locks before its lock machine has. A
// goroutine that waits for the first time just then must not be let through: the machine would send it to
// the coordinator, which has no such lock and takes that for a broken protocol.
func TestLocksAreUsedOncePlaced(t *testing.T) {
	space, err := Open(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	s := space.b.(*node)
	e := &s.sync
	e.mu.Lock() // the machine learns of no view
	placed := make(chan error)
	go func() {
		_, err := s.propose(t.Context(), change{kind: changeLocks})
		placed <- err
	}()
	for len(s.view().Locks.Nodes) == 0 {
		time.Sleep(time.Millisecond)
	}
	if e.prepared() {
		t.Error("locks can be used before their homes are known")
	}
	e.mu.Unlock()
	if err := <-placed; err != nil || !e.prepared() {
		t.Errorf("the homes are known: %v, %v", e.prepared(), err)
	}
}
