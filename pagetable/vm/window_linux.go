//go:build amd64 || arm64

package vm

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
)

// Window is the program's end: the regions that it maps, each at its own address, and the
// userfaultfd that traps accesses to them.
//
// The program keeps its descriptor as long as a region is mapped, as a number that no finalizer
// closes: with the last descriptor the trap would end, and pages that were taken away would read as
// zeros.
type Window struct {
	fd   int // -1 after Close
	mode Mode
}

// NewWindow makes a trap for this process. If the system refuses, the error wraps ErrNotSupported and
// says what is missing and what to do.
func NewWindow(o Options) (*Window, error) {
	fd, mode, err := newUserfaultfd(o)
	if err != nil {
		return nil, err
	}
	if _, err := handshake(fd, requiredFeatures()); err != nil {
		unix.Close(fd)
		return nil, explainHandshake(err)
	}
	return &Window{fd: fd, mode: mode}, nil
}

// Mode returns what is trapped.
func (w *Window) Mode() Mode { return w.mode }

// Descriptor returns the userfaultfd, to be sent to the node. It is the window's own: don't close it.
func (w *Window) Descriptor() int { return w.fd }

// Map maps the memory behind a node's descriptor at its own address and returns its bytes. The memory
// is not reachable before it is trapped, so that nobody reads zeros there.
func (w *Window) Map(memfd int, at pagetable.Range) ([]byte, error) {
	b, err := w.mapMemory(memfd, at)
	if err != nil {
		return nil, fmt.Errorf("map %v: %w", at, err)
	}
	return b, nil
}

func (w *Window) mapMemory(memfd int, at pagetable.Range) ([]byte, error) {
	if err := check(memfd, at); err != nil {
		return nil, err
	}
	want := pointerTo(at.Start)
	p, err := unix.MmapPtr(memfd, 0, want, uintptr(at.Len()), unix.PROT_NONE,
		unix.MAP_SHARED|unix.MAP_NORESERVE|unix.MAP_FIXED_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("%w: something else in this process lies there: "+
			"map regions before other large memory, or create the region elsewhere", err)
	}
	if err != nil {
		return nil, explainMmap(at.Len(), err)
	}
	b := unsafe.Slice((*byte)(p), at.Len())
	if err := w.open(b, at); err != nil {
		return nil, errors.Join(err, unix.MunmapPtr(p, uintptr(at.Len())))
	}
	return b, nil
}

// check returns an error unless the place is in the window and the file has its size: beyond the end of
// the file a program would get a SIGBUS.
func check(memfd int, at pagetable.Range) error {
	if at.Empty() || !pagetable.Window().Covers(at) {
		return errors.New("it lies outside the window")
	}
	var st unix.Stat_t
	if err := unix.Fstat(memfd, &st); err != nil {
		return err
	}
	if uint64(st.Size) != at.Len() {
		return fmt.Errorf("the node's memory has %d bytes", st.Size)
	}
	return nil
}

// open traps accesses to a mapping and then allows them.
func (w *Window) open(b []byte, at pagetable.Range) error {
	adviseMapped(b)
	operations, err := register(w.fd, at)
	if err != nil {
		return fmt.Errorf("trap accesses: %w", err)
	}
	if missing := requiredOperations &^ operations; missing != 0 {
		return fmt.Errorf("%w: operations %#x on shared memory need Linux 6.6 or later%s", ErrNotSupported, missing, thisKernel())
	}
	return unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE)
}

// Heal has the pages of r forget that they were poisoned: who touches them waits for the node again.
func (w *Window) Heal(r pagetable.Range) error {
	// Frames stay where they are: they belong to the node.
	if err := unix.Madvise(unsafe.Slice((*byte)(pointerTo(r.Start)), r.Len()), unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("heal %v: %w", r, err)
	}
	return nil
}

// Unmap ends a mapping. Preconditions: nobody touches it, now or later.
func (w *Window) Unmap(at pagetable.Range) error {
	if err := unix.MunmapPtr(pointerTo(at.Start), uintptr(at.Len())); err != nil {
		return fmt.Errorf("unmap %v: %w", at, err)
	}
	return nil
}

// Close ends the trap. A second Close does nothing. Preconditions: nothing is mapped.
func (w *Window) Close() error {
	if w.fd < 0 {
		return nil
	}
	fd := w.fd
	w.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close a window: %w", err)
	}
	return nil
}
