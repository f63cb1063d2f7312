package bench

import (
	"context"
	"fmt"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "barrier", Suite: "micro", MinRanks: 2, Size: 2000,
		Purpose: "what it costs that all ranks wait for each other",
		Sharing: "all ranks meet at one barrier",
		Run:     barrier,
	})
}

// barrierCheck is after how many phases the ranks compare how many they have seen.
const barrierCheck = 100

func barrier(ctx context.Context, r *Rank) error {
	phases := r.size()
	seen := NewArray[uint64](ctx, r, "seen", r.Ranks*pagetable.DefaultPageSize/8, pagetable.Blocked).Region()
	meet := r.Space.Barrier("bench/"+r.name+"/meet", r.Ranks)
	w := openWire(ctx, r)
	defer w.close()
	bare := openMeeting(ctx, r)
	defer bare.close()
	var wait, pair, meeting samples
	late := 0
	err := r.Timed(ctx, func() error {
		for phase := range phases {
			if phase%barrierCheck == 0 {
				check(seen.Store(ctx, int64(r.Rank*pagetable.DefaultPageSize), uint64(phase)))
				for i := 0; i < barrierCheck && r.Rank == 0; i++ {
					pair.time(w.pair)
				}
				check(meet.Wait(ctx))
				for range barrierCheck {
					meeting.time(bare.wait)
				}
				check(meet.Wait(ctx))
			}
			wait.time(func() { check(meet.Wait(ctx)) })
			if phase%barrierCheck == 0 && r.Rank == 0 {
				for rank := range r.Ranks {
					n, err := seen.Load(ctx, int64(rank*pagetable.DefaultPageSize))
					check(err)
					if n < uint64(phase) {
						late++
					}
				}
			}
		}
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	r.Metric("barrier", wait.metric())
	r.Metric("raw_pair", pair.metric())
	r.Metric("raw_meeting", meeting.metric())
	r.Result.Reading = append(r.Result.Reading,
		fmt.Sprintf("A barrier of %d takes %.2f times a bare round trip of two, and %.2f times what as many processes take to meet over bare connections.",
			r.Ranks, wait.times(pair), wait.times(meeting)))
	r.Verify(late == 0, "%d times a rank passed a phase that another had not reached", late)
	return nil
}
