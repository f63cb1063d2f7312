//go:build amd64 || arm64

package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
)

// Trap is the node's end of one program's userfaultfd: where its faults are read and answered.
type Trap struct {
	file *os.File // nonblocking, in the runtime's poller
	raw  syscall.RawConn

	mu      sync.RWMutex // held to read while fd is used, so that its number is not another file's by then
	fd      int          // as in file; -1 after Close
	failure error        // why the trap was closed, if the program was to blame
}

// NewTrap takes over a descriptor that a program's Window sent. The error says if it is none.
func NewTrap(fd int) (*Trap, error) {
	kind, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil && kind != "anon_inode:[userfaultfd]" {
		err = fmt.Errorf("descriptor is %q", kind)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("trap faults of a program: %w", err), unix.Close(fd))
	}
	t := &Trap{fd: fd, file: os.NewFile(uintptr(fd), "userfaultfd")}
	if t.raw, err = t.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, t.file.Close())
	}
	return t, nil
}

// Next returns the next fault. Any number of goroutines may call it; each fault goes to one of them.
// One that never waits between its calls is fastest, as a second is woken to take its place whenever
// the first has a fault. A fault can come twice, since a signal makes its thread touch the address
// again. After Close the error wraps fs.ErrClosed; the end of the program ends nothing here. Another error
// says what is wrong with the program.
func (t *Trap) Next() (Fault, error) {
	var msg uffdMsg
	for msg.event != eventPagefault {
		var errno unix.Errno
		err := t.raw.Read(func(fd uintptr) bool {
			_, _, errno = unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&msg)), unsafe.Sizeof(msg))
			return errno != unix.EAGAIN
		})
		switch {
		case err != nil: // there is no other reason
			return Fault{}, fmt.Errorf("read a fault: %w", t.whyClosed())
		case errno != 0:
			return Fault{}, fmt.Errorf("read a fault: %w", errno)
		}
	}
	return msg.fault(), nil
}

func (t *Trap) whyClosed() error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.failure != nil {
		return t.failure
	}
	return fs.ErrClosed
}

// fail closes the trap of a program whose memory does not obey: what the program has mapped is not what it was
// given. It is not to take its node along.
func (t *Trap) fail(err error) {
	t.mu.Lock()
	if t.fd >= 0 {
		t.failure = err
	}
	t.mu.Unlock()
	_ = t.Close()
}

func (m *uffdMsg) fault() Fault {
	want := pagetable.ReadAccess
	if m.flags&(flagWrite|flagWP) != 0 {
		want = pagetable.WriteAccess
	}
	return Fault{
		Addr: pagetable.Addr(m.address), Want: want,
		Resident: m.flags&(flagWP|flagMinor) != 0, Thread: int(m.thread),
	}
}

// Close ends all calls of Next, and changes of rights pass the program over from now on. The program's
// threads that wait go on waiting, as long as the program keeps its own descriptor.
func (t *Trap) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fd < 0 {
		return nil
	}
	t.fd = -1
	if err := t.file.Close(); err != nil {
		return fmt.Errorf("close a trap: %w", err)
	}
	return nil
}

func (t *Trap) ioctl(request uintptr, arg unsafe.Pointer) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.fd < 0 {
		return errGone
	}
	err := ioctl(t.fd, request, arg)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return errGone
	}
	return err
}

// errGone says that a program has ended, has no mapping there, or that its trap is closed: it has no
// right that the node could change.
var errGone = errors.New("program is gone")

// writeProtect forbids to write r or allows it, the latter with a wake. Pages that are not mapped
// remember a ban until they are mapped.
func (t *Trap) writeProtect(r pagetable.Range, on bool) error {
	arg := uffdWriteProtectArg{start: uint64(r.Start), len: r.Len()}
	if on {
		arg.mode = writeProtectOn
	}
	for {
		if err := t.ioctl(uffdioWriteProtect, unsafe.Pointer(&arg)); !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
}

// Wake has the threads that wait for an address in r touch it again. If it is missing still, their
// faults come again from Next. A program that is gone is passed over.
func (t *Trap) Wake(r pagetable.Range) error {
	if err := t.wake(r); err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("wake threads at %v: %w", r, err)
	}
	return nil
}

func (t *Trap) wake(r pagetable.Range) error {
	arg := uffdRangeArg{start: uint64(r.Start), len: r.Len()}
	return t.ioctl(uffdioWake, unsafe.Pointer(&arg))
}

// install maps the frames of r with the right a and wakes who waits for them. It makes those that don't
// exist yet from zeros.
func (t *Trap) install(r pagetable.Range, a pagetable.Access, zeros []byte) error {
	for {
		var err error
		r, err = t.fill(uffdioContinue, r, fillMode(a), func(page pagetable.Range) error { return t.correct(page, a) })
		if !errors.Is(err, unix.EFAULT) {
			return err
		}
		// The first frame of r doesn't exist.
		if r, err = t.copy(r, a, zeros); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}

func fillMode(a pagetable.Access) uint64 {
	if a == pagetable.WriteAccess {
		return 0
	}
	return fillWP
}

// poison marks the pages of r and wakes who waits for them.
func (t *Trap) poison(r pagetable.Range) error {
	_, err := t.fill(uffdioPoison, r, 0, func(page pagetable.Range) error {
		// It is poisoned already, or it was mapped without the right to write. The kernel remembers that,
		// and poisons nothing that it remembers something of.
		if err := t.writeProtect(page, false); err != nil {
			return err
		}
		_, err := t.fill(uffdioPoison, page, 0, func(pagetable.Range) error { return nil })
		return err
	})
	return err
}

// fill maps the frames of r or marks its pages, and wakes who waits for them. For a page that is mapped
// or marked already it calls present, and goes on. It stops at the first page that it can't do and
// returns what is left.
func (t *Trap) fill(request uintptr, r pagetable.Range, mode uint64, present func(pagetable.Range) error) (pagetable.Range, error) {
	for !r.Empty() {
		arg := uffdFillArg{start: uint64(r.Start), len: r.Len(), mode: mode}
		err := t.ioctl(request, unsafe.Pointer(&arg))
		r.Start += pagetable.Addr(max(arg.done, 0))
		if errors.Is(err, unix.EEXIST) {
			page := pagetable.Range{Start: r.Start, End: r.Start + pagetable.Addr(os.Getpagesize())}
			r.Start = page.End
			err = present(page)
		}
		// EAGAIN comes after a part: the next attempt tells why.
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return r, err
		}
	}
	return r, nil
}

// copy makes the frames of r from the bytes of source, again and again, and maps them. It stops at the
// first frame that exists and returns what is left.
func (t *Trap) copy(r pagetable.Range, a pagetable.Access, source []byte) (pagetable.Range, error) {
	for !r.Empty() {
		arg := uffdCopyArg{
			start: uint64(r.Start), source: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(source)))),
			len: min(r.Len(), uint64(len(source))), mode: fillMode(a),
		}
		err := t.ioctl(uffdioCopy, unsafe.Pointer(&arg))
		runtime.KeepAlive(source)
		r.Start += pagetable.Addr(max(arg.done, 0))
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return r, err
		}
	}
	return r, nil
}

// correct gives a page that is mapped already the right a, and wakes who waits for it.
func (t *Trap) correct(page pagetable.Range, a pagetable.Access) error {
	if a == pagetable.WriteAccess {
		return t.writeProtect(page, false)
	}
	if err := t.writeProtect(page, true); err != nil {
		return err
	}
	return t.wake(page)
}
