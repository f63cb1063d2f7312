package bench

import (
	"context"

	"pagemesh/pagetable"
)

// Sum adds up numbers of all ranks. Each rank leaves its number in a page of its own, so that nobody
// waits to write; all then read all, and add in the order of ranks, which makes the sum the same at
// every rank and in every run.
type Sum struct {
	r *Rank
	// slots take turns. When a rank writes its number of one call, all have read those of the call
	// before the last, because they have met since.
	slots [2]*Array[float64]
	calls int
}

// sumStep is the number of slots from one rank's page to the next.
const sumStep = pagetable.DefaultPageSize / 8

// NewSum returns the sum of that name.
func NewSum(ctx context.Context, r *Rank, name string) *Sum {
	l := layout{kind: pagetable.Blocked, pageSize: pagetable.DefaultPageSize}
	return &Sum{r: r, slots: [2]*Array[float64]{
		newArray[float64](ctx, r, name+"/even", sumStep*r.Ranks, l),
		newArray[float64](ctx, r, name+"/odd", sumStep*r.Ranks, l),
	}}
}

// Of returns the sum of what all ranks call it with. All ranks wait for each other.
func (s *Sum) Of(ctx context.Context, v float64) float64 {
	slots := s.slots[s.calls%2]
	s.calls++
	slots.Set(sumStep*s.r.Rank, v)
	check(s.r.Barrier(ctx))
	w := slots.Read(0, slots.Len())
	defer w.Done()
	var total float64
	for i := 0; i < len(w.Data); i += sumStep {
		total += w.Data[i]
	}
	return total
}
