package dsm

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
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
}

// Region is a named range of the shared space, zeros at first. It lasts as long as the space. Its methods
// may be called from any goroutine.
type Region struct {
	s     *Space
	meta  atomic.Pointer[pagetable.Region] // replaced when homes move
	mem   *vm.Memory
	pages *pagetable.Table[page]
	shift uint // log2 of the page size
}

// Region creates the region of that name, 1 to 128 bytes, or opens it if it exists: all calls with one
// name, on all nodes, lead to the same memory. Its errors are ErrMismatch if it exists with other
// options, ErrNotExist if it does not and options.Size is 0, ErrClosed, ErrNodeLost, the cause of ctx,
// or one that says which option is wrong and what to choose.
func (s *Space) Region(ctx context.Context, name string, options RegionOptions) (*Region, error) {
	want := pagetable.Region{
		Name: name, Size: options.Size, PageSize: options.PageSize,
		Placement: pagetable.Placement{Kind: options.Placement.Kind, Nodes: options.Placement.Nodes},
	}
	if options.PageSize < 0 || options.PageSize > pagetable.MaxPageSize {
		return nil, fmt.Errorf("region %q: page size %d: choose a power of two from %d to %d", name,
			options.PageSize, pagetable.MinPageSize, pagetable.MaxPageSize)
	}
	if len(name) > pagetable.MaxNameLen || options.Size > pagetable.MaxRegionSize {
		want.PageSize = pagetable.DefaultPageSize
		return nil, want.Validate()
	}
	answer, err := s.propose(ctx, change{kind: changeRegion, payload: coherence.EncodeRegion(want)})
	if err != nil {
		return nil, err
	}
	got, err := coherence.DecodeRegion(answer)
	if err != nil {
		return nil, err
	}
	return s.openRegion(got)
}

func (s *Space) openRegion(meta pagetable.Region) (*Region, error) {
	r := s.cur.Load().regions[meta.ID]
	if r == nil {
		return nil, fmt.Errorf("region %q: no memory was set aside for it on this node", meta.Name)
	}
	return r, nil
}

// newRegion sets aside address space, not memory.
func (s *Space) newRegion(meta pagetable.Region) (*Region, error) {
	mem, err := vm.Reserve(meta.Pages() * uint64(meta.PageSize))
	if err != nil {
		return nil, err
	}
	r := &Region{
		s: s, mem: mem, pages: pagetable.NewTable[page](meta.Pages()),
		shift: uint(bits.TrailingZeros(uint(meta.PageSize))),
	}
	r.meta.Store(&meta)
	return r, nil
}

// frame returns the local memory of a page.
func (r *Region) frame(index uint64) []byte { return r.mem.Bytes(index<<r.shift, 1<<r.shift) }

// Name returns the region's name.
func (r *Region) Name() string { return r.meta.Load().Name }

// Size returns the region's size in bytes.
func (r *Region) Size() uint64 { return r.meta.Load().Size }

// PageSize returns the size of its pages in bytes.
func (r *Region) PageSize() int { return 1 << r.shift }

// Base returns the address of the region's first byte in the shared space, the same on all nodes and a
// multiple of 2 MiB. In an embedded node no memory lies there.
func (r *Region) Base() pagetable.Addr { return r.meta.Load().Base }

// Home returns the home of the page that holds the byte at off, or 0 if it was lost or off lies
// outside the region.
func (r *Region) Home(off int64) pagetable.NodeID {
	meta := r.meta.Load()
	if off < 0 || uint64(off) >= meta.Size {
		return 0
	}
	return r.s.view().Home(*meta, uint64(off)>>r.shift)
}

// check returns an error unless [off, off+n) lies in the region.
func (r *Region) check(off, n int64) error {
	size := r.Size()
	if off < 0 || n < 0 || uint64(off) > size || uint64(n) > size-uint64(off) {
		return fmt.Errorf("bytes [%d, %d+%d) of region %q, which has %d: %w", off, off, n, r.Name(), size, ErrRange)
	}
	return nil
}

// close gives the memory back unless a view still points into it.
func (r *Region) close() error {
	pinned := false
	for _, pg := range r.pages.All() {
		pg.mu.Lock()
		pg.closed = true
		pg.fail(ErrClosed)
		pinned = pinned || len(pg.pins) > 0
		pg.mu.Unlock()
	}
	if pinned {
		return errors.New("views of region " + r.Name() + " are still held: its memory stays")
	}
	return r.mem.Close()
}
