//go:build amd64 || arm64

package vm_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// pager is the node of the tests. It gives programs the rights that they ask for, and takes pages
// away when told, as if another node wanted them.
type pager struct {
	t     testing.TB
	s     *vm.Shared
	at    pagetable.Range
	size  int // of a page
	pages []pagerPage
	// servers is how many goroutines serve each program; one is fastest.
	servers int

	faults, thefts atomic.Int64 // faults served, rights taken away
}

type pagerPage struct {
	mu    sync.Mutex
	right pagetable.Access
	kept  []byte // the bytes while right is none; nil for zeros
}

// newPager makes a region of so many pages, each of the same size.
func newPager(t testing.TB, pages, size int) *pager {
	at := region(uint64(pages) * uint64(size))
	return &pager{t: t, s: share(t, at), at: at, size: size, pages: make([]pagerPage, pages), servers: 1}
}

// start starts an attached program and goroutines that serve its faults.
func (pg *pager) start(env ...string) *program {
	p := startProgram(pg.t, pg.s, pg.at, env...)
	var wg sync.WaitGroup
	for range pg.servers {
		wg.Go(func() { pg.serve(p.trap) })
	}
	pg.t.Cleanup(func() {
		p.kill()
		wg.Wait()
	})
	return p
}

func (pg *pager) serve(trap *vm.Trap) {
	for {
		f, err := trap.Next()
		if errors.Is(err, fs.ErrClosed) {
			return
		}
		if err != nil {
			pg.t.Error(err)
			return
		}
		pg.fault(f)
	}
}

func (pg *pager) fault(f vm.Fault) {
	pg.faults.Add(1)
	i := int(f.Addr-pg.at.Start) / pg.size
	p, off := &pg.pages[i], uint64(i*pg.size)
	p.mu.Lock()
	defer p.mu.Unlock()
	before, after := p.right, f.Want
	switch {
	case p.right.Allows(f.Want):
		before, after = pagetable.NoAccess, p.right
	case p.right == pagetable.NoAccess:
		copy(pg.s.Bytes(off, pg.size), p.kept)
		p.kept = nil
	}
	p.right = after
	if err := pg.s.Protect(off, pg.size, before, after); err != nil {
		pg.t.Error(err)
	}
}

// lower takes a right away from all programs.
func (pg *pager) lower(i int, after pagetable.Access) {
	p, off := &pg.pages[i], uint64(i*pg.size)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.right <= after {
		return
	}
	pg.thefts.Add(1)
	if err := pg.s.Protect(off, pg.size, p.right, after); err != nil {
		pg.t.Error(err)
	}
	p.right = after
	if after != pagetable.NoAccess {
		return
	}
	p.kept = slices.Clone(pg.s.Bytes(off, pg.size))
	if err := pg.s.Release(off, pg.size); err != nil {
		pg.t.Error(err)
	}
}

// word returns a word of the region as the last writer left it.
func (pg *pager) word(off int) uint64 {
	i := off / pg.size
	pg.lower(i, pagetable.NoAccess)
	p := &pg.pages[i]
	p.mu.Lock()
	defer p.mu.Unlock()
	return vm.LoadUint64(p.kept, off%pg.size)
}

// harass takes rights away at random, as often as it is told, while each work is repeated. It returns
// how often each was done.
func (pg *pager) harass(seed uint64, thefts int64, work ...func() error) []int {
	pg.t.Helper()
	pg.t.Logf("PAGEMESH_SEED=%d", seed)
	var wg sync.WaitGroup
	done := make([]int, len(work))
	for i, f := range work {
		wg.Go(func() {
			for done[i] == 0 || pg.thefts.Load() < thefts {
				if err := f(); err != nil {
					pg.t.Error(err)
					return
				}
				done[i]++
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	random := rand.New(rand.NewPCG(seed, 0))
	watch := time.NewTicker(patience)
	defer watch.Stop()
	for before := int64(-1); ; {
		select {
		case <-finished:
			pg.t.Logf("%d faults, %d thefts, %v rounds", pg.faults.Load(), pg.thefts.Load(), done)
			return done
		case <-watch.C:
			if pg.faults.Load() == before {
				pg.t.Fatal("the programs don't fault and don't come to an end")
			}
			before = pg.faults.Load()
		default:
			pg.lower(random.IntN(len(pg.pages)), pagetable.Access(random.IntN(2))) // none or read
		}
	}
}
