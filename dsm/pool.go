package dsm

import (
	"context"
	"errors"

	"pagemesh/locks"
)

// nodePool is an RWMutex or a Semaphore through the node in this process.
type nodePool struct {
	e       *syncEngine
	size    uint64
	taken   uint64 // permits that were taken through this value; guarded by e.mu
	holders        // of an RWMutex; nobody knows who holds a permit of a Semaphore
}

// pool implements backend.
func (s *node) pool(name string, size uint64) pool {
	p := newNodePool(&s.sync, name, size)
	return &p
}

func newNodePool(e *syncEngine, name string, size uint64) nodePool {
	kind := "semaphore"
	if size == locks.Everything {
		kind = "rwmutex"
	}
	return nodePool{e: e, size: size, holders: holders{kind: kind, name: name}}
}

// take implements pool.
func (p *nodePool) take(ctx context.Context, count uint64, by caller) (token uint64, err error) {
	if err := p.e.prepare(ctx); err != nil {
		return 0, err
	}
	how, ok := p.e.await(ctx, &syncWaiter{pool: p, count: count, by: by})
	if !ok {
		return 0, context.Cause(ctx)
	}
	return uint64(how.Token), how.error()
}

// put implements pool.
func (p *nodePool) put(count uint64, by caller) error {
	r, err := p.e.s.intervals.toSync()
	if err == nil {
		err = p.putReleased(count, by)
	}
	return errors.Join(err, r.complete())
}

// putReleased is put when the interval has ended.
func (p *nodePool) putReleased(count uint64, by caller) error {
	if err := p.e.s.closed(); err != nil {
		return err
	}
	if !p.e.put(p, count, by) {
		return ErrNotHeld
	}
	return nil
}

// abandon puts back what was taken through p, and reports whether anything was.
func (p *nodePool) abandon() bool {
	taken := p.inUse()
	return taken > 0 && p.e.put(p, taken, caller{})
}

func (p *nodePool) inUse() uint64 {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	return p.taken
}

// put puts permits back that were taken through p. The one who writes has not come to read.
func (e *syncEngine) put(p *nodePool, count uint64, by caller) (held bool) {
	e.do(func() {
		writes := p.size == locks.Everything && p.taken == p.size
		held = count <= p.taken && (!writes || count == p.size) && e.m.Put(p.name, p.size, count, &e.rd)
		if !held {
			return
		}
		e.s.races.released(locks.PoolID(p.name, p.size))
		if p.taken -= count; p.taken == 0 {
			e.held.clear(&p.holders)
		} else {
			e.held.remove(&p.holders, by)
		}
	})
	return held
}
