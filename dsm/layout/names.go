package layout

import (
	"cmp"
	"fmt"
	"slices"
)

// Range is a part of a region that holds objects of one type, one after the other.
type Range struct {
	Start  uint64 `json:"start"`  // offset of its first byte in the region
	End    uint64 `json:"end"`    // offset behind its last byte
	Stride uint64 `json:"stride"` // bytes from one object to the next; an object may hold several values of the type
	Type   string `json:"type"`   // as Type.Text has it
	// Heap: its objects are allocated, each for itself. Otherwise they are the elements of one array.
	Heap bool `json:"heap"`
}

// Names gives names to the bytes of a region. The zero Names knows none.
type Names struct{ list []named }

type named struct {
	Range
	t *Type
}

// NamesOf returns what the ranges say. Those that can't be read, and those that overlap but are not the same, are left
// out.
func NamesOf(ranges []Range) Names {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Type, b.Type))
	})
	sorted = slices.Compact(sorted)
	var n Names
	end := uint64(0) // of what came so far
	for i, r := range sorted {
		alone := r.Start >= end && (i+1 == len(sorted) || sorted[i+1].Start >= r.End)
		end = max(end, r.End)
		t, err := Parse(r.Type)
		if alone && err == nil && t.Size > 0 && r.Start < r.End && r.Stride >= uint64(t.Size) {
			n.list = append(n.list, named{r, t})
		}
	}
	return n
}

// At returns the name of the byte at an offset of the region, "[]Worker[17].hits" in an array and "Worker@65600.hits"
// in a heap, or "" if nothing is known of it.
func (n Names) At(off uint64) string {
	r := n.find(off)
	if r == nil {
		return ""
	}
	return r.object(off) + r.path(off)
}

// Span returns the name of the bytes [start, end) of the region, "" if nothing is known of them. If they belong to
// several values it names the first and the last.
func (n Names) Span(start, end uint64) string {
	first, last := n.find(start), n.find(end-1)
	switch {
	case first == nil || last == nil || start >= end:
		return ""
	case n.At(start) == n.At(end-1):
		return n.At(start)
	case first != last:
		return n.At(start) + " to " + n.At(end-1)
	}
	return first.span(start, end-1)
}

// span names bytes of several values in one range.
func (r *named) span(start, last uint64) string {
	switch a, b := r.object(start), r.object(last); {
	case a == b:
		return a + r.path(start) + " to " + r.path(last)
	case !r.Heap && r.path(start) == "" && r.path(last) == "":
		return fmt.Sprintf("[]%s[%d:%d]", r.t.Short(), r.index(start), r.index(last)+1)
	default:
		return a + r.path(start) + " to " + b + r.path(last)
	}
}

func (n Names) find(off uint64) *named {
	i, found := slices.BinarySearchFunc(n.list, off, func(r named, off uint64) int { return cmp.Compare(r.Start, off) })
	if !found {
		i--
	}
	if i < 0 || off >= n.list[i].End {
		return nil
	}
	return &n.list[i]
}

// index returns which object of the range the byte is in.
func (r *named) index(off uint64) uint64 { return (off - r.Start) / r.Stride }

// several reports whether an object is a slice.
func (r *named) several() bool { return r.Stride >= 2*uint64(r.t.Size) }

// object names the object that has the byte.
func (r *named) object(off uint64) string {
	i := r.index(off)
	switch {
	case !r.Heap:
		return fmt.Sprintf("[]%s[%d]", r.t.Short(), i)
	case r.several():
		return fmt.Sprintf("[]%s@%d", r.t.Short(), r.Start+i*r.Stride)
	}
	return fmt.Sprintf("%s@%d", r.t.Short(), r.Start+i*r.Stride)
}

// path names the byte in its object.
func (r *named) path(off uint64) string {
	in := (off - r.Start) % r.Stride
	size := uint64(r.t.Size)
	switch {
	case r.Heap && r.several():
		return fmt.Sprintf("[%d]", in/size) + r.t.Path(int(in%size))
	case in >= size:
		return ".(padding)"
	}
	return r.t.Path(int(in))
}
