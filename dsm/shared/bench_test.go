package shared_test

import (
	"testing"

	"pagemesh/dsm/shared"
)

// BenchmarkMap says what a call costs where nobody else uses the map.
func BenchmarkMap(b *testing.B) {
	ctx := b.Context()
	m := openMaps[uint64, uint64](b, openNodes(b, 2), "map", shared.MapOptions{})[1]
	const keys = 1 << 12
	for key := range uint64(keys) {
		if err := m.Put(ctx, key, key); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("Get", func(b *testing.B) {
		for i := range b.N {
			if _, found, err := m.Get(ctx, uint64(i%keys)); !found || err != nil {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("Put", func(b *testing.B) {
		for i := range b.N {
			if err := m.Put(ctx, uint64(i%keys), uint64(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkQueue says what an item costs that goes from one node to another.
func BenchmarkQueue(b *testing.B) {
	ctx := b.Context()
	all := openQueues[uint64](b, openNodes(b, 2), "queue", shared.QueueOptions{})
	onEach(2, func(i int) {
		for range b.N {
			var err error
			if i == 0 {
				err = all[0].Put(ctx, 1)
			} else {
				_, err = all[1].Take(ctx)
			}
			if err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkCountersAdd(b *testing.B) {
	c := openCounters(b, openNodes(b, 2), "counters", 8)[1]
	for i := range b.N {
		if err := c.Add(b.Context(), i%8, 1); err != nil {
			b.Fatal(err)
		}
	}
}
