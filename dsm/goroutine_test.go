package dsm

import (
	"runtime"
	"sync"
	"testing"
)

func TestGoroutineNumber(t *testing.T) {
	if hasDescriptor && goroutineWord == 0 {
		t.Errorf("where %s keeps the number of a goroutine was not found", runtime.Version())
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if got, want := goroutine(), printedGoroutine(); got != want || want == 0 {
				t.Errorf("goroutine %d, want %d", got, want)
			}
		})
	}
	wg.Wait()
}

func BenchmarkGoroutineNumber(b *testing.B) {
	for b.Loop() {
		goroutine()
	}
}
