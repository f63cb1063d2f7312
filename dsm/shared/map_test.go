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

func TestMapRefuses(t *testing.T) {
	nodes := openNodes(t, 2)
	ctx := patient(t)
	type padded struct {
		A uint8
		B uint32
	}
	for what, err := range map[string]error{
		"pointers in keys":   refusal[*int, int](ctx, nodes[0], dsm.ErrPointers),
		"pointers in values": refusal[int, struct{ Name string }](ctx, nodes[0], dsm.ErrPointers),
		"floats as keys":     refusal[[2]float64, int](ctx, nodes[0], shared.ErrKey),
		"padding in keys":    refusal[padded, int](ctx, nodes[0], shared.ErrKey),
		"blank key fields":   refusal[struct{ A, _ int }, int](ctx, nodes[0], shared.ErrKey),
		"keys without size":  refusal[struct{}, int](ctx, nodes[0], shared.ErrKey),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := shared.OpenMap[int, [1 << 20]byte](ctx, nodes[0], "large", shared.MapOptions{}); err == nil {
		t.Error("a value of 1 MiB is taken")
	}
	openMaps[int32, int32](t, nodes, "map", shared.MapOptions{})
	if _, err := shared.OpenMap[uint32, int32](ctx, nodes[1], "map", shared.MapOptions{}); !errors.Is(err, dsm.ErrMismatch) {
		t.Errorf("another type of keys: %v", err)
	}
	if _, err := shared.OpenMap[int32, int32](ctx, nodes[1], "map", shared.MapOptions{Capacity: 1 << 20}); !errors.Is(err, dsm.ErrMismatch) {
		t.Errorf("another capacity: %v", err)
	}
}

// refusal returns an error unless a map of these types is refused with want.
func refusal[K comparable, V any](ctx context.Context, s *dsm.Space, want error) error {
	if _, err := shared.OpenMap[K, V](ctx, s, "refused", shared.MapOptions{}); !errors.Is(err, want) {
		return fmt.Errorf("error is %w, want %w", err, want)
	}
	return nil
}

// TestMapFull: a map holds its capacity, says when it is full, and is as it was then.
func TestMapFull(t *testing.T) {
	const capacity = 500
	m := openMaps[uint64, wide](t, openNodes(t, 1), "map", shared.MapOptions{Capacity: capacity, Stripes: 4})[0]
	n := uint64(0)
	var err error
	for ; err == nil; n++ {
		err = m.Put(patient(t), n, wideOf(n))
	}
	if n--; n < capacity || !errors.Is(err, shared.ErrFull) {
		t.Errorf("after %d entries: %v", n, err)
	}
	if got, err := m.Len(patient(t)); got != int(n) || err != nil {
		t.Errorf("%d entries, %v, want %d", got, err, n)
	}
	for key := range n + 1 {
		v, found, err := m.Get(patient(t), key)
		if err != nil || found != (key < n) || found && v.value() != key {
			t.Errorf("key %d: %d, %v, %v", key, v.value(), found, err)
		}
	}
}

// TestUpdateOfItself: a function that uses the map it changes is told so, and the map goes on.
func TestUpdateOfItself(t *testing.T) {
	m := openMaps[int, int](t, openNodes(t, 2), "map", shared.MapOptions{})[1]
	var inner error
	err := m.Update(patient(t), 1, func(v *int, _ bool) bool {
		inner = m.Put(patient(t), 1, 3)
		*v = 2
		return true
	})
	if v, _, getErr := m.Get(patient(t), 1); v != 2 || err != nil || getErr != nil || !errors.Is(inner, dsm.ErrDeadlock) {
		t.Errorf("%d, %v, %v, want 2; and %v, want %v", v, err, getErr, inner, dsm.ErrDeadlock)
	}
}

// TestUpdatePanics: the stripe is free again, and nothing has changed.
func TestUpdatePanics(t *testing.T) {
	all := openMaps[int, int](t, openNodes(t, 2), "map", shared.MapOptions{})
	func() {
		defer func() { _ = recover() }()
		_ = all[0].Update(patient(t), 1, func(v *int, _ bool) bool { panic("f") })
	}()
	if _, found, err := all[1].Get(patient(t), 1); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	if err := all[1].Put(patient(t), 1, 1); err != nil {
		t.Error(err)
	}
}
