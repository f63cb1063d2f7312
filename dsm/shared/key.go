package shared

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"reflect"

	"pagemesh/pagetable/vm"
)

// ErrKey says that a type can't be a key: equal values of it may have different bytes.
var ErrKey = errors.New("type can't be a key")

// checkKey refuses types whose values are equal without being the same bytes. Pointers are refused elsewhere.
func checkKey(path string, t reflect.Type) error {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return fmt.Errorf("%w: %s is a %v, of which equal ones may differ in their bytes", ErrKey, path, t.Kind())
	case reflect.Array:
		return checkKey(path+"[]", t.Elem())
	case reflect.Struct:
		return checkKeyFields(path, t)
	}
	return nil
}

func checkKeyFields(path string, t reflect.Type) error {
	end := uintptr(0)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Offset != end || f.Name == "_" {
			return fmt.Errorf("%w: %s has bytes before or in field %s that don't count when values are compared", ErrKey, path, f.Name)
		}
		if err := checkKey(path+"."+f.Name, f.Type); err != nil {
			return err
		}
		end = f.Offset + f.Type.Size()
	}
	if end != t.Size() {
		return fmt.Errorf("%w: %s has bytes behind its last field that don't count when values are compared", ErrKey, path)
	}
	return nil
}

// hasher hashes keys: the same way in all programs, other than package maphash.
type hasher[K comparable] struct {
	bytes []byte // of one K, and zeros up to a multiple of 8
	key   []K    // one, the same memory
}

func newHasher[K comparable]() hasher[K] {
	n := vm.SizeOf[K]()
	b := buffer(n)
	return hasher[K]{b[:(n+7)&^7], vm.Cast[K](b)}
}

// hash returns a number whose every bit depends on every bit of the key.
func (h *hasher[K]) hash(key K) uint64 {
	h.key[0] = key
	sum := mix(uint64(len(h.bytes)))
	for i := 0; i < len(h.bytes); i += 8 {
		sum = mix(sum ^ binary.NativeEndian.Uint64(h.bytes[i:]))
	}
	return sum
}

// mix multiplies by an odd number with bits in no order and folds the product.
func mix(v uint64) uint64 {
	high, low := bits.Mul64(v^0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9)
	return high ^ low
}
