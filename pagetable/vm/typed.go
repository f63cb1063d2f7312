package vm

import (
	"fmt"
	"reflect"
	"unsafe"

	"pagemesh/pagetable"
)

// SizeOf returns the number of bytes of a T, padding included.
func SizeOf[T any]() int {
	var v T
	return int(unsafe.Sizeof(v))
}

// AlignOf returns the number that the address of each T must be a multiple of: 1, 2, 4 or 8.
func AlignOf[T any]() int {
	var v T
	return int(unsafe.Alignof(v))
}

// Cast returns b as a slice of as many T as fit it. The slice shares b's memory.
// Preconditions: T holds no Go pointers (see CheckType) and has a size other than 0; b starts at a
// multiple of AlignOf[T].
func Cast[T any](b []byte) []T {
	size := SizeOf[T]()
	if size == 0 {
		panic(fmt.Sprintf("vm: Cast: %v has size 0", reflect.TypeFor[T]()))
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%uintptr(AlignOf[T]()) != 0 {
		panic(fmt.Sprintf("vm: Cast: bytes at %p are not aligned for %v", p, reflect.TypeFor[T]()))
	}
	return unsafe.Slice((*T)(p), len(b)/size)
}

// CheckType returns nil if values of type t hold no Go pointers, so that they can live in memory that
// other nodes share. Otherwise the error gives the path to the first pointer and its kind:
// "Stats.names[]: string". An uintptr is a number, not a pointer.
// Preconditions: t is not nil.
func CheckType(t reflect.Type) error {
	name := t.Name()
	if name == "" {
		name = t.String()
	}
	return checkType(name, t)
}

func checkType(path string, t reflect.Type) error {
	switch t.Kind() {
	case reflect.Pointer, reflect.UnsafePointer, reflect.Map, reflect.Chan, reflect.Func,
		reflect.Interface, reflect.String, reflect.Slice:
		return fmt.Errorf("%s: %v", path, t.Kind())
	case reflect.Array:
		if t.Len() == 0 {
			return nil
		}
		return checkType(path+"[]", t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if err := checkType(path+"."+f.Name, f.Type); err != nil {
				return err
			}
		}
	}
	return nil
}

// At returns the memory at an address of the shared space as a T, nil for address 0.
// Preconditions: T holds no Go pointers and a program has mapped the address, see Window.Map.
func At[T any](a pagetable.Addr) *T { return (*T)(pointerTo(a)) }

// SliceAt returns the memory at an address of the shared space as n elements of type T. What At says
// holds for it.
func SliceAt[T any](a pagetable.Addr, n int) []T { return unsafe.Slice(At[T](a), n) }

// pointerTo returns the address as a pointer. It points outside the Go heap, so that arithmetic on nil
// is all that it takes.
func pointerTo(a pagetable.Addr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), uintptr(a)) }
