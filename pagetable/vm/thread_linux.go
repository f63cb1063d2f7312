//go:build amd64 || arm64

package vm

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// ProgramCounter returns the address of the instruction at which a thread of another process waits.
// ok is false while the thread runs: it may be on its way to sleep, so that a second call can succeed.
// The kernel shows it to the same user's processes, unless AllowTracer is needed.
func ProgramCounter(pid, thread int) (pc uint64, ok bool, err error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, thread), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false, fmt.Errorf("program counter of thread %d: %w", thread, err)
	}
	defer unix.Close(fd)
	var buf [256]byte // number, six arguments, stack pointer, program counter
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return 0, false, fmt.Errorf("program counter of thread %d: %w", thread, err)
	}
	return parseSyscall(buf[:n])
}

// parseSyscall reads a line of /proc/PID/task/TID/syscall: "running", "-1 sp pc" of a thread that waits
// outside system calls, or "number arguments sp pc".
func parseSyscall(line []byte) (pc uint64, ok bool, err error) {
	line = bytes.TrimSpace(line)
	if string(line) == "running" {
		return 0, false, nil
	}
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	if pc, err = strconv.ParseUint(string(last), 0, 64); err != nil {
		return 0, false, fmt.Errorf("program counter in %q: %w", line, err)
	}
	return pc, true, nil
}

// AllowTracer lets another process ask for this one's program counters where the kernel's Yama module
// would forbid it.
func AllowTracer(pid int) error {
	err := unix.Prctl(unix.PR_SET_PTRACER, uintptr(pid), 0, 0, 0)
	if err == unix.EINVAL { // no Yama, nothing to allow
		return nil
	}
	if err != nil {
		return fmt.Errorf("allow process %d to see program counters: %w", pid, err)
	}
	return nil
}
