package pagetable

import (
	"cmp"
	"fmt"
	"iter"

	"github.com/google/btree"
)

// btreeDegree makes nodes of up to 63 entries: a space has few regions, most maps are one node.
const btreeDegree = 32

// RegionMap holds the regions of a space and finds them by address, name and id. It is guarded by its
// owner; a Clone may be used beside its original without a lock between the two.
//
// Invariant: the three trees hold the same regions, and no two of these overlap.
type RegionMap struct {
	byStart *btree.BTreeG[entry[Addr]]
	byName  *btree.BTreeG[entry[string]]
	byID    *btree.BTreeG[entry[RegionID]]
}

// entry is one region in one of the trees. The region is shared by trees and clones, so it is never
// written to.
type entry[K cmp.Ordered] struct {
	key    K
	region *Region
}

func newTree[K cmp.Ordered]() *btree.BTreeG[entry[K]] {
	return btree.NewG(btreeDegree, func(a, b entry[K]) bool { return a.key < b.key })
}

// NewRegionMap returns an empty map.
func NewRegionMap() *RegionMap {
	return &RegionMap{newTree[Addr](), newTree[string](), newTree[RegionID]()}
}

// Insert adds r. It returns an error, and changes nothing, if r or its placement is not valid, if it
// lies outside the window or not on a page boundary, or if its name, id or an address is taken.
func (m *RegionMap) Insert(r Region) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := r.Placement.Validate(); err != nil {
		return fmt.Errorf("region %q: %w", r.Name, err)
	}
	span := r.Range()
	switch {
	case r.ID == 0 || r.ID > MaxRegionID:
		return fmt.Errorf("region %q: id %d: choose one from 1 to %d", r.Name, r.ID, MaxRegionID)
	case uint64(r.Base)%uint64(r.PageSize) != 0:
		return fmt.Errorf("%v: base is not a multiple of the page size %d", r, r.PageSize)
	case !Window().Covers(span):
		return fmt.Errorf("%v lies outside the address window %v", r, Window())
	}
	if old, ok := m.ByName(r.Name); ok {
		return fmt.Errorf("%v: the name is taken by %v", r, old)
	}
	if old, ok := m.ByID(r.ID); ok {
		return fmt.Errorf("%v: the id is taken by %v", r, old)
	}
	if old, ok := m.before(span.End - 1); ok && old.Range().Overlaps(span) {
		return fmt.Errorf("%v overlaps %v", r, old)
	}
	m.byStart.ReplaceOrInsert(entry[Addr]{r.Base, &r})
	m.byName.ReplaceOrInsert(entry[string]{r.Name, &r})
	m.byID.ReplaceOrInsert(entry[RegionID]{r.ID, &r})
	return nil
}

// ByName returns the region of that name.
func (m *RegionMap) ByName(name string) (Region, bool) { return lookup(m.byName, name) }

// ByID returns the region with that id.
func (m *RegionMap) ByID(id RegionID) (Region, bool) { return lookup(m.byID, id) }

func lookup[K cmp.Ordered](tree *btree.BTreeG[entry[K]], key K) (Region, bool) {
	e, ok := tree.Get(entry[K]{key: key})
	if !ok {
		return Region{}, false
	}
	return *e.region, true
}

// At returns the region one of whose pages holds address a.
func (m *RegionMap) At(a Addr) (Region, bool) {
	r, ok := m.before(a)
	if !ok || !r.Range().Contains(a) {
		return Region{}, false
	}
	return r, true
}

// before returns the last region that starts at a or below.
func (m *RegionMap) before(a Addr) (r Region, ok bool) {
	m.byStart.DescendLessOrEqual(entry[Addr]{key: a}, func(e entry[Addr]) bool {
		r, ok = *e.region, true
		return false
	})
	return r, ok
}

// All yields the regions in order of their addresses. The map must not change during the loop.
func (m *RegionMap) All() iter.Seq[Region] {
	return func(yield func(Region) bool) {
		m.byStart.Ascend(func(e entry[Addr]) bool { return yield(*e.region) })
	}
}

// Len returns the number of regions.
func (m *RegionMap) Len() int { return m.byStart.Len() }

// Clone returns a map with the same regions in constant time. From then on neither sees the other's
// changes.
func (m *RegionMap) Clone() *RegionMap {
	return &RegionMap{m.byStart.Clone(), m.byName.Clone(), m.byID.Clone()}
}

// FirstFit returns the lowest multiple of align in the window from which size bytes, rounded up to a
// multiple of align, are free, or an error if there is no such address.
// Preconditions: size is not 0; align is a power of two, and a multiple of the page size of the region
// that the address is for.
func (m *RegionMap) FirstFit(size, align uint64) (Addr, error) {
	if size == 0 || align == 0 || align&(align-1) != 0 {
		panic(fmt.Sprintf("pagetable: RegionMap.FirstFit: size %d, align %d: want a size and a power of two",
			size, align))
	}
	full := fmt.Errorf("no free run of %d bytes in the address window: choose a smaller region", size)
	if size > MaxRegionSize || align > MaxRegionSize {
		return 0, full
	}
	size = alignUp(size, align)
	start := WindowStart // a multiple of every power of two up to MaxRegionSize
	for r := range m.All() {
		if start+Addr(size) <= r.Base {
			break
		}
		start = Addr(alignUp(uint64(r.Range().End), align))
	}
	if start+Addr(size) > WindowEnd {
		return 0, full
	}
	return start, nil
}

// alignUp returns the smallest multiple of align that is not below x. Preconditions: align is a power
// of two.
func alignUp(x, align uint64) uint64 { return (x + align - 1) &^ (align - 1) }
