package dsm

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync/atomic"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// region is what a node keeps of one region: the frames and the state of its pages.
type region struct {
	s     *node
	meta  atomic.Pointer[pagetable.Region] // replaced when homes move
	mem   vm.Frames
	pages *pagetable.Table[page]
	shift uint // log2 of the page size
	// mapped: programs map the frames, so that rights must be enforced.
	mapped bool
	// release: several nodes may write a page at once.
	release bool
	types   types
	viewed  viewed
}

// open implements backend.
func (s *node) open(ctx context.Context, name string, options RegionOptions) (*Region, error) {
	want, err := options.region(name)
	if err != nil {
		return nil, err
	}
	r, err := s.create(ctx, want)
	if err != nil {
		return nil, err
	}
	return newRegion(r, *r.meta.Load()), nil
}

// create has the space create a region, or opens the one of that name.
func (s *node) create(ctx context.Context, want pagetable.Region) (*region, error) {
	answer, err := s.propose(ctx, change{kind: changeRegion, payload: coherence.EncodeRegion(want)})
	if err != nil {
		return nil, err
	}
	got, err := coherence.DecodeRegion(answer)
	if err != nil {
		return nil, err
	}
	return s.local(got)
}

// local returns what this node has set aside for a region.
func (s *node) local(meta pagetable.Region) (*region, error) {
	r := s.cur.Load().regions[meta.ID]
	if r == nil {
		return nil, fmt.Errorf("region %q: no memory was set aside for it on this node", meta.Name)
	}
	return r, nil
}

// setAside makes a region: it takes address space, not memory. Pages that are smaller than the
// system's can't be trapped, so programs do not map them.
func (s *node) setAside(meta pagetable.Region) (*region, error) {
	r := &region{
		s: s, pages: pagetable.NewTable[page](meta.Pages()), shift: uint(bits.TrailingZeros(uint(meta.PageSize))),
		mapped: s.server != nil && meta.PageSize >= os.Getpagesize(), release: meta.Consistency == pagetable.Release,
	}
	if r.release {
		s.intervals.use()
	}
	r.meta.Store(&meta)
	if !r.mapped {
		mem, err := vm.Reserve(meta.Pages() * uint64(meta.PageSize))
		r.mem = mem
		return r, err
	}
	mem, err := vm.NewShared(meta.Name, meta.Range())
	if err != nil {
		return nil, err
	}
	s.server.share(mem)
	r.mem = mem
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
		pg.fail(r, ErrClosed)
		pinned = pinned || len(pg.pins) > 0
		pg.mu.Unlock()
	}
	if pinned {
		return errors.New("views of region " + r.name() + " are still held: its memory stays")
	}
	return r.mem.Close()
}
