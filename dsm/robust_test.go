package dsm_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"pagemesh/dsm"
)

// TestNextHolderHearsOfADeath: a node dies with mutexes that it has locked; others wait for half of them, and
// each node is the home of some. One holder of each hears of it, with a greater token, and nobody after it.
func TestNextHolderHearsOfADeath(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	const mutexes = 24
	var before [mutexes]uint64
	var waiters [mutexes]*dsm.Mutex
	var heard [mutexes]chan error
	hear := func(i int) {
		token, err := waiters[i].Lock(patient(t))
		if token <= before[i] {
			err = fmt.Errorf("token %d after %d, error %w", token, before[i], err)
		}
		heard[i] <- err
	}
	for i := range mutexes {
		name := fmt.Sprintf("m%d", i)
		before[i] = lock(t, nodes[2].Mutex(name))
		waiters[i], heard[i] = nodes[1].Mutex(name), make(chan error, 1)
		if i%2 == 0 {
			go hear(i)
		}
	}
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	for i := range mutexes {
		if i%2 == 1 {
			hear(i)
		}
		wantError(t, fmt.Sprintf("the next lock of m%d", i), <-heard[i], dsm.ErrOwnerDied)
		unlock(t, waiters[i])
		after := nodes[0].Mutex(fmt.Sprintf("m%d", i))
		lock(t, after)
		unlock(t, after)
	}
}

// TestDeathElsewhereIsNone: a node that waits for a mutex is lost, and one that has passed it on. Nobody hears of a
// death.
func TestDeathElsewhereIsNone(t *testing.T) {
	inMemory(t, 4, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		first, held, after := nodes[3].Mutex("m"), nodes[0].Mutex("m"), nodes[1].Mutex("m")
		lock(t, first)
		unlock(t, first)
		lock(t, held)
		go func() {
			_, err := nodes[2].Mutex("m").Lock(patient(t))
			wantError(t, "the wait of a node that is closed", err, dsm.ErrClosed)
		}()
		synctest.Wait()
		for _, lost := range nodes[2:] {
			if err := lost.Close(); err != nil {
				t.Fatal(err)
			}
		}
		awaitProbes()
		synctest.Wait()
		unlock(t, held)
		lock(t, after)
		unlock(t, after)
	})
}
