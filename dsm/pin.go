package dsm

import (
	"context"

	"pagemesh/pagetable"
)

// pin implements memory. It pins the pages in ascending order. All are asked for first, without pins,
// so that their transfers overlap; pinning in one order at all nodes keeps two wide views from waiting
// for each other in a circle.
func (r *region) pin(ctx context.Context, h hold) ([]byte, error) {
	first, end := r.pagesOf(h.span)
	if first == end {
		return nil, r.s.closed()
	}
	if end-first > 1 {
		if err := r.transfer(ctx, h.access, opTouch, h.span, nil); err != nil {
			return nil, err
		}
	}
	for i := first; i < end; i++ {
		if err := r.pinPage(ctx, i, h); err != nil {
			r.unpinPages(first, i, h)
			return nil, err
		}
	}
	return r.mem.Bytes(uint64(h.off), int(h.n)), nil
}

// pagesOf returns the half-open range of the span's page indexes.
func (r *region) pagesOf(sp span) (first, end uint64) {
	if sp.n == 0 {
		return 0, 0
	}
	return uint64(sp.off) >> r.shift, uint64(sp.off+sp.n-1)>>r.shift + 1
}

func (r *region) pinPage(ctx context.Context, index uint64, h hold) error {
	if pg := r.pages.Get(index); pg != nil {
		pg.mu.Lock()
		if pg.allows(h.access) {
			pg.pin(r, h.access, h.site)
			pg.mu.Unlock()
			return nil
		}
		pg.mu.Unlock()
	}
	if r.viewed.news(h.elem) {
		r.types.set(arrayOf(h.elem, r.meta.Load().Size))
	}
	in := r.part(index, h.span)
	return r.one(ctx, index, waiter{want: h.access, op: opPin, off: int(in.off), size: int(in.n), pc: h.site}).wait(ctx)
}

// part returns the part of a span that lies in a page, from the page's start.
func (r *region) part(index uint64, sp span) span {
	page := int64(index << r.shift)
	from, to := max(sp.off, page), min(sp.off+sp.n, page+int64(r.pageSize()))
	return span{from - page, to - from}
}

// unpin implements memory.
func (r *region) unpin(h hold) {
	first, end := r.pagesOf(h.span)
	r.unpinPages(first, end, h)
}

func (r *region) unpinPages(first, end uint64, h hold) {
	for i := first; i < end; i++ {
		r.unpinPage(r.pages.Get(i), h.access, h.site)
	}
}

func (r *region) unpinPage(pg *page, a pagetable.Access, site uintptr) {
	pg.mu.Lock()
	pg.forgetPin(a, site)
	if pg.closed || !pg.proto.Delayed() {
		pg.proto.Unpin(a, nil)
		pg.mu.Unlock()
		return
	}
	w := r.s.getWork()
	w.unpin(r, pg, a)
	pg.mu.Unlock()
	r.s.putWork(w)
}
