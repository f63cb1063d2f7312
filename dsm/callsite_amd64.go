package dsm

// callerPC returns the program counter of the caller's caller, as runtime.Callers does in fifty times
// the time. It reads one frame pointer, so the caller must not be inlined.
func callerPC() uintptr
