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

// region is what a node keeps of one region: the frames and the state of its pages.
type region struct {
	s     *node
	meta  atomic.Pointer[pagetable.Region] // replaced when homes move
	mem   *vm.Memory
	pages *pagetable.Table[page]
	shift uint // log2 of the page size
}

// open implements backend.
func (s *node) open(ctx context.Context, name string, options RegionOptions) (*Region, error) {
	want := pagetable.Region{
		Name: name, Size: options.Size, PageSize: options.PageSize,
		Placement: pagetable.Placement{Kind: options.Placement.Kind, Nodes: options.Placement.Nodes},
	}
	if options.PageSize < 0 || options.PageSize > pagetable.MaxPageSize {
		return nil, fmt.Errorf("region %q: page size %d: choose a power of two from %d to %d", name,
			options.PageSize, pagetable.MinPageSize, pagetable.MaxPageSize)
	}
	if kind := options.Placement.Kind; !kind.Valid() {
		return nil, fmt.Errorf("region %q: %v: choose hashed or blocked", name, kind)
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
	r, err := s.local(got)
	if err != nil {
		return nil, err
	}
	return newRegion(r, got), nil
}

// local returns what this node has set aside for a region.
func (s *node) local(meta pagetable.Region) (*region, error) {
	r := s.cur.Load().regions[meta.ID]
	if r == nil {
		return nil, fmt.Errorf("region %q: no memory was set aside for it on this node", meta.Name)
	}
	return r, nil
}

// setAside makes a region: it takes address space, not memory.
func (s *node) setAside(meta pagetable.Region) (*region, error) {
	mem, err := vm.Reserve(meta.Pages() * uint64(meta.PageSize))
	if err != nil {
		return nil, err
	}
	r := &region{
		s: s, mem: mem, pages: pagetable.NewTable[page](meta.Pages()),
		shift: uint(bits.TrailingZeros(uint(meta.PageSize))),
	}
	r.meta.Store(&meta)
	return r, nil
}

// frame returns the local memory of a page.
func (r *region) frame(index uint64) []byte { return r.mem.Bytes(index<<r.shift, 1<<r.shift) }

// name returns the region's name.
func (r *region) name() string { return r.meta.Load().Name }

func (r *region) pageSize() int { return 1 << r.shift }

// home implements memory.
func (r *region) home(index uint64) pagetable.NodeID { return r.s.view().Home(*r.meta.Load(), index) }

// close gives the memory back unless a view still points into it.
func (r *region) close() error {
	pinned := false
	for _, pg := range r.pages.All() {
		pg.mu.Lock()
		pg.closed = true
		pg.fail(ErrClosed)
		pinned = pinned || len(pg.pins) > 0
		pg.mu.Unlock()
	}
	if pinned {
		return errors.New("views of region " + r.name() + " are still held: its memory stays")
	}
	return r.mem.Close()
}
