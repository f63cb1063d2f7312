// Sum fills a slice that all copies of the program share, counts with sync/atomic and adds it all up:
// dsm run -n 4 -- go run ./dsm/examples/sum
package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"pagemesh/dsm"
)

func main() {
	ctx := context.Background()
	cfg := must(dsm.ConfigFromEnv())
	space := must(dsm.Open(ctx, cfg))
	defer space.Close()
	region := must(space.Region(ctx, "numbers", dsm.RegionOptions{Size: 8 << 20}))
	numbers := must(dsm.Slice[int64](region)) // plain memory, at one address on every node

	count, rest := &numbers[0], numbers[1:]
	for i := len(rest) * cfg.Rank / cfg.Members; i < len(rest)*(cfg.Rank+1)/cfg.Members; i++ {
		rest[i] = int64(i)
		atomic.AddInt64(count, 1)
	}
	must(0, space.Barrier("filled", cfg.Members).Wait(ctx))
	sum := int64(0)
	for _, n := range rest {
		sum += n
	}
	fmt.Printf("rank %d: %d numbers, sum %d\n", cfg.Rank, *count, sum)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
