package vm

import (
	"runtime"
	"runtime/debug"

	"pagemesh/pagetable"
)

// Catch calls f and returns its error. If f, in this goroutine, touches a page of the window that can't
// be had (see Frames.Poison), Catch ends f there and returns the address with hit set. Other panics
// pass through.
func Catch(f func() error) (addr pagetable.Addr, hit bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		// Without a panic, and after Goexit, there is nothing to recover.
		if e := recover(); e != nil {
			if addr, hit = faultAddress(e); !hit {
				panic(e)
			}
		}
	}()
	return 0, false, f()
}

// faultAddress returns the address of a memory fault in the window that became the panic e.
func faultAddress(e any) (pagetable.Addr, bool) {
	fault, ok := e.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return 0, false
	}
	addr := pagetable.Addr(fault.Addr())
	return addr, pagetable.Window().Contains(addr)
}
