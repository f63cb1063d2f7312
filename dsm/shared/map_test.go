package shared_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"pagemesh/dsm"
	"pagemesh/dsm/shared"
	"pagemesh/pagetable"
)

var consistencies = []pagetable.Consistency{pagetable.Sequential, pagetable.Release}

// openMaps opens a map at each node.
func openMaps[K comparable, V any](t testing.TB, nodes []*dsm.Space, name string, o shared.MapOptions) []*shared.Map[K, V] {
	t.Helper()
	var all []*shared.Map[K, V]
	for _, s := range nodes {
		m, err := shared.OpenMap[K, V](patient(t), s, name, o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// mirrored is a map at several nodes and what must be in it.
type mirrored struct {
	maps []*shared.Map[uint32, [3]uint64]
	want map[uint32][3]uint64
}

// step makes one random call at a random node and compares.
func (m *mirrored) step(ctx context.Context, rng *rand.Rand, keys int) error {
	at := m.maps[rng.IntN(len(m.maps))]
	key := uint32(rng.IntN(keys))
	before, was := m.want[key]
	v := [3]uint64{rng.Uint64(), rng.Uint64(), rng.Uint64()}
	switch rng.IntN(8) {
	case 0, 1, 2:
		m.want[key] = v
		return at.Put(ctx, key, v)
	case 3:
		delete(m.want, key)
		found, err := at.Delete(ctx, key)
		return errors.Join(err, same("delete", found, was))
	case 4:
		keep := rng.IntN(4) > 0
		delete(m.want, key)
		if keep {
			m.want[key] = v
		}
		var got [3]uint64
		var found bool
		err := at.Update(ctx, key, func(old *[3]uint64, there bool) bool {
			got, found, *old = *old, there, v
			return keep
		})
		return errors.Join(err, same("update", got, before), same("update", found, was))
	default:
		got, found, err := at.Get(ctx, key)
		return errors.Join(err, same("get", got, before), same("get", found, was))
	}
}

func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: %v, want %v", what, got, want)
	}
	return nil
}

// check compares everything.
func (m *mirrored) check(ctx context.Context) error {
	for _, at := range m.maps {
		got, times := map[uint32][3]uint64{}, 0
		err := at.Range(ctx, func(key uint32, v [3]uint64) bool {
			got[key], times = v, times+1
			return true
		})
		if err != nil {
			return err
		}
		n, err := at.Len(ctx)
		if err != nil {
			return err
		}
		if !maps.Equal(got, m.want) || times != len(m.want) || n != len(m.want) {
			return fmt.Errorf("%d entries in %d calls, length %d, want %d", len(got), times, n, len(m.want))
		}
	}
	return nil
}

// TestMapMirrored: random calls at random nodes, one after the other, give what they would on a Go map.
func TestMapMirrored(t *testing.T) {
	nodes := openNodes(t, 3)
	for _, c := range consistencies {
		t.Run(c.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seedOf(t), 0))
			m := mirrored{openMaps[uint32, [3]uint64](t, nodes, c.String(), shared.MapOptions{Consistency: c, Stripes: 4, Capacity: 5000}), map[uint32][3]uint64{}}
			ctx := patient(t)
			for i := range 4000 * long() {
				if err := m.step(ctx, rng, 10+i); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			}
			if err := m.check(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// large is a value that takes long to copy.
type large [200]uint64

func init() {
	programs["torn"] = func(ctx context.Context, p *program) error {
		m, err := shared.OpenMap[uint64, large](ctx, p.Space, "torn", shared.MapOptions{Capacity: 10})
		if err != nil {
			return err
		}
		for i := range p.arg {
			if p.rank == 0 {
				var v large
				for k := range v {
					v[k] = i
				}
				err = m.Put(ctx, i%2, v)
			} else {
				var v large
				v, _, err = m.Get(ctx, i%2)
				for _, word := range v {
					if word != v[0] {
						err = fmt.Errorf("half of %d, half of %d", v[0], word)
					}
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// TestAttachedGetIsWhole: two programs on one node, between which nothing but the map keeps order.
func TestAttachedGetIsWhole(t *testing.T) {
	_, sockets := openServing(t, 1)
	runPrograms(t, "torn", []string{sockets[0], sockets[0]}, 60_000*uint64(long()))
}
