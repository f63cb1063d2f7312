//go:build amd64 || arm64

package vm

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// feature is something that userfaultfd must offer.
type feature struct {
	bit   uint64
	name  string // as in <linux/userfaultfd.h>, without its prefix
	since string // Linux version
}

// required are the features without which mapped memory does not work, oldest first.
var required = []feature{
	{1 << 5, "MISSING_SHMEM", "4.11"},
	{1 << 8, "THREAD_ID", "4.14"},
	{1 << 0, "PAGEFAULT_FLAG_WP", "5.7"},
	{1 << 10, "MINOR_SHMEM", "5.14"},
	{1 << 11, "EXACT_ADDRESS", "5.18"},
	{1 << 12, "WP_HUGETLBFS_SHMEM", "5.19"},
	{1 << 13, "WP_UNPOPULATED", "6.4"}, // came with the mode of CONTINUE that maps for reading, which has no bit
	{1 << 14, "POISON", "6.6"},
}

// requiredOperations are what a registered range must offer: wake, write-protect, continue, poison.
const requiredOperations uint64 = 1<<2 | 1<<6 | 1<<7 | 1<<8

func requiredFeatures() uint64 {
	var bits uint64
	for _, f := range required {
		bits |= f.bit
	}
	return bits
}

// Probe returns how far programs of this process's rights can be trapped here. Its error wraps
// ErrNotSupported and says in one line what is missing and what to do.
func Probe(o Options) (Mode, error) {
	w, err := NewWindow(o)
	if err != nil {
		return 0, err
	}
	mode := w.mode
	if err := w.Close(); err != nil {
		return 0, err
	}
	return mode, nil
}

// newUserfaultfd opens a userfaultfd in full mode if that is allowed, else in user mode.
func newUserfaultfd(o Options) (fd int, mode Mode, err error) {
	if o.Refusal != nil {
		return 0, 0, explainUserfaultfd(o.Refusal)
	}
	const flags = unix.O_CLOEXEC | unix.O_NONBLOCK
	if !o.UserModeOnly {
		if fd, err := openDevice(flags); err == nil {
			return fd, FullMode, nil
		}
		if fd, err := userfaultfd(flags); err == nil {
			return fd, FullMode, nil
		}
	}
	if fd, err = userfaultfd(flags | uffdUserModeOnly); err != nil {
		return 0, 0, explainUserfaultfd(err)
	}
	return fd, UserMode, nil
}

func userfaultfd(flags uintptr) (fd int, err error) {
	n, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// openDevice makes a userfaultfd from /dev/userfaultfd, whose file rights say who may have the full
// mode.
func openDevice(flags uintptr) (fd int, err error) {
	device, err := unix.Open("/dev/userfaultfd", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(device)
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(device), uffdNew, flags)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func explainUserfaultfd(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: userfaultfd: %w: a seccomp filter or security module forbids it: "+
			"allow this system call (in a container: by its seccomp profile), or use embedded access", ErrNotSupported, err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%w: userfaultfd: %w: the kernel was built without CONFIG_USERFAULTFD or a container hides it%s: "+
			"use another kernel, or embedded access", ErrNotSupported, err, thisKernel())
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: userfaultfd: %w: its user mode needs Linux 5.11, the rest 6.6%s: "+
			"use a later kernel, or embedded access", ErrNotSupported, err, thisKernel())
	}
	return explainDescriptor("userfaultfd", err)
}

// explainHandshake names what the kernel lacks, for which it has to be asked once more.
func explainHandshake(err error) error {
	if available, askErr := availableFeatures(); askErr == nil {
		if missing := explainFeatures(available); missing != nil {
			return missing
		}
	}
	return fmt.Errorf("%w: userfaultfd handshake: %w", ErrNotSupported, err)
}

// availableFeatures asks the kernel what it has. The descriptor can't be used for anything else.
func availableFeatures() (uint64, error) {
	fd, err := userfaultfd(unix.O_CLOEXEC | uffdUserModeOnly)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return handshake(fd, 0)
}

// explainFeatures names the required features that are not available; nil if all are.
func explainFeatures(available uint64) error {
	var names []string
	since := ""
	for _, f := range required {
		if available&f.bit == 0 {
			names, since = append(names, f.name), f.since
		}
	}
	if names == nil {
		return nil
	}
	return fmt.Errorf("%w: userfaultfd lacks %s, which needs Linux %s (and 6.6 for everything)%s: "+
		"use a later kernel, or embedded access", ErrNotSupported, strings.Join(names, ", "), since, thisKernel())
}

// explainDescriptor says what to do if no descriptor could be made.
func explainDescriptor(operation string, err error) error {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return fmt.Errorf("%s: %w: raise the limit of open files (ulimit -n)", operation, err)
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// explainMmap says what to do if size bytes of shared memory could not be mapped. Overcommit limits
// don't count it before it is touched.
func explainMmap(size uint64, err error) error {
	if errors.Is(err, unix.ENOMEM) {
		return fmt.Errorf("%d bytes of addresses: %w: choose a smaller size, or raise the limit of address space (ulimit -v)", size, err)
	}
	return fmt.Errorf("%d bytes of addresses: %w", size, err)
}

// thisKernel returns ", this is " and the kernel's release.
func thisKernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return ", this is " + unix.ByteSliceToString(u.Release[:])
}
