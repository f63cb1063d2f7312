package bench

import (
	"context"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "falseshare", Suite: "micro", MinRanks: 2, Size: 500,
		Purpose: "what it costs to keep the counters of two nodes in one page, and what padding saves",
		Sharing: "each rank adds to its own word: first all in one page, then each in a page of its own",
		Run:     falseShare,
	})
	register(Workload{
		Name: "thrash", Suite: "micro", MinRanks: 2, Size: 500,
		Purpose: "what it costs when all nodes write the same words all the time",
		Sharing: "all ranks add to every word of one page",
		Run:     thrash,
	})
}

// falseShare counts in words of one page, then in words that are a page apart. All ranks add at the
// same moment, as after every barrier of a parallel loop.
func falseShare(ctx context.Context, r *Rank) error {
	n := r.size()
	shared := NewArray[uint64](ctx, r, "shared", r.Ranks, pagetable.Blocked).Region()
	padded := NewArray[uint64](ctx, r, "padded", r.Ranks*pagetable.DefaultPageSize/8, pagetable.Blocked).Region()
	near, far := int64(8), int64(pagetable.DefaultPageSize)
	err := r.Timed(ctx, func() error {
		r.Metric("add_shared", r.addTogether(ctx, shared, near*int64(r.Rank), n).metric())
		return nil
	})
	if err != nil {
		return err
	}
	r.Metric("add_padded", r.addTogether(ctx, padded, far*int64(r.Rank), n).metric())
	if r.Rank != 0 {
		return nil
	}
	wrong := 0
	for rank := range int64(r.Ranks) {
		for _, c := range []struct {
			region   *dsm.Region
			distance int64
		}{{shared, near}, {padded, far}} {
			v, err := c.region.Load(ctx, c.distance*rank)
			check(err)
			if v != uint64(n) {
				wrong++
			}
		}
	}
	r.Verify(wrong == 0, "%d of %d counters are not %d", wrong, 2*r.Ranks, n)
	return nil
}

// addTogether adds n times to a word of this rank, each time after all ranks have met.
func (r *Rank) addTogether(ctx context.Context, region *dsm.Region, off int64, n int) (s samples) {
	for range n {
		check(r.Barrier(ctx))
		s.time(func() {
			_, err := region.Add(ctx, off, 1)
			check(err)
		})
	}
	check(r.Barrier(ctx))
	return s
}

// thrash adds to the same few words from everywhere.
func thrash(ctx context.Context, r *Rank) error {
	n := r.size()
	region := NewArray[uint64](ctx, r, "page", pagetable.DefaultPageSize/8, pagetable.Blocked).Region()
	offs := []int64{0, 8, 2048, 4088}
	err := r.Timed(ctx, func() error {
		var all samples
		for i := range n {
			all = append(all, r.addTogether(ctx, region, offs[i%len(offs)], 1)...)
		}
		r.Metric("add", all.metric())
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	sum := uint64(0)
	for _, off := range offs {
		v, err := region.Load(ctx, off)
		check(err)
		sum += v
	}
	r.Verify(sum == uint64(n*r.Ranks), "the words add up to %d, want %d", sum, n*r.Ranks)
	return nil
}
