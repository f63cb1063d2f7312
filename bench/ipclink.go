package bench

import (
	"context"
	"time"

	"pagemesh/bench/ipc"
	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// The ways by memory of the space.
const (
	ipcSequential = "dsm_sequential" // both meet before and after
	ipcRelease    = "dsm_release"    // the same in a release region
	ipcWords      = "dsm_words"      // in a sequential region: the consumer watches a word
)

var ipcShared = []string{ipcSequential, ipcRelease, ipcWords}

// ipcPause is how long an end waits before it looks at a word again. Programs that never rest leave their
// nodes no time to fetch the word: on two cores an item then takes ten times as long.
const ipcPause = 10 * time.Microsecond

// sharedKinds returns the ways by memory of the space.
func sharedKinds(ctx context.Context, r *Rank) []ipc.Kind {
	const item = 64 // offset: the word before it counts items
	array := func(name string, l layout) *Array[byte] {
		l.kind, l.pageSize = pagetable.Blocked, r.Spec.PageSize
		return newArray[byte](ctx, r, name, item+ipc.MaxItem, l)
	}
	items, released := array("items", layout{words: true}), array("released", layout{release: true})
	acks, count := NewCounter(ctx, r, "acks"), NewCounter(ctx, r, "count")
	pair, mu := r.Space.Barrier("bench/"+r.name+"/pair", 2), r.Mutex("released")
	links := map[string]ipc.Link{
		ipcSequential: &barrierLink{wordCounter{ctx, count}, ctx, items, pair, item},
		ipcRelease:    &barrierLink{lockedCounter{ctx, released.Region(), mu}, ctx, released, pair, item},
		ipcWords:      &wordLink{ctx: ctx, items: items, acks: acks, item: item},
	}
	var kinds []ipc.Kind
	for _, name := range ipcShared {
		open := func(string) (ipc.Link, error) { return links[name], nil }
		kinds = append(kinds, ipc.Kind{Name: name, Listen: open, Dial: open})
	}
	return kinds
}

// wordCounter counts in a word of a sequential region.
type wordCounter struct {
	ctx    context.Context
	region *dsm.Region
}

// Add implements ipc.Counter.
func (c wordCounter) Add(delta uint64) uint64 {
	sum, err := c.region.Add(c.ctx, 0, delta)
	check(err)
	return sum
}

// lockedCounter counts in the first word of a release region, which nodes add to under a mutex.
type lockedCounter struct {
	ctx    context.Context
	region *dsm.Region
	mu     *dsm.Mutex
}

// Add implements ipc.Counter.
func (c lockedCounter) Add(delta uint64) uint64 {
	_, err := c.mu.Lock(c.ctx)
	check(err)
	sum, err := c.region.Load(c.ctx, 0)
	check(err)
	check(c.region.Store(c.ctx, 0, sum+delta))
	check(c.mu.Unlock())
	return sum + delta
}

// wordLink hands items over in shared memory: a word counts them, another one acknowledgements.
type wordLink struct {
	ctx   context.Context
	items *Array[byte]
	acks  *dsm.Region
	item  int    // where the item lies in items
	done  uint64 // items
}

func (l *wordLink) Send(item []byte) error {
	w := l.items.Write(l.item, l.item+len(item))
	copy(w.Data, item)
	w.Done()
	l.done++
	if err := l.items.Region().Store(l.ctx, 0, l.done); err != nil {
		return err
	}
	return l.await(l.acks)
}

func (l *wordLink) Serve(n int, item []byte, f func(item []byte)) error {
	for range n {
		l.done++
		if err := l.await(l.items.Region()); err != nil {
			return err
		}
		w := l.items.Read(l.item, l.item+len(item))
		copy(item, w.Data)
		w.Done()
		f(item)
		if err := l.acks.Store(l.ctx, 0, l.done); err != nil {
			return err
		}
	}
	return nil
}

// await returns when the first word of a region has come as far as this end.
func (l *wordLink) await(region *dsm.Region) error {
	for {
		v, err := region.Load(l.ctx, 0)
		if err != nil || v == l.done {
			return err
		}
		time.Sleep(ipcPause)
	}
}

func (l *wordLink) Close() error { return nil }

// barrierLink hands items over in shared memory: both ends meet when an item is there, and when it was
// taken.
type barrierLink struct {
	ipc.Counter
	ctx   context.Context
	items *Array[byte]
	pair  *dsm.Barrier
	item  int // where the item lies in items
}

func (l *barrierLink) Send(item []byte) error {
	w := l.items.Write(l.item, l.item+len(item))
	copy(w.Data, item)
	w.Done()
	if err := l.pair.Wait(l.ctx); err != nil {
		return err
	}
	return l.pair.Wait(l.ctx)
}

func (l *barrierLink) Serve(n int, item []byte, f func(item []byte)) error {
	for range n {
		if err := l.pair.Wait(l.ctx); err != nil {
			return err
		}
		w := l.items.Read(l.item, l.item+len(item))
		copy(item, w.Data)
		w.Done()
		f(item)
		if err := l.pair.Wait(l.ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *barrierLink) Close() error { return nil }
