package bench

import (
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// The exhibits of false sharing.
func init() {
	exhibit{
		name: "array-of-structs", purpose: "false sharing of neighbours in an array, cured by padding", size: 40,
		sharing: "each rank counts in an element of its own", classes: []sharing.Class{sharing.FalselyShared},
		names: []string{"[]score[0].Hits", "[]score[1].Hits"}, function: "countIn",
		cure:    "pad",
		culprit: func(g *gallery) scene { return scores(g, scoreSize) },
		cured:   func(g *gallery) scene { return scores(g, pagetable.DefaultPageSize) },
	}.register()
	exhibit{
		name: "two-globals", purpose: "false sharing of two variables, cured by a page for each", size: 40,
		sharing: "rank 0 counts in one variable and rank 1 in the other", classes: []sharing.Class{sharing.FalselyShared},
		names: []string{"[]globals[0].Sent", "[]globals[0].Received"}, function: "countIn",
		cure:    "split",
		culprit: func(g *gallery) scene { return twoGlobals(g, 8) },
		cured:   func(g *gallery) scene { return twoGlobals(g, pagetable.DefaultPageSize) },
	}.register()
	exhibit{
		name: "heap-objects", purpose: "false sharing of objects that one rank has allocated, cured by a heap for each", size: 40,
		sharing: "each rank counts in an object of its own", classes: []sharing.Class{sharing.FalselyShared},
		names: []string{"score@*.Hits"}, function: "countIn",
		cure:    "own-heap",
		culprit: func(g *gallery) scene { return heapObjects(g, false) },
		cured:   func(g *gallery) scene { return heapObjects(g, true) },
	}.register()
	exhibit{
		name: "read-beside-write", purpose: "false sharing of what is read with what is written, cured by keeping them apart", size: 40,
		sharing: "rank 0 counts, the others read a limit that never changes", classes: []sharing.Class{sharing.FalselyShared},
		names: []string{"[]settings[0].Served", "[]settings[0].Limit"}, function: "readBeside",
		cure:    "separate",
		culprit: func(g *gallery) scene { return readBeside(g, 8) },
		cured:   func(g *gallery) scene { return readBeside(g, pagetable.DefaultPageSize) },
	}.register()
}

// score is what a rank counts in.
type score struct{ Hits, Misses int64 }

const scoreSize = 16 // bytes

// hitsARound is how often a rank counts between two barriers, and hitTime how long it is busy with other things then.
const (
	hitsARound = 200
	hitTime    = 2 * time.Microsecond
)

// countIn has that many ranks count, each in a word of its own.
func countIn(g *gallery, r *dsm.Region, ranks int, at func(rank int) int64) scene {
	return scene{
		act: func() {
			g.each(g.n, func(int) {
				for i := 0; i < hitsARound && g.Rank.Rank < ranks; i++ {
					_, err := r.Add(g.ctx, at(g.Rank.Rank), 1)
					check(err)
					busy(hitTime)
				}
			})
		},
		right: func() bool {
			for rank := range ranks {
				if !g.holds(r, at(rank), g.n*hitsARound) {
					return false
				}
			}
			return true
		},
	}
}

// scores has each rank count in an element, which are distance bytes apart.
func scores(g *gallery, distance int) scene {
	r := region[score](g, "scores", g.Ranks*distance/scoreSize)
	return countIn(g, r, g.actors(), func(rank int) int64 { return int64(rank * distance) })
}

type globals struct{ Sent, Received int64 }

func twoGlobals(g *gallery, distance int64) scene {
	r := region[globals](g, "globals", 2*pagetable.DefaultPageSize/16)
	return countIn(g, r, 2, func(rank int) int64 { return int64(rank) * distance })
}

// heapObjects has each rank count in an object, which all were allocated by rank 0 or each by its own rank.
func heapObjects(g *gallery, own bool) scene {
	const chunk = 64 << 10
	r := g.open("heap", (g.Ranks+2)*chunk, 0)
	h, err := dsm.NewHeap(g.Space, r)
	check(err)
	places := region[int64](g, "places", g.Ranks)
	for rank := range g.Ranks {
		if own && rank != g.Rank.Rank || !own && g.Rank.Rank != 0 {
			continue
		}
		p, err := dsm.New[score](g.ctx, h)
		check(err)
		check(places.Store(g.ctx, int64(8*rank), uint64(p.Offset(r))))
	}
	check(g.Barrier(g.ctx))
	at := make([]int64, g.Ranks)
	for rank := range at {
		off, err := places.Load(g.ctx, int64(8*rank))
		check(err)
		at[rank] = int64(off)
	}
	return countIn(g, r, g.actors(), func(rank int) int64 { return at[rank] })
}

type settings struct{ Served, Limit int64 }

// readBeside has rank 0 count while the others read what lies distance bytes further on.
func readBeside(g *gallery, distance int64) scene {
	r := region[settings](g, "settings", 2*pagetable.DefaultPageSize/16)
	return scene{
		act: func() {
			g.each(g.n, func(int) {
				for i := 0; i < hitsARound && g.Rank.Rank < g.actors(); i++ {
					if g.Rank.Rank == 0 {
						_, err := r.Add(g.ctx, 0, 1)
						check(err)
					} else {
						_, err := r.Load(g.ctx, distance)
						check(err)
					}
					busy(hitTime)
				}
			})
		},
		right: func() bool { return g.holds(r, 0, g.n*hitsARound) && g.holds(r, distance, 0) },
	}
}
