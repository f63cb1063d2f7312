package dsm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"pagemesh/pagetable"
)

// This file is about pages that programs can't have. Such a page is poisoned: a thread that touches it gets
// a bus error, which Space.Guard turns into an error, and which ends the program elsewhere. What the Go
// runtime prints then knows nothing of regions, so the node says it first.

// trapEnded ends a trap that can't be served. A node that closes leaves the thread to whoever ends the
// program. The caller holds pg.mu.
func (pg *page) trapEnded(r *region, err error) {
	if !errors.Is(err, ErrNodeLost) && !errors.Is(err, ErrMemory) {
		return
	}
	pg.lost = err
	if pg.poisoning {
		return
	}
	pg.poisoning = true
	before := pg.proto.Access()
	r.s.running.Go(func() { r.poison(pg, before) })
}

// poison poisons a page, unless the node has got more than the right before in the meantime: then its
// threads have been woken. A copy of it that the node may still read stays.
func (r *region) poison(pg *page, before pagetable.Access) {
	pg.mu.Lock()
	cause := pg.lost
	pg.mu.Unlock()
	r.s.server.warn(cause)
	pg.mu.Lock()
	defer pg.mu.Unlock()
	pg.poisoning = false
	if pg.proto.Access() > before {
		return
	}
	index := pg.proto.ID().Index()
	frame := r.frame(index)
	kept := bytes.Clone(frame)
	err := errors.Join(r.mem.Release(index<<r.shift, len(frame)), r.mem.Poison(index<<r.shift, len(frame)))
	copy(frame, kept)
	if err != nil {
		r.s.log.Error("a lost page can't be poisoned: threads that touch it hang", "region", r.name(), "error", err)
	}
}

// warnTime bounds the wait for a program's standard error to take a line.
const warnTime = time.Second

// warn tells every program that a page can't be had.
func (v *server) warn(cause error) {
	v.mu.Lock()
	var outputs []*os.File
	for p, attached := range v.programs {
		if attached && p.stderr != nil {
			outputs = append(outputs, p.stderr)
		}
	}
	v.mu.Unlock()
	line := fmt.Sprintf("pagemesh: %v: an access outside Space.Guard ends this program\n", cause)
	for _, f := range outputs {
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = f.WriteString(line) // a program may have closed it
		}()
		select {
		case <-written:
		case <-time.After(warnTime):
		}
	}
}

// cause returns why a page was poisoned.
func (p *program) cause(q question) error {
	q.n = 1
	r, err := p.find(q)
	if err != nil {
		return err
	}
	if pg := r.pages.Get(uint64(q.off) >> r.shift); pg != nil {
		pg.mu.Lock()
		defer pg.mu.Unlock()
		err = pg.lost
	}
	return err
}
