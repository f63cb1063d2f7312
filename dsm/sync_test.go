package dsm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func lock(t testing.TB, mu *dsm.Mutex) (token uint64) {
	t.Helper()
	token, err := mu.Lock(patient(t))
	if err != nil {
		t.Error(err)
	}
	return token
}

func unlock(t testing.TB, mu *dsm.Mutex) {
	t.Helper()
	if err := mu.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestMutexIsFirstComeFirstServed by nodes: a further waiter of a node that is followed by another in the
// queue goes to its end once that node had its turn.
func TestMutexIsFirstComeFirstServed(t *testing.T) {
	inMemory(t, 4, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		first := nodes[1].Mutex("m")
		lock(t, first)
		var order []int // guarded by the mutex
		queue := []int{2, 2, 0, 3, 1, 1, 3}
		for place, i := range queue {
			go func() {
				mu := nodes[i].Mutex("m")
				lock(t, mu)
				order = append(order, place)
				unlock(t, mu)
			}()
			synctest.Wait()
		}
		unlock(t, first)
		synctest.Wait()
		if !slices.IsSorted(order) || len(order) != len(queue) {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestMutexExcludesAndTokensGrow(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	const goroutines, rounds = 3, 60
	var inside atomic.Int32
	var last, count uint64 // guarded by the mutex
	each(nodes, func(_ int, s *dsm.Space) {
		shared := s.Mutex("m")
		var wg sync.WaitGroup
		for g := range goroutines {
			mu := shared // one value for several goroutines, or one each
			if g == 0 {
				mu = s.Mutex("m")
			}
			wg.Go(func() {
				for range rounds {
					token := lock(t, mu)
					if inside.Add(1) != 1 {
						t.Error("two have the mutex")
					}
					if token <= last {
						t.Errorf("token %d after %d", token, last)
					}
					last = token
					count++
					inside.Add(-1)
					unlock(t, mu)
				}
			})
		}
		wg.Wait()
	})
	if want := uint64(3 * goroutines * rounds); count != want {
		t.Errorf("locked %d times, want %d", count, want)
	}
}

func TestCachedMutexCostsNoMessage(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		for i, s := range nodes {
			mu := s.Mutex("m")
			lock(t, mu)
			unlock(t, mu)
			synctest.Wait()
			before := s.Stats()
			for range 100 {
				lock(t, mu)
				unlock(t, mu)
			}
			synctest.Wait()
			if after := s.Stats(); after != before {
				t.Errorf("node %d: %d messages for a mutex that is here", i, after.MessagesOut-before.MessagesOut)
			}
		}
	})
}

func TestUnlockNeedsALock(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	mu, other := nodes[0].Mutex("m"), nodes[0].Mutex("m")
	wantError(t, "unlock of a new mutex", mu.Unlock(), dsm.ErrNotHeld)
	lock(t, mu)
	wantError(t, "unlock through another value", other.Unlock(), dsm.ErrNotHeld)
	wantError(t, "unlock at another node", nodes[1].Mutex("m").Unlock(), dsm.ErrNotHeld)
	unlock(t, mu)
	wantError(t, "second unlock", mu.Unlock(), dsm.ErrNotHeld)
	lock(t, other)
	unlock(t, other)
}

func TestMutexIsNotReentrant(t *testing.T) {
	inMemory(t, 1, dsm.Config{DeadlockAfter: -1}, func(t *testing.T, nodes []*dsm.Space) {
		mu := nodes[0].Mutex("m")
		lock(t, mu)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := mu.Lock(ctx)
		wantError(t, "second lock", err, context.DeadlineExceeded)
		unlock(t, mu)
		lock(t, mu)
	})
}

// TestCancelledLockIsSkipped cancels waiters at every place of the queue.
func TestCancelledLockIsSkipped(t *testing.T) {
	for skipped := range 4 {
		inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
			first := nodes[0].Mutex("m")
			lock(t, first)
			ctx, cancel := context.WithCancel(t.Context())
			var order []int
			for place := range 4 {
				go func() {
					mu := nodes[(place+1)%3].Mutex("m")
					if place == skipped {
						_, err := mu.Lock(ctx)
						wantError(t, "cancelled lock", err, context.Canceled)
						return
					}
					lock(t, mu)
					order = append(order, place)
					unlock(t, mu)
				}()
				synctest.Wait()
			}
			cancel()
			synctest.Wait()
			unlock(t, first)
			synctest.Wait()
			if want := slices.DeleteFunc([]int{0, 1, 2, 3}, func(p int) bool { return p == skipped }); !slices.Equal(order, want) {
				t.Errorf("without waiter %d: served %v", skipped, order)
			}
		})
	}
}

// TestMutexMakesWritesVisible: what was written under the mutex, by whatever means, is read under it.
func TestMutexMakesWritesVisible(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 1 << 14})
	const rounds = 50
	each(nodes, func(i int, s *dsm.Space) {
		mu := s.Mutex("m")
		for range rounds {
			lock(t, mu)
			v, err := dsm.ViewOf[uint64](patient(t), regions[i], 0, 1<<14/8, write)
			if err != nil {
				t.Error(err)
			}
			more := v.Slice()[0]%7 + 1
			for j := range v.Slice() {
				v.Slice()[j] += more // all words stay equal
			}
			v.Release()
			unlock(t, mu)
		}
	})
	all := make([]byte, 1<<14)
	if _, err := regions[2].ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	first := string(all[:8])
	if string(all) != strings.Repeat(first, 1<<14/8) {
		t.Error("words that were written together differ")
	}
}

func TestLeaveHandsMutexesOn(t *testing.T) {
	for leaver := range 3 {
		inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
			s, other := nodes[leaver], nodes[(leaver+1)%3]
			held, cached := s.Mutex("held"), s.Mutex("cached")
			token := lock(t, held)
			cachedToken := lock(t, cached)
			unlock(t, cached)
			outside := finished(func() {
				if got := lock(t, other.Mutex("held")); got <= token {
					t.Errorf("token %d after %d", got, token)
				}
			})
			inside := finished(func() {
				_, err := s.Mutex("held").Lock(patient(t))
				wantError(t, "lock at the node that leaves", err, dsm.ErrClosed)
			})
			outside()
			inside()
			ctx := patient(t)
			left := finished(func() {
				if err := s.Leave(ctx); err != nil {
					t.Error(err)
				}
			})
			if left() || outside() || !inside() {
				t.Error("it left with a mutex, or lets others wait for it in vain")
			}
			unlock(t, held)
			time.Sleep(time.Second)
			if !left() || !outside() {
				t.Error("it does not go on after Unlock")
			}
			if got := lock(t, nodes[(leaver+2)%3].Mutex("cached")); got <= cachedToken {
				t.Errorf("token %d after %d", got, cachedToken)
			}
		})
	}
}

func TestBarrierLetsAllGoAtOnce(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		for phase := range 5 {
			var ended []func() bool
			for i := range 5 {
				ended = append(ended, finished(func() {
					if err := nodes[(i+phase)%3].Barrier("b", 5).Wait(patient(t)); err != nil {
						t.Error(err)
					}
				}))
				for j, e := range ended {
					if e() != (i == 4) {
						t.Fatalf("phase %d: %d have arrived and number %d goes on is %v", phase, i+1, j, i != 4)
					}
				}
			}
		}
	})
}

func TestBarrierCountsWaits(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	var phase [12]int // by waiter, guarded by nothing but the barrier
	each(nodes, func(i int, s *dsm.Space) {
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for range 20 {
					if err := s.Barrier("b", 12).Wait(patient(t)); err != nil {
						t.Error(err)
						return
					}
					phase[i*6+g]++
					if err := s.Barrier("c", 12).Wait(patient(t)); err != nil {
						t.Error(err)
						return
					}
					if p := phase[(i*6+g+7)%12]; p != phase[i*6+g] {
						t.Errorf("phases %v", phase)
					}
					if err := s.Barrier("d", 12).Wait(patient(t)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
	if err := nodes[0].Barrier("alone", 1).Wait(patient(t)); err != nil {
		t.Error(err)
	}
}

func TestCancelledArrivalIsTakenBack(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := finished(func() {
			wantError(t, "wait", nodes[1].Barrier("b", 2).Wait(ctx), context.Canceled)
		})
		gaveUp()
		cancel()
		if !gaveUp() {
			t.Fatal("it does not give up")
		}
		var ended [2]func() bool
		for i := range ended {
			if i == 1 && ended[0]() {
				t.Error("one goes on with an arrival that was taken back")
			}
			ended[i] = finished(func() {
				if err := nodes[2*i].Barrier("b", 2).Wait(patient(t)); err != nil {
					t.Error(err)
				}
			})
		}
		if !ended[0]() || !ended[1]() {
			t.Error("two have arrived and wait")
		}
	})
}

// TestLeaveTakesArrivalsBack: a barrier whose waiter has left waits for another one.
func TestLeaveTakesArrivalsBack(t *testing.T) {
	for leaver := range 3 {
		inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
			waits := func(i int) func() bool {
				return finished(func() {
					err := nodes[i].Barrier("b", 2).Wait(patient(t))
					if i == leaver {
						wantError(t, "wait at the node that leaves", err, dsm.ErrClosed)
					} else if err != nil {
						t.Error(err)
					}
				})
			}
			left := waits(leaver)
			left()
			if err := nodes[leaver].Leave(patient(t)); err != nil {
				t.Fatal(err)
			}
			one := waits((leaver + 1) % 3)
			if !left() || one() {
				t.Error("an arrival has outlived its node")
			}
			if two := waits((leaver + 2) % 3); !two() || !one() {
				t.Error("two have arrived and wait")
			}
		})
	}
}

func TestBarrierPartiesMustAgree(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		one := finished(func() {
			if err := nodes[0].Barrier("b", 2).Wait(patient(t)); err != nil {
				t.Error(err)
			}
		})
		one()
		for i, s := range nodes {
			for _, parties := range []int{1, 3} {
				wantError(t, fmt.Sprintf("%d parties at node %d", parties, i), s.Barrier("b", parties).Wait(patient(t)), dsm.ErrMismatch)
			}
		}
		if one() {
			t.Error("it goes on with those who were refused")
		}
		if err := nodes[2].Barrier("b", 2).Wait(patient(t)); err != nil || !one() {
			t.Errorf("the barrier is spoiled: %v", err)
		}
	})
}

func TestSyncRefusesBadNames(t *testing.T) {
	s := openNodes(t, 1, dsm.Config{})[0]
	long := strings.Repeat("x", 129)
	for _, name := range []string{"", long} {
		if _, err := s.Mutex(name).Lock(patient(t)); err == nil || !contains(err, "128") {
			t.Errorf("mutex with a name of %d bytes: %v", len(name), err)
		}
		if err := s.Barrier(name, 1).Wait(patient(t)); err == nil || !contains(err, "128") {
			t.Errorf("barrier with a name of %d bytes: %v", len(name), err)
		}
	}
	for _, parties := range []int{0, -1, 1 << 40} {
		if err := s.Barrier("b", parties).Wait(patient(t)); err == nil || !contains(err, "parties") {
			t.Errorf("barrier of %d: %v", parties, err)
		}
	}
	if err := s.Barrier(long[:128], 1).Wait(patient(t)); err != nil {
		t.Error(err)
	}
}

func TestLockStatus(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		mu := nodes[1].Mutex("m")
		token := lock(t, mu)
		for _, i := range []int{2, 0} {
			go func() {
				w := nodes[i].Mutex("m")
				lock(t, w)
				unlock(t, w)
			}()
			synctest.Wait()
		}
		go func() { _ = nodes[2].Barrier("b", 2).Wait(patient(t)) }()
		synctest.Wait()
		for _, s := range nodes {
			list, err := s.Locks(patient(t))
			if err != nil || len(list) != 2 {
				t.Fatalf("%+v, %v", list, err)
			}
			b, m := list[0], list[1]
			if b.Name != "b" || b.Kind != "barrier" || b.Parties != 2 || b.Arrived != 1 || b.Broken ||
				!slices.Equal(b.Waiting, []pagetable.NodeID{3}) {
				t.Errorf("%+v", b)
			}
			if m.Name != "m" || m.Kind != "mutex" || m.Holder != 2 || m.Token != token || m.OwnerDied ||
				!slices.Equal(m.Waiting, []pagetable.NodeID{3, 1}) {
				t.Errorf("%+v", m)
			}
		}
		unlock(t, mu)
		if err := nodes[0].Barrier("b", 2).Wait(patient(t)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		list, err := nodes[0].Locks(patient(t))
		if err != nil || list[0].Acquires != 1 || list[0].Arrived != 0 || list[1].Acquires != 3 || list[1].Holder != 1 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}
