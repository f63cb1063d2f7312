package dsm_test

import (
	"debug/elf"
	"os"
	"reflect"
	"testing"

	"pagemesh/dsm"
)

// FuzzFrameSizes: the table of a hostile program's executable does no harm.
func FuzzFrameSizes(f *testing.F) {
	header := make([]byte, 160)
	copy(header, "\xf1\xff\xff\xff\x00\x00\x01\x08\x02") // two functions, described at 72, deltas at 0
	header[64] = 72
	header[72+4], header[72+8], header[72+12] = 16, 9, 40
	f.Add(header, uint64(8))
	f.Add([]byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, table []byte, pc uint64) {
		if size, ok := dsm.FrameSize(table, 0, pc); ok && size > 1<<30 {
			t.Errorf("a frame of %d bytes", size)
		}
	})
}

// TestFrameSizesOfThisProgram: a function that does next to nothing has no frame where it begins.
func TestFrameSizesOfThisProgram(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(exe)
	if err != nil {
		t.Skip("no ELF:", err)
	}
	defer file.Close()
	table, err := file.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	text := file.Section(".text").Addr
	pc := uint64(reflect.ValueOf(median).Pointer())
	size, ok := dsm.FrameSize(table, text, pc)
	if !ok || size != 0 {
		t.Errorf("at the first instruction: %d, %v; want 0", size, ok)
	}
	if _, ok := dsm.FrameSize(table, text, text-1); ok {
		t.Error("an answer for what is no function")
	}
}
