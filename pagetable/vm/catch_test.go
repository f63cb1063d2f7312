package vm_test

import (
	"errors"
	"runtime"
	"runtime/debug"
	"testing"

	"pagemesh/pagetable/vm"
)

func TestCatchWithoutFault(t *testing.T) {
	want := errors.New("error of f")
	if addr, hit, err := vm.Catch(func() error { return want }); hit || addr != 0 || err != want {
		t.Errorf("Catch = %v, %v, %v", addr, hit, err)
	}
	if debug.SetPanicOnFault(false) {
		t.Error("faults panic after Catch")
	}
}

func TestCatchLeavesOtherPanics(t *testing.T) {
	wantPanic(t, "panic of f", func() { vm.Catch(func() error { panic("panic of f") }) })
	var none *int
	wantPanic(t, "nil pointer", func() { vm.Catch(func() error { *none = 1; return nil }) })
	if debug.SetPanicOnFault(false) {
		t.Error("faults panic after Catch")
	}
}

func TestCatchLeavesGoexit(t *testing.T) {
	done := make(chan bool, 1)
	go func() {
		defer close(done)
		vm.Catch(func() error { runtime.Goexit(); return nil })
		done <- true
	}()
	if <-done {
		t.Error("Catch returned after Goexit")
	}
}
