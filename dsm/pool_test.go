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

	"pagemesh/dsm"
)

func acquire(t testing.TB, s *dsm.Semaphore, n int) {
	t.Helper()
	if err := s.Acquire(patient(t), n); err != nil {
		t.Error(err)
	}
}

func release(t testing.TB, s *dsm.Semaphore, n int) {
	t.Helper()
	if err := s.Release(n); err != nil {
		t.Error(err)
	}
}

func readLock(t testing.TB, mu *dsm.RWMutex) {
	t.Helper()
	if err := mu.RLock(patient(t)); err != nil {
		t.Error(err)
	}
}

func readUnlock(t testing.TB, mu *dsm.RWMutex) {
	t.Helper()
	if err := mu.RUnlock(); err != nil {
		t.Error(err)
	}
}

func writeLock(t testing.TB, mu *dsm.RWMutex) (token uint64) {
	t.Helper()
	token, err := mu.Lock(patient(t))
	if err != nil {
		t.Error(err)
	}
	return token
}

func writeUnlock(t testing.TB, mu *dsm.RWMutex) {
	t.Helper()
	if err := mu.Unlock(); err != nil {
		t.Error(err)
	}
}

// statusOf returns a lock as its home sees it.
func statusOf(t testing.TB, s *dsm.Space, name string) dsm.LockStatus {
	t.Helper()
	all, err := s.Locks(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(l dsm.LockStatus) bool { return l.Name == name })
	if i < 0 {
		t.Fatalf("no lock %q in %+v", name, all)
	}
	return all[i]
}

// TestRWMutexKeepsWritersApart from each other and from readers, at all nodes and goroutines.
func TestRWMutexKeepsWritersApart(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	const goroutines, rounds = 3, 60
	var readers, writers atomic.Int32
	var last, count uint64 // guarded by the mutex
	each(nodes, func(rank int, s *dsm.Space) {
		mu := s.RWMutex("rw")
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				for i := range rounds {
					if (rank+g+i)%3 > 0 {
						readLock(t, mu)
						readers.Add(1)
						if n := writers.Load(); n != 0 {
							t.Errorf("%d write while one reads", n)
						}
						readers.Add(-1)
						readUnlock(t, mu)
						continue
					}
					token := writeLock(t, mu)
					if w, r := writers.Add(1), readers.Load(); w != 1 || r != 0 {
						t.Errorf("%d write and %d read at once", w, r)
					}
					if token <= last {
						t.Errorf("token %d after %d", token, last)
					}
					last = token
					count++
					writers.Add(-1)
					writeUnlock(t, mu)
				}
			})
		}
		wg.Wait()
	})
	if want := uint64(3 * goroutines * rounds / 3); count != want {
		t.Errorf("written %d times, want %d", count, want)
	}
}

// TestReadersAreTogether: a reader at each node, and two at one of them.
func TestReadersAreTogether(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		for _, s := range append(nodes, nodes[1]) {
			readLock(t, s.RWMutex("rw"))
		}
		l := statusOf(t, nodes[2], "rw")
		if l.Kind != "rwmutex" || len(l.Holders) != 3 || l.Holder != 0 {
			t.Errorf("read at three nodes, and the home says %+v", l)
		}
	})
}

// TestWriterDoesNotStarve: those who come to read after a writer has begun to wait are behind it.
func TestWriterDoesNotStarve(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		first := nodes[1].RWMutex("rw")
		readLock(t, first)
		var mu sync.Mutex
		var order []string
		note := func(who string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, who)
		}
		go func() {
			w := nodes[2].RWMutex("rw")
			writeLock(t, w)
			note("writer")
			writeUnlock(t, w)
		}()
		synctest.Wait()
		for _, s := range nodes { // among them the node that reads already
			go func() {
				r := s.RWMutex("rw")
				readLock(t, r)
				note("reader")
				readUnlock(t, r)
			}()
		}
		synctest.Wait()
		if len(order) != 0 {
			t.Errorf("%v have the mutex while one reads and a writer waits", order)
		}
		readUnlock(t, first)
		synctest.Wait()
		if want := []string{"writer", "reader", "reader", "reader"}; !slices.Equal(order, want) {
			t.Errorf("served %v, want %v", order, want)
		}
	})
}

// TestKeptRightsCostNoMessage: who has read, written or had permits before does so again by itself.
func TestKeptRightsCostNoMessage(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		var readers []*dsm.RWMutex
		for _, s := range nodes {
			mu := s.RWMutex("read")
			readLock(t, mu)
			readUnlock(t, mu)
			readers = append(readers, mu)
		}
		w, s := nodes[2].RWMutex("written"), nodes[1].Semaphore("s", 3)
		use := func() {
			for _, mu := range readers {
				readLock(t, mu)
				readUnlock(t, mu)
			}
			writeLock(t, w)
			writeUnlock(t, w)
			readLock(t, w)
			readUnlock(t, w)
			acquire(t, s, 1)
			acquire(t, s, 1)
			release(t, s, 2)
		}
		use()
		synctest.Wait()
		var before []dsm.NodeStats
		for _, n := range nodes {
			before = append(before, n.Stats())
		}
		for range 100 {
			use()
		}
		synctest.Wait()
		for i, n := range nodes {
			if got := n.Stats().MessagesOut - before[i].MessagesOut; got != 0 {
				t.Errorf("node %d has sent %d messages", i, got)
			}
		}
	})
}

// TestCanceledRequestsHoldNobodyUp: a writer, or one who wants many permits, gives up; those behind go on.
func TestCanceledRequestsHoldNobodyUp(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		readLock(t, nodes[0].RWMutex("rw"))
		acquire(t, nodes[0].Semaphore("s", 3), 2)
		ctx, cancel := context.WithCancel(t.Context())
		var ended, went atomic.Int32
		go func() {
			_, err := nodes[1].RWMutex("rw").Lock(ctx)
			wantError(t, "canceled Lock", err, context.Canceled)
			ended.Add(1)
		}()
		go func() {
			wantError(t, "canceled Acquire", nodes[1].Semaphore("s", 3).Acquire(ctx, 3), context.Canceled)
			ended.Add(1)
		}()
		synctest.Wait()
		go func() {
			readLock(t, nodes[2].RWMutex("rw"))
			acquire(t, nodes[2].Semaphore("s", 3), 1)
			went.Add(1)
		}()
		synctest.Wait()
		if went.Load() != 0 || ended.Load() != 0 {
			t.Error("somebody has gone on")
		}
		cancel()
		synctest.Wait()
		if went.Load() != 1 || ended.Load() != 2 {
			t.Errorf("after the cancel %d of 2 have ended and %d of 1 gone on", ended.Load(), went.Load())
		}
	})
}

func TestSemaphoreLetsSoManyIn(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	const permits, rounds = 4, 80
	var inside, most atomic.Int32
	each(nodes, func(rank int, s *dsm.Space) {
		sem := s.Semaphore("s", permits)
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for i := range rounds {
					n := 1 + (rank+g+i)%permits
					acquire(t, sem, n)
					in := inside.Add(int32(n))
					for m := most.Load(); in > m && !most.CompareAndSwap(m, in); m = most.Load() {
					}
					inside.Add(int32(-n))
					release(t, sem, n)
				}
			})
		}
		wg.Wait()
	})
	if most.Load() > permits || inside.Load() != 0 {
		t.Errorf("%d had permits at once, %d have them now", most.Load(), inside.Load())
	}
}

func TestSemaphoresAreUsedAlike(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	acquire(t, nodes[0].Semaphore("s", 2), 1)
	wantError(t, "acquire of 3", nodes[1].Semaphore("s", 3).Acquire(patient(t), 1), dsm.ErrMismatch)
	for _, c := range []struct {
		name       string
		permits, n int
		says       string
	}{
		{"", 1, 1, "lock name has 0 bytes"},
		{"s", 0, 1, "semaphore has 0 permits"},
		{"s", -1, 1, "semaphore has -1 permits"},
		{"s", 1 << 30, 1, "permits: want 1 to"},
		{"s", 2, 0, "0 permits: want 1 to 2"},
		{"s", 2, 3, "3 permits: want 1 to 2"},
	} {
		err := nodes[1].Semaphore(c.name, c.permits).Acquire(patient(t), c.n)
		if err == nil || !contains(err, c.says) {
			t.Errorf("acquire %d of %q of %d: %v, want one line with %q", c.n, c.name, c.permits, err, c.says)
		}
		wantError(t, "release", nodes[1].Semaphore(c.name, c.permits).Release(c.n), dsm.ErrNotHeld)
	}
}

func TestReleaseNeedsAnAcquire(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	mu := nodes[0].RWMutex("rw")
	wantError(t, "unlock", mu.Unlock(), dsm.ErrNotHeld)
	wantError(t, "read-unlock", mu.RUnlock(), dsm.ErrNotHeld)
	readLock(t, mu)
	wantError(t, "unlock by a reader", mu.Unlock(), dsm.ErrNotHeld)
	readUnlock(t, mu)
	writeLock(t, mu)
	wantError(t, "read-unlock by a writer", mu.RUnlock(), dsm.ErrNotHeld)
	wantError(t, "unlock through another value", nodes[0].RWMutex("rw").Unlock(), dsm.ErrNotHeld)
	writeUnlock(t, mu)
	sem := nodes[1].Semaphore("s", 3)
	acquire(t, sem, 2)
	wantError(t, "release of more", sem.Release(3), dsm.ErrNotHeld)
	release(t, sem, 1)
	release(t, sem, 1)
	wantError(t, "release of nothing", sem.Release(1), dsm.ErrNotHeld)
}

// TestPermitsOfALostNodeComeBack, and those of one that leaves, wherever the lock was homed.
func TestPermitsOfALostNodeComeBack(t *testing.T) {
	for name, end := range map[string]func(*dsm.Space) error{
		"lost": (*dsm.Space).Close,
		"left": func(s *dsm.Space) error { return s.Leave(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, 4, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
				const locks = 8
				lost := nodes[2]
				for i := range locks {
					mu, sem := lost.RWMutex(fmt.Sprint("rw", i)), lost.Semaphore(fmt.Sprint("s", i), 2)
					writeLock(t, mu)
					acquire(t, sem, 2)
					if name == "left" {
						writeUnlock(t, mu)
						release(t, sem, 2)
					}
				}
				var had atomic.Int32
				for i := range locks {
					go func() {
						writeLock(t, nodes[1].RWMutex(fmt.Sprint("rw", i)))
						acquire(t, nodes[3].Semaphore(fmt.Sprint("s", i), 2), 2)
						had.Add(1)
					}()
				}
				synctest.Wait()
				if err := end(lost); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if had.Load() != locks {
					t.Errorf("%d of %d have got what the node had", had.Load(), locks)
				}
			})
		})
	}
}

func init() {
	programs["pools"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "pools", dsm.RegionOptions{Size: 4096})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[int64](r)
		if err != nil {
			return err
		}
		mu, sem := p.RWMutex("rw"), p.Semaphore("s", 2)
		for i := range p.n {
			if i%4 != 0 {
				if err := mu.RLock(ctx); err != nil {
					return err
				}
				if words[0] != words[1] {
					return fmt.Errorf("reads %d and %d", words[0], words[1])
				}
				if err := mu.RUnlock(); err != nil {
					return err
				}
				continue
			}
			if _, err := mu.Lock(ctx); err != nil {
				return err
			}
			words[0]++
			words[1]++
			if err := mu.Unlock(); err != nil {
				return err
			}
			if err := sem.Acquire(ctx, 1); err != nil {
				return err
			}
			if n := atomic.AddInt64(&words[2], 1); n > 2 {
				return fmt.Errorf("%d have permits", n)
			}
			atomic.AddInt64(&words[2], -1)
			if err := sem.Release(1); err != nil {
				return err
			}
		}
		if err := p.barrier(ctx, "counted"); err != nil {
			return err
		}
		fmt.Println(words[0], words[1])
		if p.rank > 0 {
			_, err := mu.Lock(ctx) // the program ends with it
			return err
		}
		return nil
	}
}

// TestAttachedProgramsSharePools: several programs, two of them at one node, which also end with the lock held.
func TestAttachedProgramsSharePools(t *testing.T) {
	spaces, sockets := serving(t, 2)
	const n = 200
	want := fmt.Sprintf("%d %d", 3*n/4, 3*n/4)
	for rank, got := range runPrograms(t, "pools", []string{sockets[0], sockets[1], sockets[1]}, n) {
		if strings.TrimSpace(got) != want {
			t.Errorf("program %d says %q, want %q", rank, got, want)
		}
	}
	mu := spaces[0].RWMutex("rw")
	writeLock(t, mu)
	writeUnlock(t, mu)
}
