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
// same moment, as after every barrier of a parallel loop. Then it counts in batches between barriers, also in one
// page of a release region.
func falseShare(ctx context.Context, r *Rank) error {
	n := r.size()
	words := r.Ranks * pagetable.DefaultPageSize / 8
	shared := wordsOf{newWords(ctx, r, "shared", r.Ranks, pagetable.Blocked).Region(), 8}
	padded := wordsOf{newWords(ctx, r, "padded", words, pagetable.Blocked).Region(), pagetable.DefaultPageSize}
	release := wordsOf{newArray[uint64](ctx, r, "release", r.Ranks, layout{
		kind: pagetable.Blocked, pageSize: r.Spec.PageSize, release: true,
	}).Region(), 8}
	err := r.Timed(ctx, func() error {
		r.Metric("add_shared", r.addTogether(ctx, shared.region, shared.off(r.Rank), n).metric())
		return nil
	})
	if err != nil {
		return err
	}
	r.Metric("add_padded", r.addTogether(ctx, padded.region, padded.off(r.Rank), n).metric())
	r.Metric("batch_shared", r.countTogether(ctx, shared, n).metric())
	r.Metric("batch_padded", r.countTogether(ctx, padded, n).metric())
	r.Metric("batch_release", r.countTogether(ctx, release, n).metric())
	if r.Rank != 0 {
		return nil
	}
	inBatches := batches(n) * batchAdds
	wrong := shared.wrong(ctx, r.Ranks, n+inBatches) + padded.wrong(ctx, r.Ranks, n+inBatches) +
		release.wrong(ctx, r.Ranks, inBatches)
	r.Verify(wrong == 0, "%d of %d counters are wrong", wrong, 3*r.Ranks)
	return nil
}

// wordsOf is one word for each rank, distance bytes apart.
type wordsOf struct {
	region   *dsm.Region
	distance int64
}

func (w wordsOf) off(rank int) int64 { return w.distance * int64(rank) }

// wrong returns how many of the words are not want.
func (w wordsOf) wrong(ctx context.Context, ranks, want int) (wrong int) {
	for rank := range ranks {
		v, err := w.region.Load(ctx, w.off(rank))
		check(err)
		if v != uint64(want) {
			wrong++
		}
	}
	return wrong
}

// batchAdds is how often a rank counts between two barriers.
const batchAdds = 100

// batches returns how many batches give figures as steady as n additions do.
func batches(n int) int { return n / 5 }

// countTogether counts by loads and stores, in batches that each end at a barrier.
func (r *Rank) countTogether(ctx context.Context, w wordsOf, n int) (s samples) {
	off := w.off(r.Rank)
	check(r.Barrier(ctx))
	for range batches(n) {
		s.time(func() {
			for range batchAdds {
				v, err := w.region.Load(ctx, off)
				check(err)
				check(w.region.Store(ctx, off, v+1))
			}
			check(r.Barrier(ctx))
		})
	}
	return s
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
	region := newWords(ctx, r, "page", pagetable.DefaultPageSize/8, pagetable.Blocked).Region()
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
