//go:build !amd64

package dsm

import "runtime"

// callerPC returns the program counter of the caller's caller, which must not be inlined.
func callerPC() uintptr {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	return pc[0]
}
