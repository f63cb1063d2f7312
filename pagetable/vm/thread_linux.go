//go:build amd64 || arm64

package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProgramCounter returns the address of the instruction at which a thread of another process waits for a
// page, and its stack pointer. ok is false while the thread runs, as it may be on its way to sleep, so that a
// second call can succeed; or is in a system call, as when a signal has called it away from the page. The kernel shows it to the same user's processes, unless AllowTracer is needed.
func ProgramCounter(pid, thread int) (pc, sp uint64, ok bool, err error) {
	var buf [256]byte // number, six arguments, stack pointer, program counter
	n, err := readRaw(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, thread), buf[:])
	if err != nil {
		return 0, 0, false, fmt.Errorf("program counter of thread %d: %w", thread, err)
	}
	return parseSyscall(buf[:n])
}

// readRaw reads the beginning of a file by calls that the runtime is not told of: they take some
// microseconds, and to have the processor taken away meanwhile costs as much as ten of them.
func readRaw(name string, buf []byte) (n int, err error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	here := unix.AT_FDCWD
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(here), uintptr(unsafe.Pointer(path)), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	got, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	if _, _, failed := unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0); errno == 0 {
		errno = failed
	}
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}

// parseSyscall reads a line of /proc/PID/task/TID/syscall: "running", "-1 sp pc" of a thread that waits
// outside system calls, or "number arguments sp pc" of one that is in a system call.
func parseSyscall(line []byte) (pc, sp uint64, ok bool, err error) {
	fields := bytes.Fields(line)
	if len(fields) == 1 && string(fields[0]) == "running" {
		return 0, 0, false, nil
	}
	if len(fields) < 3 {
		return 0, 0, false, fmt.Errorf("program counter in %q: too few fields", line)
	}
	if string(fields[0]) != "-1" {
		return 0, 0, false, nil
	}
	sp, err = strconv.ParseUint(string(fields[len(fields)-2]), 0, 64)
	if err == nil {
		pc, err = strconv.ParseUint(string(fields[len(fields)-1]), 0, 64)
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("program counter in %q: %w", line, err)
	}
	return pc, sp, true, nil
}

// ReadWord reads a word of another process, which must be allowed as for ProgramCounter.
func ReadWord(pid int, addr uint64) (uint64, error) {
	var b [8]byte
	local := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	remote := unix.RemoteIovec{Base: uintptr(addr), Len: len(b)}
	n, err := unix.ProcessVMReadv(pid, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	if err == nil && n != len(b) {
		err = unix.EFAULT
	}
	if err != nil {
		return 0, fmt.Errorf("read a word at %#x of process %d: %w", addr, pid, err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
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
