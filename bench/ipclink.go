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
	ipcWords   = "dsm_words"   // the consumer watches a word
	ipcBarrier = "dsm_barrier" // both meet before and after
)

// ipcPause is how long an end waits before it looks at a word again. Programs that never rest leave their
// nodes no time to fetch the word: on two cores an item then takes ten times as long.
const ipcPause = 10 * time.Microsecond

// sharedKinds returns the ways by memory of the space.
func sharedKinds(ctx context.Context, r *Rank) []ipc.Kind {
	const item = 64 // offset: the word before it counts items
	items := newArray[byte](ctx, r, "items", item+ipc.MaxItem, layout{kind: pagetable.Blocked, pageSize: r.Spec.PageSize, words: true})
	acks := NewCounter(ctx, r, "acks")
	count := NewCounter(ctx, r, "count")
	pair := r.Space.Barrier("bench/"+r.name+"/pair", 2)
	words := func(string) (ipc.Link, error) {
		return &wordLink{ctx: ctx, items: items, acks: acks, count: count, item: item}, nil
	}
	barrier := func(string) (ipc.Link, error) { return &barrierLink{ctx, items, pair, item}, nil }
	return []ipc.Kind{
		{Name: ipcWords, Listen: words, Dial: words},
		{Name: ipcBarrier, Listen: barrier, Dial: barrier},
	}
}

// wordLink hands items over in shared memory: a word counts them, another one acknowledgements.
type wordLink struct {
	ctx         context.Context
	items       *Array[byte]
	acks, count *dsm.Region
	item        int    // where the item lies in items
	done        uint64 // items
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

// Add implements ipc.Counter.
func (l *wordLink) Add(delta uint64) uint64 {
	sum, err := l.count.Add(l.ctx, 0, delta)
	check(err)
	return sum
}

func (l *wordLink) Close() error { return nil }

// barrierLink hands items over in shared memory: both ends meet when an item is there, and when it was
// taken.
type barrierLink struct {
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
