//go:build !linux

package vm

// MachineMemory returns a very large number: how many bytes of memory the machine has can't be told.
func MachineMemory() int64 { return unknownMemory }
