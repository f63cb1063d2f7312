package dsm

import (
	"context"

	"pagemesh/locks"
)

// nodePool is an RWMutex or a Semaphore through the node in this process.
type nodePool struct {
	e     *syncEngine
	name  string
	size  uint64
	taken uint64 // permits that were taken through this value; guarded by e.mu
}

// pool implements backend.
func (s *node) pool(name string, size uint64) pool {
	return &nodePool{e: &s.sync, name: name, size: size}
}

// take implements pool.
func (p *nodePool) take(ctx context.Context, count uint64) (token uint64, err error) {
	if err := p.e.prepare(ctx); err != nil {
		return 0, err
	}
	how, ok := p.e.await(ctx, &syncWaiter{pool: p, count: count})
	if !ok {
		return 0, context.Cause(ctx)
	}
	return uint64(how.Token), how.error()
}

// put implements pool.
func (p *nodePool) put(count uint64) error {
	if err := p.e.s.closed(); err != nil {
		return err
	}
	if err := p.e.s.intervals.release(); err != nil {
		return err
	}
	if !p.e.put(p, count) {
		return ErrNotHeld
	}
	return nil
}

// abandon puts back what was taken through p, and reports whether anything was.
func (p *nodePool) abandon() bool {
	taken := p.inUse()
	return taken > 0 && p.e.put(p, taken)
}

func (p *nodePool) inUse() uint64 {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	return p.taken
}

// put puts permits back that were taken through p. The one who writes has not come to read.
func (e *syncEngine) put(p *nodePool, count uint64) (held bool) {
	e.do(func() {
		writes := p.size == locks.Everything && p.taken == p.size
		held = count <= p.taken && (!writes || count == p.size) && e.m.Put(p.name, p.size, count, &e.rd)
		if held {
			p.taken -= count
		}
	})
	return held
}
