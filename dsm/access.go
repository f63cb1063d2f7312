package dsm

import (
	"context"
	"runtime/trace"
	"sync"
	"time"

	"pagemesh/pagetable"
)

// A transfer asks for many pages at once: two batches are under way, so that the wire does not idle
// while the first one is being finished.
const (
	batchPages = 64
	batchBytes = 1 << 20 // fewer pages if they are large, but at least two
)

// unbounded is the context of callers without one: Config.FaultTimeout bounds their waits.
var unbounded = context.Background()

// transfer implements memory.
func (r *region) transfer(ctx context.Context, a pagetable.Access, o op, sp span, buf []byte) error {
	if err := r.s.closed(); err != nil {
		return err
	}
	var last *batch
	for sp.n > 0 {
		b := r.fill(ctx, a, o, &sp, &buf)
		if last != nil {
			if err := last.wait(ctx); err != nil {
				b.abandon(err)
				return err
			}
		}
		last = b
	}
	if last == nil {
		return nil
	}
	return last.wait(ctx)
}

// batch is a set of faults that are under way together.
type batch struct {
	r       *region
	group   group
	waiters []waiter
}

func newBatchPool() sync.Pool {
	return sync.Pool{New: func() any { return &batch{group: group{done: make(chan struct{}, 1)}} }}
}

// fill serves pages from the front of sp until a batch of missing ones is under way or sp is empty,
// and returns that batch, or nil if every page was here.
func (r *region) fill(ctx context.Context, a pagetable.Access, o op, sp *span, buf *[]byte) *batch {
	limit := max(2, min(batchPages, batchBytes>>r.shift))
	var b *batch
	var w *work
	var site uint32
	for sp.n > 0 && (b == nil || len(b.waiters) < limit) {
		index, in := uint64(sp.off)>>r.shift, int(sp.off)&(1<<r.shift-1)
		n := min(sp.n, int64(1<<r.shift-in))
		wt := waiter{want: a, op: o, off: in, size: min(len(*buf), int(n))}
		if *buf != nil {
			wt.buf, *buf = (*buf)[:n:n], (*buf)[n:]
		}
		sp.off, sp.n = sp.off+n, sp.n-n
		if r.serveHere(index, &wt) {
			continue
		}
		if b == nil {
			b, w, site = r.newBatch(limit), r.s.getWork(), r.s.sites.of(ctx)
		}
		wt.site = site
		b.add(w, index, wt)
	}
	if b == nil {
		return nil
	}
	r.s.putWork(w)
	b.group.finish(nil) // the share of newBatch
	return b
}

// serveHere performs wt at once if the page is here.
func (r *region) serveHere(index uint64, wt *waiter) bool {
	pg := r.pages.Get(index)
	if pg == nil {
		return false
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if !pg.allows(wt.want) {
		return false
	}
	wt.pg = pg
	wt.serve(r, r.frame(index))
	return true
}

// newBatch returns an empty batch. One share of its group is the filler's, so that it can't end
// before it is full.
func (r *region) newBatch(limit int) *batch {
	b := r.s.batches.Get().(*batch)
	b.r = r
	b.group.left.Store(1)
	b.group.err.Store(nil)
	if cap(b.waiters) < limit {
		b.waiters = make([]waiter, 0, limit)
	}
	return b
}

// add starts one fault. The waiters never move: the slice does not grow beyond its capacity.
func (b *batch) add(w *work, index uint64, wt waiter) {
	wt.group = &b.group
	b.group.left.Add(1)
	b.waiters = append(b.waiters, wt)
	w.fault(b.r, index, &b.waiters[len(b.waiters)-1])
}

// wait returns when every fault of the batch has ended, and recycles the batch.
func (b *batch) wait(ctx context.Context) error {
	if b == nil {
		return nil
	}
	select {
	case <-b.group.done: // the common case of an answer that is here already
	default:
		b.await(ctx)
	}
	err := b.group.result()
	clear(b.waiters)
	b.waiters = b.waiters[:0]
	b.r.s.batches.Put(b)
	return err
}

// resumed counts what it took to have this goroutine run again for the page that came last. That is up to half of a wait
// where the processor had halted.
func (b *batch) resumed() {
	last := &b.waiters[0]
	for i := range b.waiters {
		if wt := &b.waiters[i]; wt.ended.After(last.ended) {
			last = wt
		}
	}
	if last.ended.IsZero() {
		return
	}
	late := time.Since(last.ended)
	last.pg.mu.Lock()
	defer last.pg.mu.Unlock()
	last.pg.traffic.resumed(b.r.s, late)
}

// await waits for the group and withdraws what is left when ctx ends.
func (b *batch) await(ctx context.Context) {
	defer trace.StartRegion(ctx, "dsm: wait for pages").End()
	if ctx == unbounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(context.Background(), b.r.s.cfg.FaultTimeout, ErrTimeout)
		defer cancel()
	}
	select {
	case <-b.group.done:
		b.resumed()
		return
	case <-ctx.Done():
	}
	for i := range b.waiters {
		b.waiters[i].pg.withdraw(b.r, &b.waiters[i], context.Cause(ctx))
	}
	<-b.group.done
}

// abandon ends a batch whose results nobody wants any more because of err.
func (b *batch) abandon(err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(err)
	_ = b.wait(ctx)
}
