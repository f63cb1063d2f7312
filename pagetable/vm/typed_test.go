package vm_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pagemesh/pagetable/vm"
)

func wantPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got == nil || !strings.Contains(fmt.Sprint(got), want) {
			t.Errorf("panic = %v, want one that says %q", got, want)
		}
	}()
	f()
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want one that says %q", err, want)
	}
}

type (
	point struct{ X, Y, Z float64 }
	mixed struct {
		Flag bool
		N    int32
		Tail [3]uint16
	}
	kind   uint32
	leafOf struct {
		Names [4]string
	}
	Stats struct {
		Hits, Misses uint64
		Names        [4]string
	}
	nested struct {
		Rows [2][3]struct {
			ok   kind
			Leaf leafOf
		}
	}
	embedding struct {
		point
		*mixed
	}
)

func TestCastSharesMemory(t *testing.T) {
	b := reserve(t, 4096).Bytes(0, 4096)
	points := vm.Cast[point](b[:100])
	if len(points) != 4 || cap(points) != 4 {
		t.Fatalf("100 bytes hold %d points, capacity %d, want 4", len(points), cap(points))
	}
	points[3] = point{1, 2, 3}
	if got := vm.Cast[float64](b[3*24:])[:3]; got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("the bytes of point 3 read as %v", got)
	}
	vm.Cast[mixed](b)[1] = mixed{Flag: true, N: -1, Tail: [3]uint16{7, 8, 9}}
	if got := vm.Cast[int32](b)[16/4+1]; got != -1 {
		t.Errorf("the bytes of field N of element 1 read as %d", got)
	}
}

func TestCastOfFewBytes(t *testing.T) {
	b := reserve(t, 64).Bytes(0, 64)
	for _, short := range [][]byte{nil, {}, b[:0], b[:23], b[64:]} {
		if got := vm.Cast[point](short); len(got) != 0 {
			t.Errorf("%d bytes hold %d points", len(short), len(got))
		}
	}
}

func TestCastPreconditions(t *testing.T) {
	b := reserve(t, 64).Bytes(0, 64)
	wantPanic(t, "not aligned for uint32", func() { vm.Cast[uint32](b[2:]) })
	wantPanic(t, "struct {} has size 0", func() { vm.Cast[struct{}](b) })
	if got := len(vm.Cast[uint16](b[2:])); got != 31 {
		t.Errorf("62 bytes hold %d uint16", got)
	}
}

func TestSizeAndAlign(t *testing.T) {
	tests := []struct{ got, want int }{
		{vm.SizeOf[byte](), 1}, {vm.AlignOf[byte](), 1},
		{vm.SizeOf[point](), 24}, {vm.AlignOf[[5]uint16](), 2},
		{vm.SizeOf[mixed](), 16}, {vm.AlignOf[struct{ a float32 }](), 4},
		{vm.SizeOf[struct{}](), 0}, {vm.AlignOf[uint64](), int(unsafe.Alignof(uint64(0)))},
	}
	for i, test := range tests {
		if test.got != test.want {
			t.Errorf("case %d: %d, want %d", i, test.got, test.want)
		}
	}
}

func TestCheckTypeAccepts(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[uintptr](),
		reflect.TypeFor[complex128](), reflect.TypeFor[kind](), reflect.TypeFor[time.Duration](),
		reflect.TypeFor[point](), reflect.TypeFor[mixed](), reflect.TypeFor[[4][4]mixed](),
		reflect.TypeFor[struct{}](), reflect.TypeFor[[0]func()](),
		reflect.TypeFor[struct{ in struct{ deep [2]float32 } }](),
	} {
		if err := vm.CheckType(typ); err != nil {
			t.Errorf("CheckType(%v) = %v", typ, err)
		}
	}
}

func TestCheckTypeNamesThePathToAPointer(t *testing.T) {
	tests := []struct {
		typ  reflect.Type
		want string
	}{
		{reflect.TypeFor[Stats](), "Stats.Names[]: string"},
		{reflect.TypeFor[nested](), "nested.Rows[][].Leaf.Names[]: string"},
		{reflect.TypeFor[embedding](), "embedding.mixed: ptr"},
		{reflect.TypeFor[time.Time](), "Time.loc: ptr"},
		{reflect.TypeFor[[2]error](), "[2]error[]: interface"},
		{reflect.TypeFor[string](), "string: string"},
		{reflect.TypeFor[[]int](), "[]int: slice"},
		{reflect.TypeFor[*int](), "*int: ptr"},
		{reflect.TypeFor[struct{ m map[int]int }](), "struct { m map[int]int }.m: map"},
		{reflect.TypeFor[struct{ c chan int }](), "struct { c chan int }.c: chan"},
		{reflect.TypeFor[struct{ f func() }](), "struct { f func() }.f: func"},
		{reflect.TypeFor[struct{ _ any }](), "struct { _ interface {} }._: interface"},
		{reflect.TypeFor[unsafe.Pointer](), "Pointer: unsafe.Pointer"},
	}
	for _, test := range tests {
		if err := vm.CheckType(test.typ); err == nil || err.Error() != test.want {
			t.Errorf("CheckType(%v) = %v, want %s", test.typ, err, test.want)
		}
	}
}
