package bench

import (
	"context"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "pingpong", Suite: "micro", MinRanks: 2, Size: 2000,
		Purpose: "what it costs when two nodes write one word in turn",
		Sharing: "ranks 0 and 1 write the same word; the others watch nothing",
		Run:     pingpong,
	})
}

// pingpong has ranks 0 and 1 write one word in turn. Each hit moves the page from one to the other.
func pingpong(ctx context.Context, r *Rank) error {
	hits := uint64(r.size())
	ball := newWords(ctx, r, "ball", 1, pagetable.Hashed).Region()
	err := r.Timed(ctx, func() error {
		if r.Rank > 1 {
			return nil
		}
		for hit := uint64(r.Rank); hit < hits; {
			mine, err := ball.CompareAndSwap(ctx, 0, hit, hit+1)
			if err != nil {
				return err
			}
			if mine {
				hit += 2
			}
		}
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	last, err := ball.Load(ctx, 0)
	r.Verify(last == hits, "the word was hit %d times of %d", last, hits)
	return err
}
