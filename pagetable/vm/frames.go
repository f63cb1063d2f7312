package vm

import (
	"errors"
	"fmt"

	"pagemesh/pagetable"
)

// ErrNotSupported is returned, wrapped with the reason and the remedy, where memory can't be mapped
// into programs: by Probe and by everything that begins the use of mapped memory.
var ErrNotSupported = fmt.Errorf("memory can't be mapped into programs here: %w", errors.ErrUnsupported)

// Frames is the memory in which a node keeps the pages of one region. The methods other than Close may
// be called by any number of goroutines at once, but only by one at a time for the same page, under
// whatever guards the page.
//
// Offsets and lengths given to Bytes are any within the region. Those given to the others are
// multiples of the system's page size, unless no program can be attached to the memory.
type Frames interface {
	// Bytes returns the node's own view of n bytes from off, which the node may always read and write.
	// What is written before a right is given is what programs see with it.
	Bytes(off uint64, n int) []byte
	// Protect changes the right of every attached program on a page from before to after, and wakes the
	// threads that may go on. From writing to none it only freezes the bytes: programs may still read
	// them until Release. Protect(off, n, NoAccess, a) is also the answer to a fault that the right a
	// covers already. A program whose memory does not obey loses its trap: Trap.Next says why.
	Protect(off uint64, n int, before, after pagetable.Access) error
	// Release takes the bytes away from all programs, and from the machine as far as they fill its
	// pages. They read as zeros afterwards, here; a program that touches them faults.
	Release(off uint64, n int) error
	// Poison ends the waiting for a page that can't be had: whoever touches it gets a SIGBUS, which
	// Catch turns into a value, until Window.Heal. Preconditions: the programs' right is none, and
	// Release has taken the bytes away.
	Poison(off uint64, n int) error
	// Size returns the number of bytes, or 0 after Close.
	Size() uint64
	// Close gives the memory back. A second Close does nothing. Preconditions: no program is attached,
	// and nobody touches a slice that Bytes returned, now or later.
	Close() error
}

// Fault is an access of a program that waits for its page.
type Fault struct {
	// Addr is the address of the access. Of an access that crosses into another page, it is the first
	// address that is missing.
	Addr pagetable.Addr
	// Want is the right that the access needs.
	Want pagetable.Access
	// Resident: the node has a frame for the address, mapped without the right (an upgrade) or not
	// mapped (a program that was attached after the right was given).
	Resident bool
	// Thread is the id of the thread, as the program sees it.
	Thread int
}

// Mode is how far a program's faults reach.
type Mode uint8

// The two modes.
const (
	// UserMode traps what the program's own instructions touch. A system call on a page that is missing
	// returns EFAULT.
	UserMode Mode = iota
	// FullMode traps system calls also. It needs /dev/userfaultfd, CAP_SYS_PTRACE or the sysctl
	// vm.unprivileged_userfaultfd=1.
	FullMode
)

// String returns "user mode" or "full mode".
func (m Mode) String() string {
	if m == FullMode {
		return "full mode"
	}
	return "user mode"
}

// Options chooses how a window traps. The zero value traps as much as the system allows.
type Options struct {
	// UserModeOnly forgoes the full mode where it is allowed.
	UserModeOnly bool
	// Refusal, unless nil, is taken for the system's answer to the attempt to trap, so that the way
	// without mapped memory can be tried on a machine that has it.
	Refusal error
}
