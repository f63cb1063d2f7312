package vm_test

import (
	"bytes"
	"os"
	"testing"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// testFrames is the suite that every Frames passes. open returns memory of that size, whose attached
// programs, if there are any, have no right and wait for nothing.
func testFrames(t *testing.T, open func(t *testing.T, size int) vm.Frames) {
	page := os.Getpagesize()
	pattern := func(n int) []byte { return bytes.Repeat([]byte("pagemesh"), n/8) }
	check := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}

	t.Run("BytesStayWhateverTheRight", func(t *testing.T) {
		f := open(t, 4*page)
		copy(f.Bytes(uint64(page), page), pattern(page))
		right := pagetable.NoAccess
		for _, next := range []pagetable.Access{
			pagetable.ReadAccess, pagetable.WriteAccess, pagetable.ReadAccess, pagetable.NoAccess,
			pagetable.WriteAccess, pagetable.NoAccess,
		} {
			check(t, f.Protect(uint64(page), page, right, next))
			if !bytes.Equal(f.Bytes(uint64(page), page), pattern(page)) {
				t.Fatalf("bytes changed when the right went from %v to %v", right, next)
			}
			f.Bytes(uint64(page), page)[0] ^= 1 // the node itself may always write
			f.Bytes(uint64(page), page)[0] ^= 1
			right = next
		}
	})

	t.Run("ReleasedReadsAsZeroBesidesNeighbours", func(t *testing.T) {
		f := open(t, 4*page)
		copy(f.Bytes(0, 4*page), pattern(4*page))
		check(t, f.Protect(uint64(page), 2*page, pagetable.NoAccess, pagetable.WriteAccess))
		check(t, f.Protect(uint64(page), 2*page, pagetable.WriteAccess, pagetable.NoAccess))
		check(t, f.Release(uint64(page), 2*page))
		want := pattern(4 * page)
		clear(want[page : 3*page])
		if got := f.Bytes(0, 4*page); !bytes.Equal(got, want) {
			t.Errorf("memory differs from what it should be at %d", firstDifference(got, want))
		}
	})

	t.Run("RightOnUntouchedMemoryIsARightOnZeros", func(t *testing.T) {
		f := open(t, 8*page)
		check(t, f.Protect(0, 8*page, pagetable.NoAccess, pagetable.ReadAccess))
		check(t, f.Protect(0, 8*page, pagetable.NoAccess, pagetable.ReadAccess)) // a second time
		if got := f.Bytes(0, 8*page); !bytes.Equal(got, make([]byte, 8*page)) {
			t.Error("bytes are not zero")
		}
	})

	t.Run("PoisonedAfterRelease", func(t *testing.T) {
		f := open(t, 2*page)
		f.Bytes(0, 1)[0] = 1
		check(t, f.Release(0, page))
		check(t, f.Poison(0, page))
		check(t, f.Poison(0, page))
		if f.Bytes(0, 1)[0] != 0 {
			t.Error("byte is not zero")
		}
	})

	t.Run("Bounds", func(t *testing.T) {
		f := open(t, 2*page)
		if f.Size() != uint64(2*page) {
			t.Errorf("Size() = %d, want %d", f.Size(), 2*page)
		}
		if b := f.Bytes(16, 20); len(b) != 20 || cap(b) != 20 {
			t.Errorf("Bytes(16, 20) has length %d, capacity %d", len(b), cap(b))
		}
		wantPanic(t, "out of range", func() { f.Bytes(uint64(page), page+1) })
		if got := testing.AllocsPerRun(100, func() {
			f.Bytes(0, page)[0]++
			check(t, f.Protect(0, page, pagetable.NoAccess, pagetable.WriteAccess))
			check(t, f.Protect(0, page, pagetable.WriteAccess, pagetable.NoAccess))
			check(t, f.Release(0, page))
		}); got != 0 {
			t.Errorf("%v allocations", got)
		}
	})

	t.Run("Close", func(t *testing.T) {
		f := open(t, page)
		for range 2 {
			check(t, f.Close())
		}
		if f.Size() != 0 {
			t.Errorf("Size() = %d", f.Size())
		}
		wantPanic(t, "out of range", func() { f.Bytes(0, 1) })
	})
}

func TestMemoryIsFrames(t *testing.T) {
	testFrames(t, func(t *testing.T, size int) vm.Frames { return reserve(t, uint64(size)) })
}
