//go:build linux && !race

package vm_test

import (
	"encoding/binary"
	"os"
	"testing"
	"unsafe"
)

func TestReleaseGivesPagesBack(t *testing.T) {
	const pages = 64
	page := os.Getpagesize()
	m := reserve(t, uint64(pages*page))
	all := m.Bytes(0, pages*page)
	for i := range all {
		all[i] = 1
	}
	m.Release(uint64(8*page-1), 16*page+2)
	if got := residentPages(t, all); got != pages-16 {
		t.Errorf("%d of %d pages are resident after 16 were released", got, pages)
	}
}

// residentPages returns how many of b's pages have a frame, as the kernel sees it.
func residentPages(t *testing.T, b []byte) int {
	t.Helper()
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Skipf("can't see resident pages: %v", err)
	}
	defer f.Close()
	page := os.Getpagesize()
	first := uintptr(unsafe.Pointer(unsafe.SliceData(b))) / uintptr(page)
	entries := make([]byte, len(b)/page*8)
	if _, err := f.ReadAt(entries, int64(first)*8); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; len(entries) > 0; entries = entries[8:] {
		if binary.NativeEndian.Uint64(entries)>>63 != 0 { // bit 63: present in memory
			n++
		}
	}
	return n
}
