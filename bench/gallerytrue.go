package bench

import (
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// The exhibits of what is truly shared, and in the wrong way.
func init() {
	// Where processors are short, a rank may come too late to want the page while another has it.
	wanted := []sharing.Class{sharing.Thrashing, sharing.Contended, sharing.Migratory}
	exhibit{
		name: "ping-pong-word", purpose: "thrashing by a word that says whose turn it is, cured by a barrier", size: 200,
		sharing: "all ranks look at one word until it is their turn", classes: wanted, names: []string{"[]score[0].Hits"}, function: "turns",
		cure:    "batch",
		culprit: func(g *gallery) scene { return turns(g, false) },
		cured:   func(g *gallery) scene { return turns(g, true) },
	}.register()
	exhibit{
		name: "hot-lock-word", purpose: "thrashing by a lock that is words of shared memory, cured by a mutex", size: 100,
		sharing: "all ranks count under one lock", classes: wanted, names: []string{"[]latch[0].Next to .Value"}, function: "hotLock",
		cure:    "mutex",
		culprit: func(g *gallery) scene { return hotLock(g, false) },
		cured:   func(g *gallery) scene { return hotLock(g, true) },
	}.register()
	exhibit{
		name: "migratory-object", purpose: "an object that every rank changes in turn, cured by letting one do it", size: 200,
		sharing: "ranks take turns at one object", classes: []sharing.Class{sharing.Migratory},
		names: []string{"[]score[0].Hits to .Misses"}, function: "addBoth",
		cure:    "batch",
		culprit: func(g *gallery) scene { return migratory(g, func(round int) int { return round % g.Ranks }) },
		cured:   func(g *gallery) scene { return migratory(g, func(int) int { return 0 }) },
	}.register()
	exhibit{
		name: "misplaced-home", purpose: "pages homed at a node that does not use them, cured by placement", size: 200,
		sharing: "each rank writes pages of its own", classes: []sharing.Class{sharing.MisplacedHome}, function: "misplaced",
		cure:    "home",
		culprit: func(g *gallery) scene { return misplaced(g, 1) },
		cured:   func(g *gallery) scene { return misplaced(g, 0) },
	}.register()
	exhibit{
		name: "lock-apart", purpose: "data that follows its mutex in messages of its own, cured by doing more under one lock", size: 200,
		sharing: "all ranks change two words under one mutex", classes: []sharing.Class{sharing.LockApart},
		names: []string{"[]score[0].Hits to .Misses"}, function: "addBoth",
		cure:    "batch",
		culprit: func(g *gallery) scene { return lockApart(g, 1) },
		cured:   func(g *gallery) scene { return lockApart(g, 50) },
	}.register()
	exhibit{
		name: "small-messages", purpose: "one word of a page at a time from a producer to consumers, cured by batches", size: 400,
		sharing: "rank 0 writes numbers, the others read them", classes: []sharing.Class{sharing.ProducerConsumer},
		names: []string{"[]int64[0]"}, function: "smallMessages",
		cure:    "batch",
		culprit: func(g *gallery) scene { return smallMessages(g, 1) },
		cured:   func(g *gallery) scene { return smallMessages(g, g.n) },
	}.register()
}

// turns has ranks take turns, each when the word in which all of them count says so, or when all have met at a barrier.
// Then they count at the end.
func turns(g *gallery, barrier bool) scene {
	r := region[score](g, "turn", 1)
	add := func(n int) {
		_, err := r.Add(g.ctx, 0, uint64(n))
		check(err)
	}
	load := func() uint64 {
		v, err := r.Load(g.ctx, 0)
		check(err)
		return v
	}
	return scene{
		act: func() {
			mine := 0
			for round := range g.n {
				if barrier {
					check(g.Barrier(g.ctx))
				}
				if round%g.Ranks != g.Rank.Rank {
					continue
				}
				mine++
				for !barrier && load() != uint64(round) {
					rest(time.Microsecond)
				}
				if !barrier {
					add(1)
				}
			}
			if barrier {
				add(mine)
			}
		},
		right: func() bool { return g.holds(r, 0, g.n) },
	}
}

// latch is a lock, which those who want it come by in the order of the tickets that they have drawn, and what it guards.
type latch struct{ Next, Serving, Value int64 }

const (
	servingAt = 8 // in a latch
	valueAt   = 16
)

func hotLock(g *gallery, mutex bool) scene {
	r := region[latch](g, "latch", 1)
	m := g.Mutex(g.scene)
	lock := func() {
		drawn, err := r.Add(g.ctx, 0, 1)
		check(err)
		for {
			serving, err := r.Load(g.ctx, servingAt)
			check(err)
			if serving == drawn-1 {
				return
			}
			rest(time.Microsecond)
		}
	}
	unlock := func() {
		_, err := r.Add(g.ctx, servingAt, 1)
		check(err)
	}
	if mutex {
		lock = func() {
			_, err := m.Lock(g.ctx)
			check(err)
		}
		unlock = func() { check(m.Unlock()) }
	}
	return scene{
		act: func() {
			for range g.n {
				lock()
				_, err := r.Add(g.ctx, valueAt, 1)
				check(err)
				busy(aWhile) // so that others come for the lock
				unlock()
			}
		},
		right: func() bool { return g.holds(r, valueAt, g.n*g.Ranks) },
	}
}

// aWhile is about as long as a fetch.
const aWhile = 100 * time.Microsecond

// migratory has the rank whose turn it is read, modify and write two words.
func migratory(g *gallery, turn func(round int) int) scene {
	r := region[score](g, "object", 1)
	return scene{
		act: func() {
			g.each(g.n, func(round int) {
				if turn(round) == g.Rank.Rank {
					addBoth(g, r)
				}
				busy(aWhile)
			})
		},
		right: func() bool { return g.holds(r, 0, g.n) && g.holds(r, 8, g.n) },
	}
}

// misplaced has each rank write n pages, which are homed at the node of the rank that many ranks on.
func misplaced(g *gallery, on int) scene {
	const page, jump = pagetable.DefaultPageSize, 73 // so that nothing is read ahead
	r := g.open("pages", g.Ranks*g.n*page, on)
	return scene{
		act: func() {
			for i := range g.n {
				at := i * jump % g.n
				check(r.Store(g.ctx, int64((g.Rank.Rank*g.n+at)*page), uint64(at+1)))
			}
		},
		right: func() bool {
			for i := range g.Ranks * g.n {
				if !g.holds(r, int64(i*page), i%g.n+1) {
					return false
				}
			}
			return true
		},
	}
}

// lockApart has all ranks change two words that many times under each lock.
func lockApart(g *gallery, batch int) scene {
	r := region[score](g, "account", 1)
	m := g.Mutex(g.scene)
	return scene{
		act: func() {
			for range g.n / batch {
				_, err := m.Lock(g.ctx)
				check(err)
				for range batch {
					addBoth(g, r)
				}
				check(m.Unlock())
				rest(aWhile)
			}
		},
		right: func() bool { return g.holds(r, 0, g.n*g.Ranks) && g.holds(r, 8, g.n*g.Ranks) },
	}
}

// smallMessages has rank 0 write n numbers, of which the others read that many at a time.
func smallMessages(g *gallery, batch int) scene {
	r := region[int64](g, "numbers", batch)
	wrong := region[int64](g, "wrong", pagetable.DefaultPageSize/8)
	return scene{
		act: func() {
			for first := 0; first < g.n; first += batch {
				if g.Rank.Rank == 0 {
					for i := range batch {
						check(r.Store(g.ctx, int64(8*i), uint64(first+i)))
					}
				}
				check(g.Barrier(g.ctx))
				for i := range batch {
					if g.Rank.Rank > 0 && !g.holds(r, int64(8*i), first+i) {
						check(wrong.Store(g.ctx, 0, 1))
					}
				}
				check(g.Barrier(g.ctx))
			}
		},
		right: func() bool { return g.holds(wrong, 0, 0) },
	}
}

// addBoth adds to two words.
func addBoth(g *gallery, r *dsm.Region) {
	for off := int64(0); off < scoreSize; off += 8 {
		v, err := r.Load(g.ctx, off)
		check(err)
		check(r.Store(g.ctx, off, v+1))
	}
}
