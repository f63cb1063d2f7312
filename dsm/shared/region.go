package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"reflect"

	"pagemesh/dsm"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// open opens the region of a structure, whose first word says what the structure is, so that no program
// takes it for another one. The rest of the first page is the structure's.
func open(ctx context.Context, s *dsm.Space, name, form string, o dsm.RegionOptions) (r *dsm.Region, err error) {
	if r, err = s.Region(ctx, name, o); err != nil {
		return nil, err
	}
	err = locked(ctx, s.Mutex(name), func() error {
		h := fnv.New64a()
		_, _ = io.WriteString(h, form) // never fails, see package hash
		mark := h.Sum64()
		have, err := r.Load(ctx, 0)
		switch {
		case err != nil:
			return err
		case have == 0:
			return r.Store(ctx, 0, mark)
		case have != mark:
			return fmt.Errorf("region %q: %w: it is no %s", name, dsm.ErrMismatch, form)
		}
		return nil
	})
	return r, err
}

// locked calls f while it has mu locked. Whoever held it before may have died: what is under it bears that, because
// every change takes effect with one store.
func locked(ctx context.Context, mu *dsm.Mutex, f func() error) (err error) {
	return lockedBy(ctx, mu, f, func() error { return nil })
}

// lockedBy does so, and calls repair before f if whoever held mu before has died.
func lockedBy(ctx context.Context, mu *dsm.Mutex, f, repair func() error) (err error) {
	_, err = mu.Lock(ctx)
	died := errors.Is(err, dsm.ErrOwnerDied)
	if err != nil && !died {
		return err
	}
	defer func() { err = errors.Join(err, mu.Unlock()) }()
	if died {
		if err := repair(); err != nil {
			return err
		}
	}
	return f()
}

// checkType refuses types that hold Go pointers.
func checkType(t reflect.Type) error {
	if err := vm.CheckType(t); err != nil {
		return fmt.Errorf("%w: %w; shared memory holds plain data only", dsm.ErrPointers, err)
	}
	return nil
}

// typeName names a type as far as programs must agree on it.
func typeName[T any]() string { return fmt.Sprintf("%v/%d", reflect.TypeFor[T](), vm.SizeOf[T]()) }

// buffer returns n bytes of zeros that can be cast to any type: Go aligns what is a multiple of 8 bytes.
func buffer(n int) []byte { return make([]byte, (n+7)&^7)[:n] }

// roundUp returns the smallest power of two that is at least n, n > 0.
func roundUp(n int) int { return 1 << bits.Len(uint(n-1)) }

// pageSize returns the size of pages that hold n bytes: what the user has chosen if it is enough.
func pageSize(chosen, n int) int { return max(cmp.Or(chosen, pagetable.DefaultPageSize), roundUp(n)) }
