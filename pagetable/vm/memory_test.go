package vm_test

import (
	"bytes"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"pagemesh/pagetable/vm"
)

func reserve(t testing.TB, size uint64) *vm.Memory {
	t.Helper()
	m, err := vm.Reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Writes and releases at any offset, against a slice that does the same.
func TestMemoryIsZerosUntilWrittenAndAfterRelease(t *testing.T) {
	const size = 5*4096 + 24
	m := reserve(t, size)
	rapid.Check(t, func(t *rapid.T) {
		m.Release(0, size)
		want := make([]byte, size)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			off := rapid.IntRange(0, size).Draw(t, "off")
			n := rapid.IntRange(0, size-off).Draw(t, "n")
			if fill := rapid.Byte().Draw(t, "fill, or release if even"); fill%2 == 1 {
				copy(m.Bytes(uint64(off), n), bytes.Repeat([]byte{fill}, n))
				copy(want[off:], bytes.Repeat([]byte{fill}, n))
			} else {
				m.Release(uint64(off), n)
				clear(want[off : off+n])
			}
			if got := m.Bytes(0, size); !bytes.Equal(got, want) {
				t.Fatalf("memory differs from its twin at %d", firstDifference(got, want))
			}
		}
	})
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func TestBytesIsBoundedAndAligned(t *testing.T) {
	m := reserve(t, 100)
	if m.Size() != 100 {
		t.Errorf("Size() = %d, want 100", m.Size())
	}
	b := m.Bytes(16, 20)
	if len(b) != 20 || cap(b) != 20 {
		t.Errorf("Bytes(16, 20) has length %d, capacity %d", len(b), cap(b))
	}
	if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); at%8 != 0 {
		t.Errorf("Bytes(16, 20) starts at %#x", at)
	}
	if b := m.Bytes(100, 0); len(b) != 0 {
		t.Errorf("Bytes(100, 0) has length %d", len(b))
	}
	for _, outside := range []struct {
		off uint64
		n   int
	}{{0, 101}, {100, 1}, {101, 0}, {0, -1}, {8, -8}, {1<<64 - 8, 8}, {1<<64 - 8, 16}} {
		wantPanic(t, "out of range", func() { m.Bytes(outside.off, outside.n) })
		wantPanic(t, "out of range", func() { m.Release(outside.off, outside.n) })
	}
}

func TestBytesDoesNotAllocate(t *testing.T) {
	m := reserve(t, 1<<16)
	if got := testing.AllocsPerRun(100, func() { m.Bytes(4096, 4096)[0]++ }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestMemoryAfterClose(t *testing.T) {
	m := reserve(t, 4096)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if m.Size() != 0 {
		t.Errorf("Size() = %d after Close", m.Size())
	}
	wantPanic(t, "out of range", func() { m.Bytes(0, 1) })
}

func TestReserveRefusesWithARemedy(t *testing.T) {
	for _, size := range []uint64{0, 1 << 50, 1 << 62, 1<<64 - 1} {
		m, err := vm.Reserve(size)
		if m != nil {
			t.Errorf("Reserve(%d) succeeded", size)
		}
		wantError(t, err, "choose")
	}
}

func BenchmarkBytes(b *testing.B) {
	m := reserve(b, 1<<20)
	off := uint64(0)
	sum := 0
	for b.Loop() {
		sum += len(m.Bytes(off%(1<<20), 4096))
		off += 4096
	}
}
