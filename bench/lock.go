package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"pagemesh/dsm"
)

func init() {
	register(Workload{
		Name: "lock", Suite: "micro", MinRanks: 2, Size: 400,
		Purpose: "what a mutex costs that nobody else wants, and one that goes from node to node, next to bare messages",
		Sharing: "ranks 0 and 1 take the same mutexes; the others watch",
		Run:     lock,
	})
}

const (
	// lockMutexes is how many mutexes are measured, one after the other, since a mutex that happens to be
	// homed at a rank that uses it needs fewer messages.
	lockMutexes = 8
	// lockHold is how long a mutex is held, so that the other rank waits for it already.
	lockHold = 100 * time.Microsecond
)

func lock(ctx context.Context, r *Rank) error {
	turns := max(2, r.size()/lockMutexes)
	count := r.homedAt(ctx, "count", 1, 0)                       // one word a mutex, added to without atomicity
	holds := r.homedAt(ctx, "holds", 1+16*turns/r.pageSize(), 1) // where rank 1 tells how long it held which token
	w := openWire(ctx, r)
	defer w.close()
	var cached, handoff, fetched, pair, bare samples
	err := r.Timed(ctx, func() error {
		for i := range lockMutexes {
			m := r.Mutex(strconv.Itoa(i))
			if r.Rank == 0 {
				cached = append(cached, lockCached(ctx, m)...)
			}
			if r.Rank < 2 {
				handoff = append(handoff, r.lockInTurn(ctx, m, turns, holds)...)
				if r.Rank == 0 {
					bare = append(bare, w.handoffs(turns, lockHold)...)
				}
				fetched = append(fetched, r.lockFetched(ctx, m, turns, func() { pair.time(w.pair) })...)
				bump(ctx, m, count, int64(8*i))
			}
			check(r.Barrier(ctx))
		}
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	r.Metric("lock_cached", cached.metric())
	r.Metric("lock_handoff", handoff.metric())
	r.Metric("lock_fetch", fetched.metric())
	r.Metric("raw_pair", pair.metric())
	r.Metric("raw_handoff", bare.metric())
	r.Result.Reading = append(r.Result.Reading, fmt.Sprintf(
		"A mutex that another node keeps comes within %.2f times a bare request and answer; "+
			"one that is waited for comes within %.2f times a bare message at the same pace.",
		fetched.times(pair), handoff.times(bare)))
	wrong := 0
	for i := range lockMutexes {
		n, err := count.Load(ctx, int64(8*i))
		check(err)
		if n != 2*bumps {
			wrong++
		}
	}
	r.Verify(wrong == 0, "%d of %d words that two ranks count in under a mutex lost a count", wrong, lockMutexes)
	return nil
}

// lockCached takes a mutex again and again at the node that has it.
func lockCached(ctx context.Context, m *dsm.Mutex) (s samples) {
	for range 20 {
		s.timeEach(500, func() {
			acquire(ctx, m)
			check(m.Unlock())
		})
	}
	return s
}

// tenure is one possession of a mutex.
type tenure struct {
	token      uint64
	from, till time.Time
}

// lockInTurn has ranks 0 and 1 take a mutex in turn. A sample is the time between two possessions of
// rank 0, less that in which rank 1 had it, by two: the mutex changed hands twice.
func (r *Rank) lockInTurn(ctx context.Context, m *dsm.Mutex, turns int, holds *dsm.Region) (s samples) {
	mine := make([]tenure, turns)
	pair := r.Space.Barrier("bench/"+r.name+"/pair", 2)
	check(pair.Wait(ctx))
	for i := range mine {
		token := acquire(ctx, m)
		mine[i] = tenure{token: token, from: time.Now()}
		time.Sleep(lockHold)
		mine[i].till = time.Now()
		check(m.Unlock())
	}
	if r.Rank == 1 {
		for i, t := range mine {
			check(holds.Store(ctx, int64(16*i), t.token))
			check(holds.Store(ctx, int64(16*i+8), uint64(t.till.Sub(t.from))))
		}
	}
	check(pair.Wait(ctx))
	if r.Rank == 1 {
		return nil
	}
	other := map[uint64]time.Duration{}
	for i := range turns {
		token, err := holds.Load(ctx, int64(16*i))
		check(err)
		held, err := holds.Load(ctx, int64(16*i+8))
		check(err)
		other[token] = time.Duration(held)
	}
	for i, t := range mine[1:] {
		if held, ok := other[t.token-1]; ok && mine[i].token == t.token-2 {
			s = append(s, (t.from.Sub(mine[i].till)-held)/2)
		}
	}
	return s
}

// lockFetched has rank 0 lock a mutex that rank 1 has cached, and in between do what has no lock in it. A sample
// is one Lock.
func (r *Rank) lockFetched(ctx context.Context, m *dsm.Mutex, turns int, between func()) (s samples) {
	pair := r.Space.Barrier("bench/"+r.name+"/pair", 2)
	for range turns {
		check(pair.Wait(ctx))
		if r.Rank == 1 {
			acquire(ctx, m)
			check(m.Unlock())
		}
		check(pair.Wait(ctx))
		if r.Rank == 0 {
			between()
			s.time(func() { acquire(ctx, m) })
			check(m.Unlock())
		}
	}
	return s
}

// bumps is how often each of two ranks counts under a mutex.
const bumps = 200

// bump counts in a word under the mutex.
func bump(ctx context.Context, m *dsm.Mutex, count *dsm.Region, off int64) {
	for range bumps {
		acquire(ctx, m)
		n, err := count.Load(ctx, off)
		check(err)
		check(count.Store(ctx, off, n+1))
		check(m.Unlock())
	}
}
