//go:build (linux || darwin || dragonfly || netbsd || openbsd) && !race

package vm_test

import (
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable/vm"
)

func TestTerabyteIsReservedAndTouchedHereAndThere(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("a terabyte has no addresses here")
	}
	size := uint64(1) << 40
	m := reserve(t, size)
	for _, off := range []uint64{0, 1<<32 - 8, size / 2, size - 8} {
		vm.StoreUint64(m.Bytes(off, 8), 0, off+1)
		if got := vm.LoadUint64(m.Bytes(off, 8), 0); got != off+1 {
			t.Errorf("word at %d = %d", off, got)
		}
	}
	m.Release(0, int(size))
	if got := vm.LoadUint64(m.Bytes(size-8, 8), 0); got != 0 {
		t.Errorf("last word = %d after Release", got)
	}
}

func TestReleaseOfLockedMemoryStillReadsAsZero(t *testing.T) {
	page := unix.Getpagesize()
	m := reserve(t, uint64(2*page))
	all := m.Bytes(0, 2*page)
	if err := unix.Mlock(all); err != nil {
		t.Skipf("can't lock memory: %v", err)
	}
	all[0], all[page] = 1, 1
	m.Release(0, 2*page)
	if all[0] != 0 || all[page] != 0 {
		t.Error("locked memory kept its bytes")
	}
}
