package main

import (
	"context"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// worker is what the region of race holds.
type worker struct {
	hits, misses int64
}

// race has two members write one field without an order, and waits for a signal.
func race(s *dsm.Space, _ []string) error {
	ctx := context.Background()
	r, err := s.Region(ctx, "workers", dsm.RegionOptions{Size: 4096, Consistency: pagetable.Release})
	if err != nil {
		return err
	}
	if err := together(s, "made"); err != nil {
		return err
	}
	v, err := dsm.ViewOf[worker](ctx, r, 17, 1, pagetable.WriteAccess)
	if err != nil {
		return err
	}
	v.Slice()[0].misses = int64(s.Rank() + 1)
	v.Release()
	if err := together(s, "raced"); err != nil {
		return err
	}
	return wait(s, nil)
}
