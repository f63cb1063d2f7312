package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// Counters is an array of counters of the space, known by its name at all nodes. Every node counts in a shard
// of its own, whose pages are at home there and stay there: Add needs no other node, unless somebody has
// asked for the sum since, and no lock. A Counters may be shared by goroutines.
//
// What a node has counted since the last Sum goes down with it: sums then are dsm.ErrNodeLost. A program that
// dies loses nothing.
type Counters struct {
	name   string
	r      *dsm.Region
	n      int
	shard  int   // that this node counts in
	shards int   // one after the other in the region
	stride int64 // from one shard to the next, in bytes: whole pages
}

// CountersOptions are the properties of an array of counters. Those of whoever creates it count.
type CountersOptions struct {
	// Shards is how many nodes can count without getting in each other's way. Default: as many as there are
	// members. Nodes that join later share the shards that there are.
	Shards int
	// PageSize in bytes, as in dsm.RegionOptions.
	PageSize int
}

// OpenCounters opens the array of that name, and creates it if there is none, of n counters that are 0. The
// name is that of its region too, which is a sequential one. The error is dsm.ErrMismatch if the array exists
// with another number of counters, or the name is used for something else. Other errors are those of
// Space.Region.
func OpenCounters(ctx context.Context, s *dsm.Space, name string, n int, o CountersOptions) (*Counters, error) {
	c, err := openCounters(ctx, s, name, n, o)
	if err != nil {
		return nil, fmt.Errorf("open counters %q: %w", name, err)
	}
	return c, nil
}

// openCounters leaves it to whoever creates the region how many shards there are. The first word of each is
// no counter: that of the first one says what the region is.
func openCounters(ctx context.Context, s *dsm.Space, name string, n int, o CountersOptions) (*Counters, error) {
	shards := cmp.Or(o.Shards, len(s.Members()))
	if n < 1 || shards < 1 {
		return nil, fmt.Errorf("%d counters in %d shards: choose at least one", n, shards)
	}
	page := int64(cmp.Or(o.PageSize, pagetable.DefaultPageSize))
	stride := (int64(n+1)*8 + page - 1) / page * page
	create := dsm.RegionOptions{
		Size: uint64(stride) * uint64(shards), PageSize: int(page), Placement: dsm.Placement{Kind: pagetable.Blocked},
	}
	form := fmt.Sprintf("array of %d counters in shards of %d bytes", n, stride)
	r, err := open(ctx, s, name, form, dsm.RegionOptions{})
	if errors.Is(err, dsm.ErrNotExist) {
		r, err = open(ctx, s, name, form, create)
	}
	if errors.Is(err, dsm.ErrMismatch) { // somebody was faster, and has seen other members
		r, err = open(ctx, s, name, form, dsm.RegionOptions{})
	}
	if err != nil {
		return nil, err
	}
	shards = int(r.Size() / uint64(stride))
	return &Counters{name: name, r: r, n: n, shard: int(s.Self()-1) % shards, shards: shards, stride: stride}, nil
}

// Len returns the number of counters.
func (c *Counters) Len() int { return c.n }

// Add adds to counter i. Its errors are dsm.ErrRange and those of waiting for a page.
func (c *Counters) Add(ctx context.Context, i int, delta int64) error {
	err := c.check(i)
	if err == nil {
		_, err = c.r.Add(ctx, c.offset(c.shard, i), uint64(delta))
	}
	if err != nil {
		return fmt.Errorf("add to counters %q: %w", c.name, err)
	}
	return nil
}

// Sum returns counter i as it is at one moment between call and return: with every Add that has returned
// before Sum is called, none that is called after it has returned, and none without those before it. It fetches a
// page from each node that has counted since, and makes the next Add there wait for one. Its errors are those
// of Add.
func (c *Counters) Sum(ctx context.Context, i int) (int64, error) {
	err := c.check(i)
	if err == nil {
		var sums []int64
		if sums, err = c.sums(ctx, i, i+1); err == nil {
			return sums[0], nil
		}
	}
	return 0, fmt.Errorf("sum up counters %q: %w", c.name, err)
}

// Sums returns all counters, each as Sum does.
func (c *Counters) Sums(ctx context.Context) ([]int64, error) {
	sums, err := c.sums(ctx, 0, c.n)
	if err != nil {
		return nil, fmt.Errorf("sum up counters %q: %w", c.name, err)
	}
	return sums, nil
}

// sums adds up the counters [lo, hi). While it has views of all shards, no other node adds; so the moment is
// the one at which it reads this node's own shard.
func (c *Counters) sums(ctx context.Context, lo, hi int) ([]int64, error) {
	for shard := range c.shards {
		v, err := c.r.View(ctx, c.offset(shard, lo), int64(hi-lo)*8, pagetable.ReadAccess)
		if err != nil {
			return nil, err
		}
		defer v.Release()
	}
	sums := make([]int64, hi-lo)
	for shard := range c.shards {
		for i := range sums {
			v, err := c.r.Load(ctx, c.offset(shard, lo+i))
			if err != nil {
				return nil, err
			}
			sums[i] += int64(v)
		}
	}
	return sums, nil
}

// offset returns where counter i of a shard lies in the region, in bytes.
func (c *Counters) offset(shard, i int) int64 { return int64(shard)*c.stride + 8 + int64(i)*8 }

func (c *Counters) check(i int) error {
	if i < 0 || i >= c.n {
		return fmt.Errorf("counter %d of %d: %w", i, c.n, dsm.ErrRange)
	}
	return nil
}
