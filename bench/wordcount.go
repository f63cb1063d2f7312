package bench

import (
	"context"

	"pagemesh/dsm"
)

func init() {
	register(Workload{
		Name: "wordcount", Suite: "app", Reads: true, Elastic: true, Default: true, PageSize: stripeSize,
		Purpose: "a hash table of the words of real text, built by all under locks",
		Sharing: "each rank takes files as it is free, and adds to every part of one table",
		Run:     wordcount,
	})
}

// maxPending bounds the words that a rank collects before it adds them to the table.
const maxPending = 1 << 16

// tally says how often a word occurs and in how many files.
type tally struct {
	count, files uint64
	last         int // number of the file that was counted last
}

// wordcount counts every word of a directory of text.
func wordcount(ctx context.Context, r *Rank) error {
	text, err := openText(r.Spec.Input)
	if err != nil {
		return err
	}
	if err := text.agree(ctx, r); err != nil {
		return err
	}
	r.Result.Params["input"], r.Result.Params["files"] = text.dir, len(text.files)
	reference := map[string]*tally{}
	r.Sequential(func() { check(text.count(reference, 0, len(text.files))) })
	table := newTable(ctx, r, text.bytes)
	next := NewCounter(ctx, r, "next")
	err = r.Timed(ctx, func() error { return countShared(ctx, r, text, next, table) })
	if err != nil || r.Rank != 0 {
		return err
	}
	found, right := table.compare(reference)
	r.Verify(found == right && right == len(reference), "%d words found, %d of %d with the counts of the sequential run",
		found, right, len(reference))
	return nil
}

// countShared counts blocks of files, of which next is the number of those that were taken, until none
// is left or this rank is to leave.
func countShared(ctx context.Context, r *Rank, text *text, next *dsm.Region, table *table) error {
	pending := map[string]*tally{}
	for !r.Leaving() {
		taken, err := next.Add(ctx, 0, 1)
		if err != nil {
			return err
		}
		if taken > uint64(len(text.blocks)) {
			break
		}
		block := text.blocks[taken-1]
		if err := text.count(pending, block.lo, block.hi); err != nil {
			return err
		}
		if len(pending) > maxPending {
			table.add(pending)
			clear(pending)
		}
	}
	table.add(pending)
	return nil
}
