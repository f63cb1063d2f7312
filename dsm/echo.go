package dsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// This file measures the floor of a mapped fault: a trap that the node answers at once, without any
// protocol, on memory that belongs to no region.

// echo is that memory, at the node.
type echo struct{ mem atomic.Pointer[vm.Shared] }

// echoRange returns where the memory of n pages is mapped: at the end of the window, which regions
// reach last.
func echoRange(n int64) pagetable.Range {
	end := pagetable.WindowEnd
	return pagetable.Range{Start: end - pagetable.Addr(n*int64(os.Getpagesize())), End: end}
}

// open makes the memory, with all its frames, and lets the program's traps in it be answered.
func (e *echo) open(trap *vm.Trap, pages int64) (*vm.Shared, error) {
	const most = 1 << 16
	if pages < 1 || pages > most {
		return nil, fmt.Errorf("echo of %d pages, 1 to %d are allowed", pages, most)
	}
	mem, err := vm.NewShared("echo", echoRange(pages))
	if err != nil {
		return nil, err
	}
	clear(mem.Bytes(0, int(mem.Size())))
	mem.Attach(trap)
	if !e.mem.CompareAndSwap(nil, mem) {
		return nil, errors.Join(errors.New("the program has an echo already"), mem.Close())
	}
	return mem, nil
}

// answer gives a page at once if the fault is in the echo's memory.
func (e *echo) answer(f vm.Fault) bool {
	mem := e.mem.Load()
	if mem == nil {
		return false
	}
	page := os.Getpagesize()
	at := echoRange(int64(mem.Size()) / int64(page))
	if !at.Contains(f.Addr) {
		return false
	}
	off := uint64(f.Addr-at.Start) &^ uint64(page-1)
	return mem.Protect(off, page, pagetable.NoAccess, pagetable.WriteAccess) == nil
}

func (e *echo) close() error {
	if mem := e.mem.Swap(nil); mem != nil {
		return mem.Close()
	}
	return nil
}

// TrapRoundTrips touches n pages that the program's node gives at once, without a look at any protocol,
// and returns how long each access took: what no mapped fault can beat. It is for benchmarks, by one
// program of a node at a time; n is at most 65536. The program must be attached, else the error is
// ErrNotMapped.
func (s *Space) TrapRoundTrips(ctx context.Context, n int) ([]time.Duration, error) {
	a, ok := s.b.(*attachment)
	if !ok {
		return nil, fmt.Errorf("trap round trips: %w", ErrNotMapped)
	}
	ans, err := a.ask(ctx, question{kind: askEcho, span: span{n: int64(n)}})
	if err != nil {
		return nil, err
	}
	defer ans.descriptor.Close()
	at := echoRange(int64(n))
	b, err := a.window.Map(int(ans.descriptor.Fd()), at)
	if err != nil {
		return nil, err
	}
	times := make([]time.Duration, 0, n)
	for off := 0; off < len(b); off += os.Getpagesize() {
		start := time.Now()
		b[off] = 1
		times = append(times, time.Since(start))
	}
	if err := a.window.Unmap(at); err != nil {
		return nil, err
	}
	_, err = a.ask(ctx, question{kind: askEchoEnd})
	return times, err
}
