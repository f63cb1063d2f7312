//go:build !amd64

package dsm

import "runtime"

// callerPC returns the program counter of the caller's caller, which must not be inlined.
func callerPC() uintptr {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	return pc[0]
}

// callers fills pcs with the program counters that the calls on this goroutine's stack return to, from the
// caller's on, and returns how many there are.
func callers(pcs *[maxCalls]uintptr) int { return runtime.Callers(2, pcs[:]) }
