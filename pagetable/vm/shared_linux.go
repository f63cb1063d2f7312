//go:build amd64 || arm64

package vm

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
)

// Shared is the Frames of a region that programs map. Its bytes lie in a memfd, of which the node has a
// mapping of its own, the alias, whose protection never changes.
type Shared struct {
	at    pagetable.Range // where programs map it; as long as the memory
	fd    int             // the memfd, sealed against a change of its size
	alias []byte          // nil after Close
	zeros []byte          // what new frames are filled from, some pages at a time
	// traps are the attached programs. The slice is replaced, never changed: operations on pages read
	// it without a lock.
	traps atomic.Pointer[[]*Trap]
	mu    sync.Mutex // held to replace traps
}

// NewShared makes the memory of a region that programs map at that place. Nothing is taken from the
// machine but addresses. The name shows in /proc/PID/maps. An error says what to do.
// Preconditions: at is a valid region's range.
func NewShared(name string, at pagetable.Range) (*Shared, error) {
	size := at.Len()
	page := uint64(os.Getpagesize())
	if size == 0 || size > math.MaxInt || size%page != 0 || uint64(at.Start)%page != 0 {
		return nil, fmt.Errorf("share memory: %v: begin and end must be multiples of the system's page size, %d",
			at, page)
	}
	fd, err := makeMemfd(name, size)
	if err != nil {
		return nil, fmt.Errorf("share memory: %w", err)
	}
	s := &Shared{at: at, fd: fd, zeros: make([]byte, 16*page)}
	s.alias, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("share memory: %w", explainMmap(size, err))
	}
	adviseMapped(s.alias)
	s.traps.Store(new([]*Trap))
	return s, nil
}

// makeMemfd returns an empty file in memory of that size, which nobody can change any more.
func makeMemfd(name string, size uint64) (fd int, err error) {
	// Beyond this limit ftruncate sends a signal that ends a Go process.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err == nil && limit.Cur < size {
		return 0, fmt.Errorf("%d bytes: raise the limit of file sizes (ulimit -f), now %d bytes, or choose a smaller size",
			size, limit.Cur)
	}
	fd, err = unix.MemfdCreate("pagemesh:"+strings.ReplaceAll(name, "\x00", "?"), unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return 0, explainDescriptor("memfd_create", err)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("%d bytes: %w: choose a smaller size", size, err)
	}
	// A program that shortened the file would end the node with a SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("seal a memfd: %w", err)
	}
	return fd, nil
}

// adviseMapped keeps a mapping from children, who would not be trapped and would read zeros, from core
// dumps, and from huge pages, which can't be given and taken away in parts. A kernel that doesn't know
// an advice doesn't do what it would prevent.
func adviseMapped(b []byte) {
	for _, advice := range []int{unix.MADV_DONTFORK, unix.MADV_DONTDUMP, unix.MADV_NOHUGEPAGE} {
		_ = unix.Madvise(b, advice)
	}
}

// Descriptor returns the memfd, to be sent to programs. It is the memory's own: don't close it.
func (s *Shared) Descriptor() int { return s.fd }

// Bytes implements Frames.
func (s *Shared) Bytes(off uint64, n int) []byte {
	end := off + uint64(n)
	return s.alias[off:end:end]
}

// Size implements Frames.
func (s *Shared) Size() uint64 { return uint64(len(s.alias)) }

// Resident returns how many bytes have a frame.
func (s *Shared) Resident() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	return uint64(st.Blocks) * 512, nil
}

// Attach makes a program one whose rights the following operations change. The rights that programs
// have already it gets when it faults. Preconditions: faults of the trap are not served yet.
func (s *Shared) Attach(t *Trap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := append(slices.Clone(*s.traps.Load()), t)
	s.traps.Store(&next)
}

// Detach ends that. The program keeps the rights that it has: let it end, or unmap the memory, before.
func (s *Shared) Detach(t *Trap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(*s.traps.Load()), func(other *Trap) bool { return other == t })
	s.traps.Store(&next)
}

// Protect implements Frames.
func (s *Shared) Protect(off uint64, n int, before, after pagetable.Access) error {
	r := s.rangeOf(off, n)
	for _, t := range *s.traps.Load() {
		if err := s.protect(t, r, before, after); err != nil && !errors.Is(err, errGone) {
			t.fail(fmt.Errorf("change the right on %v from %v to %v: %w", r, before, after, err))
		}
	}
	return nil
}

func (s *Shared) protect(t *Trap, r pagetable.Range, before, after pagetable.Access) error {
	switch {
	case before == pagetable.NoAccess && after != pagetable.NoAccess:
		return t.install(r, after, s.zeros)
	case after == pagetable.WriteAccess:
		return t.writeProtect(r, false)
	case before == pagetable.WriteAccess:
		return t.writeProtect(r, true)
	}
	return nil // reading ends with Release
}

// Release implements Frames. A hole in the file unmaps its pages everywhere, also in programs that have
// not told anybody that they map it.
func (s *Shared) Release(off uint64, n int) error {
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	// As in ioctl.
	_, _, errno := unix.RawSyscall6(unix.SYS_FALLOCATE, uintptr(s.fd), mode, uintptr(off), uintptr(n), 0, 0)
	if errno != 0 {
		return fmt.Errorf("take away %v: %w", s.rangeOf(off, n), errno)
	}
	return nil
}

// Poison implements Frames.
func (s *Shared) Poison(off uint64, n int) error {
	r := s.rangeOf(off, n)
	for _, t := range *s.traps.Load() {
		if err := t.poison(r); err != nil && !errors.Is(err, errGone) {
			t.fail(fmt.Errorf("poison %v: %w", r, err))
		}
	}
	return nil
}

// Close implements Frames.
func (s *Shared) Close() error {
	if s.alias == nil {
		return nil
	}
	alias := s.alias
	s.alias = nil
	if err := errors.Join(unix.Munmap(alias), unix.Close(s.fd)); err != nil {
		return fmt.Errorf("close shared memory: %w", err)
	}
	return nil
}

func (s *Shared) rangeOf(off uint64, n int) pagetable.Range {
	start := s.at.Start + pagetable.Addr(off)
	return pagetable.Range{Start: start, End: start + pagetable.Addr(n)}
}
