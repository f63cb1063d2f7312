package vm

import "golang.org/x/sys/unix"

// MachineMemory returns how many bytes of memory the machine has, a very large number if that can't be
// told.
func MachineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return unknownMemory
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit))
}
