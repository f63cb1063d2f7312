//go:build amd64 || arm64

package vm_test

import (
	"os"
	"testing"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// region returns the range of a region of that size.
func region(size uint64) pagetable.Range {
	return pagetable.Range{Start: pagetable.WindowStart, End: pagetable.WindowStart + pagetable.Addr(size)}
}

func share(t testing.TB, at pagetable.Range) *vm.Shared {
	t.Helper()
	s, err := vm.NewShared("test", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSharedIsFrames(t *testing.T) {
	testFrames(t, func(t *testing.T, size int) vm.Frames { return share(t, region(uint64(size))) })
}

func TestSharedWithProgramsIsFrames(t *testing.T) {
	testFrames(t, func(t *testing.T, size int) vm.Frames {
		at := region(uint64(size))
		s := share(t, at)
		for range 2 {
			startProgram(t, s, at)
		}
		return s
	})
}

func TestResident(t *testing.T) {
	page := os.Getpagesize()
	s := share(t, region(1<<40))
	want := func(pages int) {
		t.Helper()
		got, err := s.Resident()
		if err != nil || got != uint64(pages*page) {
			t.Errorf("Resident() = %d, %v, want %d pages", got, err, pages)
		}
	}
	want(0)
	for _, off := range []uint64{0, 1 << 32, 1<<40 - 8} {
		vm.StoreUint64(s.Bytes(off, 8), 0, 1)
	}
	want(3)
	if err := s.Release(1<<32, 2<<20); err != nil {
		t.Fatal(err)
	}
	want(2)
}
