package bench

import (
	"context"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "limit", Suite: "micro", MinRanks: 2, Size: 10000,
		Purpose: "what Go and the network can do without shared memory: the reference of the others",
		Sharing: "none: rank 0 asks, rank 1 answers over a bare TCP connection",
		Run:     limit,
	})
}

// limitBulk is how much one sample of the bandwidth moves.
const limitBulk = 64 << 20

// limit measures the bare connection: a 32-byte question answered by 4 KiB, and bulk in one direction.
func limit(ctx context.Context, r *Rank) error {
	echoes := r.size()
	w := openWire(ctx, r)
	defer w.close()
	err := r.Timed(ctx, func() error {
		if r.Rank != 0 {
			return nil
		}
		var echo, bulk samples
		for range echoes {
			echo.time(func() { w.fetch(pagetable.DefaultPageSize) })
		}
		for range 10 {
			bulk.time(func() { w.fetch(limitBulk) })
		}
		r.Metric("raw_echo", echo.metric())
		r.Metric("raw_bandwidth", bulk.rate(limitBulk))
		return nil
	})
	r.Verify(err == nil, "every answer had the bytes that were asked for")
	return err
}
