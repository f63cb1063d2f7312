package pagetable

import (
	"fmt"
	"math/bits"
	"slices"
)

// PlacementKind is the rule by which a page's index leads to its home.
type PlacementKind uint8

const (
	// Hashed spreads neighbouring pages over all slots: good when nothing is known about who uses
	// what, since no node becomes the home of a whole busy piece.
	Hashed PlacementKind = iota
	// Blocked gives each slot one contiguous run of pages: good when node i works on the i-th part.
	Blocked
)

// Valid reports whether k is a known kind. Bytes from outside must be checked with it.
func (k PlacementKind) Valid() bool { return k <= Blocked }

// String returns "hashed" or "blocked".
func (k PlacementKind) String() string {
	switch k {
	case Hashed:
		return "hashed"
	case Blocked:
		return "blocked"
	}
	return fmt.Sprintf("placement(%d)", uint8(k))
}

// Placement fixes the home of every page of a region. A page belongs to a slot for good; the node
// that fills a slot can be replaced.
type Placement struct {
	Kind PlacementKind
	// Nodes holds the node of each slot. A node may fill several. It is never written to in place,
	// since copies of a Placement share it.
	Nodes []NodeID
}

// Validate returns an error unless p has a known kind and a node in each of at least one slot.
func (p Placement) Validate() error {
	switch {
	case !p.Kind.Valid():
		return fmt.Errorf("%v: want hashed or blocked", p.Kind)
	case len(p.Nodes) == 0:
		return fmt.Errorf("%v placement without nodes: name at least one", p.Kind)
	case slices.Contains(p.Nodes, 0):
		return fmt.Errorf("%v placement %v: 0 is no node, ids start at 1", p.Kind, p.Nodes)
	}
	return nil
}

// Home returns the node that keeps the directory entry of page index in a region of that many pages.
// Runs of a blocked placement differ by one page at most.
// Preconditions: p is valid and index < pages <= MaxPageIndex+1.
func (p Placement) Home(index, pages uint64) NodeID {
	if index >= pages {
		panic(fmt.Sprintf("pagetable: Placement.Home: page %d of a region of %d pages", index, pages))
	}
	if len(p.Nodes) == 0 {
		panic("pagetable: Placement.Home: placement without nodes")
	}
	slots := uint64(len(p.Nodes))
	if p.Kind == Blocked {
		// Can't overflow: an index has at most 40 bits and there are far fewer than 2^24 slots.
		return p.Nodes[index*slots/pages]
	}
	slot, _ := bits.Mul64(mix(index), slots)
	return p.Nodes[slot]
}

// Replace returns p with node new in every slot that old fills.
func (p Placement) Replace(old, new NodeID) Placement {
	nodes := slices.Clone(p.Nodes)
	for i, n := range nodes {
		if n == old {
			nodes[i] = new
		}
	}
	return Placement{Kind: p.Kind, Nodes: nodes}
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, section 5): every input bit
// changes each output bit with probability one half. All nodes must agree on it.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
