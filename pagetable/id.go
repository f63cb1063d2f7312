package pagetable

import "fmt"

// NodeID names a member of a space. The coordinator hands them out from 1 upwards and never twice in
// the life of a space, so that a node that comes back is a new node. Zero means no node.
type NodeID uint32

// String returns the form used in traces: "n3", or "-" for no node.
func (n NodeID) String() string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("n%d", uint32(n))
}

// RegionID names a region. Ids start at 1 and are never reused. At most MaxRegionID.
type RegionID uint32

const (
	regionBits = 24
	indexBits  = 64 - regionBits

	// MaxRegionID is the largest region id that a PageID can carry.
	MaxRegionID RegionID = 1<<regionBits - 1
	// MaxPageIndex is the largest page index that a PageID can carry.
	MaxPageIndex uint64 = 1<<indexBits - 1
)

// PageID names a page of the space: a region and the page's index within it. It does not depend on
// the page size, so it fits a packet as one integer.
type PageID uint64

// MakePageID returns the id of the page with the given index in region r.
// Preconditions: r <= MaxRegionID and index <= MaxPageIndex.
func MakePageID(r RegionID, index uint64) PageID {
	if r > MaxRegionID || index > MaxPageIndex {
		panic("pagetable: MakePageID: region id or page index has too many bits")
	}
	return PageID(uint64(r)<<indexBits | index)
}

// Region returns the region the page belongs to.
func (p PageID) Region() RegionID { return RegionID(p >> indexBits) }

// Index returns the position of the page in its region, counted in pages from 0.
func (p PageID) Index() uint64 { return uint64(p) & MaxPageIndex }

// String returns the form used in traces: "r2:17", page 17 of region 2.
func (p PageID) String() string { return fmt.Sprintf("r%d:%d", uint32(p.Region()), p.Index()) }
