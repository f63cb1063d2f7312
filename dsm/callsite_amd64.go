package dsm

// callerPC returns the program counter of the caller's caller, as runtime.Callers does in fifty times
// the time. It reads one frame pointer, so the caller must not be inlined.
func callerPC() uintptr

// callers fills pcs with the program counters that the calls on this goroutine's stack return to, from the
// caller's on, and returns how many there are. It follows the frame pointers.
//
//go:noescape
func callers(pcs *[maxCalls]uintptr) int
