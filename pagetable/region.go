package pagetable

import "fmt"

// Limits of a region's options. A page size is a power of two.
const (
	MinPageSize     = 256
	MaxPageSize     = 2 << 20
	DefaultPageSize = 4096

	// MaxNameLen is the length of the longest region name, in bytes.
	MaxNameLen = 128
	// MaxLayoutLen is the length of the longest Region.Layout, in bytes.
	MaxLayoutLen = 4096
	// MaxRegionSize is the size of the whole window, 16 TiB.
	MaxRegionSize = uint64(WindowEnd - WindowStart)
)

// Region is a named, contiguous range of the space, cut into pages of one size.
type Region struct {
	ID        RegionID
	Name      string // 1 to MaxNameLen bytes, unique in its space
	Base      Addr   // address of byte 0, a multiple of PageSize
	Size      uint64 // bytes that programs may use; the last page may be larger than its share
	PageSize  int    // bytes, a power of two from MinPageSize to MaxPageSize
	Placement Placement
	// Consistency is how the copies of its pages are kept.
	Consistency Consistency
	// Layout describes the Go type that the region is an array of, "" as long as nobody has said. What it
	// says matters to people only; two that differ are two types.
	Layout string
}

// Pages returns the number of pages, the last of which may be used in part.
// Preconditions: r is valid.
func (r Region) Pages() uint64 {
	p := uint64(r.PageSize)
	return (r.Size + p - 1) / p
}

// Range returns the addresses of all pages of r, including the unused end of the last.
// Preconditions: r is valid.
func (r Region) Range() Range {
	return Range{Start: r.Base, End: r.Base + Addr(r.Pages()*uint64(r.PageSize))}
}

// Home returns the home of the page with that index.
// Preconditions: r and its placement are valid and index < r.Pages().
func (r Region) Home(index uint64) NodeID { return r.Placement.Home(index, r.Pages()) }

// Validate returns an error that names the remedy unless name, size and page size are within their
// limits. Where the region lies and on whom it is placed is checked by RegionMap.Insert.
func (r Region) Validate() error {
	switch {
	case r.Name == "" || len(r.Name) > MaxNameLen:
		return fmt.Errorf("region name of %d bytes: choose one of 1 to %d", len(r.Name), MaxNameLen)
	case r.Size == 0:
		return fmt.Errorf("region %q: size 0: give it at least one byte", r.Name)
	case r.Size > MaxRegionSize:
		return fmt.Errorf("region %q: size of %d bytes: at most %d fit the address window",
			r.Name, r.Size, MaxRegionSize)
	case r.PageSize < MinPageSize || r.PageSize > MaxPageSize || r.PageSize&(r.PageSize-1) != 0:
		return fmt.Errorf("region %q: page size of %d bytes: choose a power of two from %d to %d",
			r.Name, r.PageSize, MinPageSize, MaxPageSize)
	case !r.Consistency.Valid():
		return fmt.Errorf("region %q: %v: choose sequential or release", r.Name, r.Consistency)
	}
	return nil
}

// String returns the form used in traces: `r2 "grid" [0x400000000000, 0x400000100000)`.
func (r Region) String() string { return fmt.Sprintf("r%d %q %v", uint32(r.ID), r.Name, r.Range()) }
