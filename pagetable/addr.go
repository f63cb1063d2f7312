package pagetable

import "fmt"

// Addr is an address in the shared space, the same on every node. Addresses of regions lie in the
// window [WindowStart, WindowEnd).
type Addr uint64

// The window is free in a Go process on every 64-bit system, also under the race detector's layout,
// so that an attached program can map each region at its own address.
const (
	WindowStart Addr = 0x4000_0000_0000
	WindowEnd   Addr = 0x5000_0000_0000
)

// String returns the address in hexadecimal: "0x400000000000".
func (a Addr) String() string { return fmt.Sprintf("%#x", uint64(a)) }

// Window returns the range that all regions lie in.
func Window() Range { return Range{WindowStart, WindowEnd} }

// Range is the addresses from Start up to but not including End. A range with End <= Start is empty.
type Range struct{ Start, End Addr }

// Len returns the number of bytes in r.
func (r Range) Len() uint64 {
	if r.Empty() {
		return 0
	}
	return uint64(r.End - r.Start)
}

// Empty reports whether r holds no address.
func (r Range) Empty() bool { return r.End <= r.Start }

// Contains reports whether a lies in r.
func (r Range) Contains(a Addr) bool { return r.Start <= a && a < r.End }

// Covers reports whether every address of s lies in r. The empty range is covered by all.
func (r Range) Covers(s Range) bool { return s.Empty() || r.Start <= s.Start && s.End <= r.End }

// Overlaps reports whether r and s have an address in common.
func (r Range) Overlaps(s Range) bool { return !r.Intersect(s).Empty() }

// Intersect returns the addresses that r and s have in common; the result may be empty.
func (r Range) Intersect(s Range) Range {
	return Range{Start: max(r.Start, s.Start), End: min(r.End, s.End)}
}

// String returns the half-open form: "[0x400000000000, 0x400000001000)".
func (r Range) String() string { return fmt.Sprintf("[%v, %v)", r.Start, r.End) }
