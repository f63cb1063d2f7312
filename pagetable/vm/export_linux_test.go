//go:build amd64 || arm64

package vm

// What a kernel would have to lack or refuse, for the tests to give.
var (
	ExplainFeatures  = explainFeatures
	ExplainHandshake = explainHandshake
)

// ParseSyscall reads a line of /proc/PID/task/TID/syscall.
var ParseSyscall = parseSyscall
