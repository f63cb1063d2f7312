package vm_test

import (
	"sync"
	"testing"

	"pagemesh/pagetable/vm"
)

func TestWords(t *testing.T) {
	b := reserve(t, 64).Bytes(0, 64)
	vm.StoreUint64(b, 8, 5)
	if got := vm.LoadUint64(b, 8); got != 5 {
		t.Errorf("Load after Store 5 = %d", got)
	}
	if got := vm.AddUint64(b, 8, 2); got != 7 {
		t.Errorf("Add 2 to 5 = %d", got)
	}
	if got := vm.SwapUint64(b, 8, 1<<63); got != 7 {
		t.Errorf("Swap returned %d, want 7", got)
	}
	if vm.CompareAndSwapUint64(b, 8, 7, 1) || vm.LoadUint64(b, 8) != 1<<63 {
		t.Error("CompareAndSwap replaced another value than the old one")
	}
	if !vm.CompareAndSwapUint64(b, 8, 1<<63, 9) || vm.LoadUint64(b, 8) != 9 {
		t.Error("CompareAndSwap didn't replace the old value")
	}
	for i, c := range b {
		if outside := i < 8 || i >= 16; outside && c != 0 {
			t.Errorf("byte %d beside the word is %d", i, c)
		}
	}
}

func TestWordPreconditions(t *testing.T) {
	b := reserve(t, 64).Bytes(0, 24)
	wantPanic(t, "not a multiple of 8", func() { vm.LoadUint64(b, 4) })
	wantPanic(t, "not a multiple of 8", func() { vm.StoreUint64(b[1:], 8, 0) })
	wantPanic(t, "slice with length 7", func() { vm.AddUint64(b[:23], 16, 1) })
	wantPanic(t, "out of range", func() { vm.SwapUint64(b, -8, 1) })
	if got := vm.LoadUint64(b[4:], 4); got != 0 {
		t.Errorf("aligned word at offset 4 of a slice at 4 = %d", got)
	}
}

// The race detector reports any access here that is not atomic; without it, only an update that is
// really lost shows in the sums.
func TestWordsAreAtomic(t *testing.T) {
	const workers, times = 4, 30_000
	b := reserve(t, 4096).Bytes(0, 4096)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range workers {
		wg.Go(func() {
			<-start
			for range times {
				vm.AddUint64(b, 0, 1<<32+1)
			}
			for range times {
				for {
					old := vm.LoadUint64(b, 8)
					if vm.CompareAndSwapUint64(b, 8, old, old+1) {
						break
					}
				}
			}
		})
	}
	close(start)
	wg.Wait()
	if got, want := vm.LoadUint64(b, 0), uint64(workers*times)*(1<<32+1); got != want {
		t.Errorf("Add: sum %#x, want %#x", got, want)
	}
	if got := vm.LoadUint64(b, 8); got != workers*times {
		t.Errorf("CompareAndSwap: count %d, want %d", got, workers*times)
	}
}
