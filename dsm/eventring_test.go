package dsm

import (
	"sync"
	"sync/atomic"
	"testing"

	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

func everyEvent(*trace.Event) bool { return true }

// TestEventRings has goroutines record events while others read: what a reader gets is whole, in the order of its
// page, and no event is without an account.
func TestEventRings(t *testing.T) {
	const writers, each, readers = 4, 20_000, 2
	var g eventRings
	g.init(1 << 10)
	var writing, reading sync.WaitGroup
	var done atomic.Bool
	for w := range uint64(writers) {
		writing.Go(func() {
			for i := uint64(1); i <= each; i++ {
				g.put(&trace.Event{Page: pagetable.PageID(w), Txn: i, Words: ^i, Time: int64(i)})
			}
		})
	}
	for range readers {
		reading.Go(func() {
			var at cursor
			var last [writers]uint64
			got, lost := uint64(0), uint64(0)
			for finished := false; !finished; {
				finished = done.Load()
				for more := true; more; {
					list, n := g.read(&at, nil, 100, everyEvent)
					lost += n
					for _, e := range list {
						if e.Words != ^e.Txn || e.Time != int64(e.Txn) || e.Txn <= last[e.Page] {
							t.Errorf("%+v after number %d", e, last[e.Page])
						}
						last[e.Page] = e.Txn
					}
					got += uint64(len(list))
					more = len(list) > 0
				}
			}
			if got+lost != writers*each || got == 0 {
				t.Errorf("%d events were read and %d lost, of %d", got, lost, writers*each)
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
}

// TestEventRingsKeepTheLatest: what is overwritten is lost, and the reader is told.
func TestEventRingsKeepTheLatest(t *testing.T) {
	const kept, put = 64, 1000
	var g eventRings
	g.init(kept * eventShards)
	for i := range uint64(put) {
		g.put(&trace.Event{Txn: i})
	}
	var at cursor
	list, lost := g.read(&at, nil, put, everyEvent)
	if len(list) != kept || lost != put-kept || list[0].Txn != put-kept || at != g.end() {
		t.Errorf("%d events from number %d, %d lost", len(list), list[0].Txn, lost)
	}
	if list, lost := g.read(&at, nil, put, everyEvent); len(list)+int(lost) > 0 {
		t.Errorf("read again: %d events, %d lost", len(list), lost)
	}
	at = g.end()
	g.put(&trace.Event{Txn: put})
	if list, lost := g.read(&at, nil, put, func(*trace.Event) bool { return false }); len(list)+int(lost) > 0 {
		t.Errorf("of an event that nobody wants: %v, %d lost", list, lost)
	}
}

// TestEventRingsPassOverWhatIsInUse: a writer that finds its place in use waits for nobody.
func TestEventRingsPassOverWhatIsInUse(t *testing.T) {
	var g eventRings
	g.init(4 * eventShards)
	for i := range uint64(4) {
		g.put(&trace.Event{Txn: i})
	}
	shard := &g.shards[0]
	second := &shard.slots[2]
	second.state.Store(2*2 | 1) // somebody reads it
	for i := range uint64(4) {
		g.put(&trace.Event{Txn: 4 + i})
	}
	second.state.Store(2 * 2)
	at := cursor{4}
	list, lost := g.read(&at, nil, 10, everyEvent)
	if len(list) != 3 || lost != 1 || list[0].Txn != 4 || list[1].Txn != 6 {
		t.Errorf("%+v, %d lost", list, lost)
	}
	shard.next.Add(1) // somebody is about to write
	g.put(&trace.Event{Txn: 9})
	if list, lost := g.read(&at, nil, 10, everyEvent); len(list)+int(lost) > 0 || at[0] != 8 {
		t.Errorf("an event that is being written: %+v, %d lost, at %d", list, lost, at[0])
	}
}

// TestRecordingDoesNotAllocate: it is on the way of every fault.
func TestRecordingDoesNotAllocate(t *testing.T) {
	if !recording {
		t.Skip("built with noevents")
	}
	var g eventRings
	g.init(defaultEvents)
	var s sites
	var site uint32
	if n := testing.AllocsPerRun(100, func() {
		site = s.here()
		g.put(&trace.Event{Site: site})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, function := s.where(site); function != "testing.AllocsPerRun" { // all that is nearer is of this package
		t.Errorf("it is called in %q", function)
	}
}

// BenchmarkRecord is what an event costs, with the line that it names.
func BenchmarkRecord(b *testing.B) {
	var g eventRings
	g.init(defaultEvents)
	var s sites
	b.Run("event", func(b *testing.B) {
		for b.Loop() {
			g.put(&trace.Event{Txn: 1})
		}
	})
	b.Run("site", func(b *testing.B) {
		for b.Loop() {
			s.here()
		}
	})
}
