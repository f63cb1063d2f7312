package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"sync"
	"sync/atomic"

	"pagemesh/dsm"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// ErrFull says that a map has no room for another key. It has for MapOptions.Capacity of them, and in most
// cases for many more.
var ErrFull = errors.New("map is full")

// Map is a hash map of the space, known by its name at all nodes. It grows as entries come, bucket by bucket,
// and stops nobody meanwhile; memory of deleted entries is used again by others. Every call on one key is one
// access: all of them stand in one order that everybody sees. A Map may be shared by goroutines.
//
// A change locks a stripe of the map, which costs nothing where the stripe was changed last, and needs one
// page. In a sequential region Get locks nothing and needs one page, which stays here until somebody changes
// it. In a release region Get locks the stripe too.
//
// If a node or a program dies in the middle of a call, the change is there as a whole or not at all. What
// pages went down with a node, only that node had: of their entries every call says dsm.ErrNodeLost.
type Map[K comparable, V any] struct {
	geometry
	name    string
	r       *dsm.Region
	stripes []stripe
	scratch sync.Pool // of *scratch[K, V]
}

// MapOptions are the properties of a map. All nodes must give the same.
type MapOptions struct {
	// Capacity is for how many entries there must be room. It costs address space only: memory is used by
	// entries. Default 262144.
	Capacity int
	// Stripes is how many parts of the map can be changed at once, up to 65536, rounded up to a power of two.
	// A stripe has pages of its own, at least one. Default 64.
	Stripes int
	// PageSize in bytes, as in dsm.RegionOptions. It is larger where eight entries don't fit otherwise.
	PageSize int
	// Placement of the pages, as in dsm.RegionOptions.
	Placement dsm.Placement
	// Consistency of the region. Default pagetable.Sequential, in which Get needs no lock.
	Consistency pagetable.Consistency
}

// geometry says where the buckets of a map lie. After the page that says what the region is, each stripe has
// a run of buckets. A bucket never lies across two pages, and no page holds buckets of two stripes.
type geometry struct {
	page   int  // bytes
	bucket int  // bytes
	slots  int  // of a bucket
	count  int  // of stripes
	levels uint // a stripe has 1<<levels buckets
}

const (
	defaultCapacity = 1 << 18
	defaultStripes  = 64
	mostStripes     = 1 << 16
	leastSlots      = 8
	leastBucket     = 512 // bytes
	// spareBuckets is how many slots there are for each entry of the capacity: so many that no bucket is full
	// long before all of them are.
	spareSlots = 32
)

// geometry returns where entries of that size lie.
func (o MapOptions) geometry(entry int) (geometry, error) {
	capacity, count := cmp.Or(o.Capacity, defaultCapacity), cmp.Or(o.Stripes, defaultStripes)
	bucket := max(leastBucket, roundUp(bucketSlots+leastSlots*entry))
	switch {
	case capacity < 0:
		return geometry{}, fmt.Errorf("capacity of %d: choose one from 1", capacity)
	case count < 0 || count > mostStripes:
		return geometry{}, fmt.Errorf("%d stripes: choose 1 to %d", count, mostStripes)
	case bucket > pagetable.MaxPageSize:
		return geometry{}, fmt.Errorf("entries of %d bytes: keep values of more than %d on a dsm.Heap and dsm.Ptrs to them in the map",
			entry, pagetable.MaxPageSize/leastSlots/2)
	}
	g := geometry{
		page: pageSize(o.PageSize, bucket), bucket: bucket, slots: min(maxSlots, (bucket-bucketSlots)/entry), count: roundUp(count),
	}
	slots := uint64(capacity) * spareSlots
	buckets := max(slots/uint64(g.slots*g.count), uint64(g.page/g.bucket), 1)
	g.levels = uint(bits.Len64(buckets - 1))
	return g, nil
}

// size returns the size of the region in bytes.
func (g geometry) size() uint64 { return uint64(g.page) + uint64(g.count)*uint64(g.bucket)<<g.levels }

// offset returns where a bucket of a stripe lies in the region, in bytes.
func (g geometry) offset(stripe int, number uint64) int64 {
	return int64(uint64(g.page) + (uint64(stripe)<<g.levels+number)*uint64(g.bucket))
}

// stripe is what a program has of a part of the map.
type stripe struct {
	mu    *dsm.Mutex
	depth atomic.Uint32 // level of the bucket that was used last: those of others are much the same
}

// scratch is what one call works with.
type scratch[K comparable, V any] struct {
	hasher[K]
	hashed  uint64
	stripe  int
	b       bucket[K, V] // that the key belongs to
	sibling bucket[K, V] // that it is split into
}

// OpenMap opens the map of that name, and creates it if there is none. The name is that of its region too,
// and the start of those of its locks. K and V must hold no Go pointers (dsm.ErrPointers); K must also be of
// a type whose equal values are the same bytes, so no floating point numbers and no padding (ErrKey). The
// error is dsm.ErrMismatch if the map exists with other options or types, or the name is used for something
// else. Other errors are those of Space.Region.
func OpenMap[K comparable, V any](ctx context.Context, s *dsm.Space, name string, o MapOptions) (*Map[K, V], error) {
	m, err := openMap[K, V](ctx, s, name, o)
	if err != nil {
		return nil, fmt.Errorf("open map %q: %w", name, err)
	}
	return m, nil
}

func openMap[K comparable, V any](ctx context.Context, s *dsm.Space, name string, o MapOptions) (*Map[K, V], error) {
	key := reflect.TypeFor[K]()
	if err := errors.Join(checkType(key), checkType(reflect.TypeFor[V]())); err != nil {
		return nil, err
	}
	if err := checkKey(key.String(), key); err != nil {
		return nil, err
	}
	if key.Size() == 0 {
		return nil, fmt.Errorf("%w: %v has one value only", ErrKey, key)
	}
	g, err := o.geometry(vm.SizeOf[slot[K, V]]())
	if err != nil {
		return nil, err
	}
	form := fmt.Sprintf("map from %s to %s in %d stripes", typeName[K](), typeName[V](), g.count)
	r, err := open(ctx, s, name, form, dsm.RegionOptions{
		Size: g.size(), PageSize: g.page, Placement: o.Placement, Consistency: o.Consistency,
	})
	if err != nil {
		return nil, err
	}
	m := &Map[K, V]{geometry: g, name: name, r: r, stripes: make([]stripe, g.count)}
	for i := range m.stripes {
		m.stripes[i].mu = s.Mutex(fmt.Sprintf("%s/%d", name, i))
	}
	m.scratch.New = func() any {
		return &scratch[K, V]{hasher: newHasher[K](), b: newBucket[K, V](g), sibling: newBucket[K, V](g)}
	}
	return m, nil
}

// begin returns what a call on a key works with.
func (m *Map[K, V]) begin(key K) *scratch[K, V] {
	x := m.scratch.Get().(*scratch[K, V])
	x.hashed = x.hash(key)
	x.stripe = int(x.hashed >> 32 & uint64(m.count-1)) // far from the bits that choose a bucket
	return x
}

// Get returns the value of a key, and whether there is one. Its errors are those of waiting for a page or a
// lock.
func (m *Map[K, V]) Get(ctx context.Context, key K) (v V, found bool, err error) {
	x := m.begin(key)
	defer m.scratch.Put(x)
	if err = m.look(ctx, x); err != nil {
		return v, false, m.failed("get", err)
	}
	if i := x.b.find(key); i >= 0 {
		return x.b.slots[i].Value, true, nil
	}
	return v, false, nil
}

// glances is how often Get looks at a bucket that changes meanwhile, before it locks it.
const glances = 10

// look reads the bucket of a key as it is at one moment.
func (m *Map[K, V]) look(ctx context.Context, x *scratch[K, V]) error {
	if m.r.Consistency() == pagetable.Sequential {
		for range glances {
			if err := m.locate(ctx, x); !errors.Is(err, errChanging) {
				return err
			}
		}
	}
	return m.locked(ctx, x.stripe, func() error { return m.settle(ctx, x) })
}

// Put sets the value of a key. Its errors are those of Update.
func (m *Map[K, V]) Put(ctx context.Context, key K, v V) error {
	return m.change(ctx, "put", key, func(old *V, _ bool) bool {
		*old = v
		return true
	})
}

// Delete takes a key out and reports whether it was there. Its errors are those of Update.
func (m *Map[K, V]) Delete(ctx context.Context, key K) (found bool, err error) {
	err = m.change(ctx, "delete", key, func(_ *V, there bool) bool {
		found = there
		return false
	})
	return found, err
}

// Update calls f with a copy of the value of a key, or with a zero one if it is not found. If f returns true
// the value becomes what f leaves in *v, else the key is taken out. Nobody else changes the key meanwhile, nor
// many others of the map: f must not use the map, which would wait for itself (dsm.ErrDeadlock). Its errors are
// ErrFull and those of waiting for a page or a lock; then nothing has changed, except that f may have been called.
func (m *Map[K, V]) Update(ctx context.Context, key K, f func(v *V, found bool) (keep bool)) error {
	return m.change(ctx, "update", key, f)
}

func (m *Map[K, V]) change(ctx context.Context, what string, key K, f func(v *V, found bool) (keep bool)) error {
	x := m.begin(key)
	defer m.scratch.Put(x)
	err := m.locked(ctx, x.stripe, func() error {
		if err := m.settle(ctx, x); err != nil {
			return err
		}
		e := slot[K, V]{Key: key}
		i := x.b.find(key)
		if i >= 0 {
			e.Value = x.b.slots[i].Value
		}
		switch keep := f(&e.Value, i >= 0); {
		case keep:
			return m.set(ctx, x, i, e)
		case i >= 0:
			return m.commit(ctx, &x.b, x.b.word.used()&^(1<<i), x.b.word.level())
		}
		return nil
	})
	return m.failed(what, err)
}

// Range calls f for every entry until f returns false. f may use the map. The entries of a stripe are those
// of one moment, those of different stripes of different ones: an entry that is there all the time is seen
// once, one that comes or goes meanwhile may be seen or not. Its errors are those of Get.
func (m *Map[K, V]) Range(ctx context.Context, f func(key K, v V) bool) error {
	for i := range m.stripes {
		var entries []slot[K, V]
		err := m.eachBucket(ctx, i, func(b *bucket[K, V]) {
			for used := b.word.used(); used != 0; used &= used - 1 {
				entries = append(entries, b.slots[bits.TrailingZeros32(used)])
			}
		})
		if err != nil {
			return m.failed("range over", err)
		}
		for _, e := range entries {
			if !f(e.Key, e.Value) {
				return nil
			}
		}
	}
	return nil
}

// Len returns the number of entries. It counts them, and what Range says on moments holds for it.
func (m *Map[K, V]) Len(ctx context.Context) (n int, err error) {
	for i := range m.stripes {
		err := m.eachBucket(ctx, i, func(b *bucket[K, V]) { n += bits.OnesCount32(b.word.used()) })
		if err != nil {
			return 0, m.failed("count", err)
		}
	}
	return n, nil
}

// locked calls f while nobody else changes the stripe.
func (m *Map[K, V]) locked(ctx context.Context, stripe int, f func() error) error {
	return lockedBy(ctx, m.stripes[stripe].mu, f, func() error { return m.repair(ctx, stripe) })
}

// failed names the map in an error, if there is one.
func (m *Map[K, V]) failed(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s map %q: %w", what, m.name, err)
	}
	return err
}
