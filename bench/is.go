package bench

import (
	"context"
)

func init() {
	register(Workload{
		Name: "is", Suite: "npb", Classes: []string{"W", "S", "A"}, Default: true,
		Purpose: "everybody has data for everybody else, in every step",
		Sharing: "each rank writes its keys by bucket and reads those of its own buckets from all",
		Run:     is,
	})
}

// ranking is a class of IS (NPB report RNR-94-007, section 2.5): keys below maxKey are ranked. In each
// iteration the ranks of five keys, found at fixed places, must be the official ones.
type ranking struct {
	keys, maxKey, buckets int
	places, ranks         [5]int
	// The first rising of the ranks are as given in iteration riseFrom and grow by 1 in each; the
	// others are as given in iteration fallFrom and get smaller.
	rising, riseFrom, fallFrom int
}

var rankings = map[string]ranking{
	"S": {
		1 << 16, 1 << 11, 1 << 9,
		[5]int{48427, 17148, 23627, 62548, 4431}, [5]int{0, 18, 346, 64917, 65463}, 3, 0, 0,
	},
	"W": {
		1 << 20, 1 << 16, 1 << 10,
		[5]int{357773, 934767, 875723, 898999, 404505}, [5]int{1249, 11698, 1039987, 1043896, 1048018}, 2, 2, 0,
	},
	"A": {
		1 << 23, 1 << 19, 1 << 10,
		[5]int{2112377, 662041, 5336171, 3642833, 4250760}, [5]int{104, 17523, 123928, 8288932, 8388264}, 3, 1, 1,
	},
}

const (
	isSeed       = 314159265
	isIterations = 10
	isChecks     = 5*isIterations + 1 // five ranks in each iteration, and the final order
)

// is ranks integer keys by counting them.
func is(ctx context.Context, r *Rank) error {
	class := rankings[r.Spec.Class]
	var keys []int32
	sequential := 0
	if r.Rank == 0 {
		keys = class.makeKeys(0, class.keys)
		r.Sequential(func() { sequential = class.rankAll(keys) })
	}
	s := newSorter(ctx, r, class)
	right := 0
	err := r.Timed(ctx, func() error {
		for i := 1; i <= isIterations; i++ {
			right += s.iterate(i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.verify(right, keys)
	r.Verify(sequential == isChecks-1, "%d of %d official ranks in the sequential run", sequential, isChecks-1)
	return nil
}

// makeKeys returns keys [lo, hi).
func (c ranking) makeKeys(lo, hi int) []int32 {
	g := lcg(isSeed)
	g.skip(4 * uint64(lo))
	keys := make([]int32, hi-lo)
	for i := range keys {
		keys[i] = int32(float64(c.maxKey/4) * (g.next() + g.next() + g.next() + g.next()))
	}
	return keys
}

// mark makes the change that comes with an iteration to keys, the first of which is key lo.
func (c ranking) mark(keys []int32, lo, iteration int) {
	for place, key := range map[int]int{iteration: iteration, iteration + isIterations: c.maxKey - iteration} {
		if lo <= place && place < lo+len(keys) {
			keys[place-lo] = int32(key)
		}
	}
}

// rankAll is the sequential solution. It returns how many official ranks it has met.
func (c ranking) rankAll(keys []int32) (right int) {
	counts := make([]int32, c.maxKey)
	for iteration := 1; iteration <= isIterations; iteration++ {
		c.mark(keys, 0, iteration)
		clear(counts)
		count(counts, keys, 0)
		accumulate(counts, 0)
		for t, place := range c.places {
			right += c.check(t, iteration, counts[keys[place]])
		}
	}
	return right
}

// check returns 1 if rank is the official one of the t-th test key, else 0.
func (c ranking) check(t, iteration int, rank int32) int {
	want := c.ranks[t] - iteration + c.fallFrom
	if t < c.rising {
		want = c.ranks[t] + iteration - c.riseFrom
	}
	if int(rank) == want {
		return 1
	}
	return 0
}

// count counts each key in counts, whose first element is for the key from.
func count(counts, keys []int32, from int32) {
	for _, k := range keys {
		counts[k-from]++
	}
}

// accumulate turns counts into ranks, of which the first is base.
func accumulate(counts []int32, base int32) {
	for i, n := range counts {
		counts[i] = base
		base += n
	}
}
