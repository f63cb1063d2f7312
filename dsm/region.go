package dsm

import (
	"context"
	"fmt"
	"io"
	"math/bits"

	"pagemesh/dsm/layout"
	"pagemesh/pagetable"
)

// Placement says which nodes are the homes of a region's pages, and by which rule. A home orders the
// accesses to its pages; a page homed where it is used most costs the fewest messages.
type Placement struct {
	// Kind is pagetable.Hashed (default), which spreads neighbouring pages over the homes, or
	// pagetable.Blocked, which gives each home one run of pages, in the order of Nodes.
	Kind pagetable.PlacementKind
	// Nodes are the homes, members all; one that is named twice homes twice as much. Default: the
	// members at the time of creation, ascending by id. Members that join later home nothing.
	Nodes []pagetable.NodeID
}

// RegionOptions are the properties of a region, fixed when it is created.
type RegionOptions struct {
	// Size in bytes, from 1 to 16 TiB, which all regions share. Memory is used only for pages that are
	// touched. 0 opens a region that exists, whatever its size and placement.
	Size uint64
	// PageSize in bytes, a power of two from 256 to 2 MiB. It is the unit that moves between nodes:
	// small pages avoid false sharing, large ones amortize the round trip. Default 4096, or whatever
	// the region has if it exists.
	PageSize int
	// Placement chooses the homes. Default: hashed over all members.
	Placement Placement
	// Consistency is pagetable.Sequential (default) or pagetable.Release, in which several nodes may write a
	// page at once: see "Release regions" in the package comment. A region that is opened with Size 0 and
	// without it is taken as it is.
	Consistency pagetable.Consistency
}

// region returns the region that the options ask for, with limits checked that its wire form has.
func (o RegionOptions) region(name string) (pagetable.Region, error) {
	want := pagetable.Region{
		Name: name, Size: o.Size, PageSize: o.PageSize,
		Placement:   pagetable.Placement{Kind: o.Placement.Kind, Nodes: o.Placement.Nodes},
		Consistency: o.Consistency,
	}
	if o.PageSize < 0 || o.PageSize > pagetable.MaxPageSize {
		return want, fmt.Errorf("region %q: page size %d: choose a power of two from %d to %d", name,
			o.PageSize, pagetable.MinPageSize, pagetable.MaxPageSize)
	}
	if !o.Placement.Kind.Valid() {
		return want, fmt.Errorf("region %q: %v: choose hashed or blocked", name, o.Placement.Kind)
	}
	if !o.Consistency.Valid() {
		return want, fmt.Errorf("region %q: %v: choose pagetable.Sequential or pagetable.Release", name, o.Consistency)
	}
	if len(name) > pagetable.MaxNameLen || o.Size > pagetable.MaxRegionSize {
		want.PageSize = pagetable.DefaultPageSize
		return want, want.Validate()
	}
	return want, nil
}

// Region is a named range of the shared space, zeros at first. It lasts as long as the space. Its methods
// may be called from any goroutine.
type Region struct {
	m           memory
	name        string
	base        pagetable.Addr
	size        uint64
	shift       uint // log2 of the page size
	consistency pagetable.Consistency
}

// memory is how a Region's bytes are reached: through the node in this process, or by mapping those of
// a node in another. Offsets lie in the region; what is asked for has been checked.
type memory interface {
	// transfer performs o on every page of sp with the right a, moving bytes between them and buf.
	transfer(ctx context.Context, a pagetable.Access, o op, sp span, buf []byte) error
	// word performs an operation on the word at off and returns its result.
	word(ctx context.Context, off int64, o wordOp) (v uint64, ok bool, err error)
	// pin brings the pages of h here and keeps them until unpin; the bytes are those of h.span.
	pin(ctx context.Context, h hold) ([]byte, error)
	unpin(h hold)
	// home returns the home of a page, 0 if it was lost.
	home(index uint64) pagetable.NodeID
	// typed says what lies in a part of the region.
	typed(t layout.Range)
}

// span is a range of bytes of a region.
type span struct{ off, n int64 }

func newRegion(m memory, meta pagetable.Region) *Region {
	return &Region{
		m: m, name: meta.Name, base: meta.Base, size: meta.Size, shift: uint(bits.TrailingZeros(uint(meta.PageSize))),
		consistency: meta.Consistency,
	}
}

// Name returns the region's name.
func (r *Region) Name() string { return r.name }

// Size returns the region's size in bytes.
func (r *Region) Size() uint64 { return r.size }

// PageSize returns the size of its pages in bytes.
func (r *Region) PageSize() int { return 1 << r.shift }

// Consistency returns what the region promises about accesses of several nodes.
func (r *Region) Consistency() pagetable.Consistency { return r.consistency }

// Base returns the address of the region's first byte in the shared space, the same on all nodes and a
// multiple of 2 MiB. In an embedded node no memory lies there.
func (r *Region) Base() pagetable.Addr { return r.base }

// Home returns the home of the page that holds the byte at off, or 0 if it was lost or off lies
// outside the region.
func (r *Region) Home(off int64) pagetable.NodeID {
	if off < 0 || uint64(off) >= r.size {
		return 0
	}
	return r.m.home(uint64(off) >> r.shift)
}

// check returns an error unless [off, off+n) lies in the region.
func (r *Region) check(off, n int64) error {
	if off < 0 || n < 0 || uint64(off) > r.size || uint64(n) > r.size-uint64(off) {
		return fmt.Errorf("bytes [%d, %d+%d) of region %q, which has %d: %w", off, off, n, r.name, r.size, ErrRange)
	}
	return nil
}

// ReadAt reads len(p) bytes at off. It implements io.ReaderAt: at the end of the region it returns
// what there is and io.EOF. Bytes of one page are read at one moment, different pages at different
// ones. It waits up to Config.FaultTimeout for a page.
func (r *Region) ReadAt(p []byte, off int64) (int, error) {
	size := int64(r.size)
	if off < 0 || off > size {
		return 0, r.check(off, int64(len(p)))
	}
	n := min(int64(len(p)), size-off)
	if err := r.m.transfer(unbounded, pagetable.ReadAccess, opRead, span{off, n}, p); err != nil {
		return 0, fmt.Errorf("read %d bytes at %d of region %q: %w", n, off, r.name, err)
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// WriteAt writes p at off. It implements io.WriterAt; nothing is written if p does not fit the region
// (ErrRange). Bytes of one page are written at one moment, different pages at different ones. It
// waits up to Config.FaultTimeout for a page.
func (r *Region) WriteAt(p []byte, off int64) (int, error) {
	n := int64(len(p))
	if err := r.check(off, n); err != nil {
		return 0, err
	}
	if err := r.m.transfer(unbounded, pagetable.WriteAccess, opWrite, span{off, n}, p); err != nil {
		return 0, fmt.Errorf("write %d bytes at %d of region %q: %w", n, off, r.name, err)
	}
	return len(p), nil
}

// Prefetch brings the pages of [off, off+n) to this node with the right that is asked for, many at a
// time, and returns when the last has come. Another node may take them away again at any moment; a
// view keeps them.
func (r *Region) Prefetch(ctx context.Context, off, n int64, a pagetable.Access) error {
	if err := r.check(off, n); err != nil {
		return err
	}
	if a == pagetable.NoAccess || !a.Valid() {
		return fmt.Errorf("prefetch with access %v: want read or write", a)
	}
	if err := r.m.transfer(ctx, a, opTouch, span{off, n}, nil); err != nil {
		return fmt.Errorf("prefetch %d bytes at %d of region %q: %w", n, off, r.name, err)
	}
	return nil
}
