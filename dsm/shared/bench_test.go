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
