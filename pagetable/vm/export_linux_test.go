//go:build amd64 || arm64

package vm

import "pagemesh/pagetable"

// What a kernel would have to lack or refuse, for the tests to give.
var (
	ExplainFeatures  = explainFeatures
	ExplainHandshake = explainHandshake
)

// ParseSyscall reads a line of /proc/PID/task/TID/syscall.
var ParseSyscall = parseSyscall

// Register has a userfaultfd trap accesses to a range, whatever is mapped there.
func Register(fd int, r pagetable.Range) error {
	_, err := register(fd, r)
	return err
}
