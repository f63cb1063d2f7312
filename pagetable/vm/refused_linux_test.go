//go:build amd64 || arm64

package vm_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

func TestProbe(t *testing.T) {
	mode, err := vm.Probe(vm.Options{UserModeOnly: true})
	if err != nil || mode != vm.UserMode {
		t.Errorf("Probe = %v, %v", mode, err)
	}
	if mode, err = vm.Probe(vm.Options{}); err != nil {
		t.Error(err)
	}
	t.Logf("faults are trapped in %v", mode)
}

func TestRefusalNamesTheRemedy(t *testing.T) {
	for _, test := range []struct {
		refusal error
		want    string
	}{
		{unix.EPERM, "allow this system call"},
		{unix.ENOSYS, "use another kernel, or embedded access"},
		{unix.EINVAL, "use a later kernel, or embedded access"},
	} {
		_, err := vm.Probe(vm.Options{Refusal: test.refusal})
		wantError(t, err, test.want)
		if !errors.Is(err, vm.ErrNotSupported) || !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, test.refusal) {
			t.Errorf("%v does not wrap what it stands for", err)
		}
		wantOneLine(t, err)
	}
	_, err := vm.Probe(vm.Options{Refusal: unix.EMFILE})
	wantError(t, err, "ulimit -n")
	if errors.Is(err, vm.ErrNotSupported) {
		t.Error("a lack of descriptors is taken for a lack of support")
	}
}

func wantOneLine(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %q", err)
	}
}

func TestMissingFeaturesAreNamed(t *testing.T) {
	const upTo519 = 1<<13 - 1
	err := vm.ExplainFeatures(upTo519)
	wantError(t, err, "userfaultfd lacks WP_UNPOPULATED, POISON, which needs Linux 6.6")
	wantError(t, vm.ExplainFeatures(upTo519|1<<14), "lacks WP_UNPOPULATED, which needs Linux 6.4")
	wantOneLine(t, err)
	if err := vm.ExplainFeatures(1<<15 - 1); err != nil {
		t.Errorf("with all features: %v", err)
	}
	wantError(t, vm.ExplainHandshake(unix.EINVAL), "userfaultfd handshake: invalid argument") // nothing is missing here
}

func TestMemoryThatCannotBeShared(t *testing.T) {
	page := os.Getpagesize()
	at := region(uint64(page))
	for _, wrong := range []pagetable.Range{
		{Start: at.Start, End: at.Start}, {Start: at.Start, End: at.End - 1}, {Start: at.Start + 1, End: at.End + 1},
	} {
		_, err := vm.NewShared("test", wrong)
		wantError(t, err, "multiples of the system's page size")
	}
	if s, err := vm.NewShared(strings.Repeat("n", pagetable.MaxNameLen-1)+"\x00", at); err != nil {
		t.Error(err)
	} else if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestMemoryThatCannotBeMapped(t *testing.T) {
	w, err := vm.NewWindow(vm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := region(uint64(os.Getpagesize()))
	s := share(t, at)
	if _, err := w.Map(s.Descriptor(), at); err != nil {
		t.Fatal(err)
	}
	_, err = w.Map(s.Descriptor(), at)
	wantError(t, err, "something else in this process lies there")
	_, err = w.Map(s.Descriptor(), region(1<<20))
	wantError(t, err, "the node's memory has 4096 bytes")
	_, err = w.Map(s.Descriptor(), pagetable.Range{Start: 0x10000, End: 0x11000})
	wantError(t, err, "lies outside the window")
	if err := errors.Join(w.Unmap(at), w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
}

func TestDescriptorThatIsNoTrap(t *testing.T) {
	s := share(t, region(uint64(os.Getpagesize())))
	fd, err := unix.Dup(s.Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	_, err = vm.NewTrap(fd)
	wantError(t, err, "memfd:pagemesh:test")
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Error("the descriptor is still open")
	}
}

func TestProgramCannotShortenMemory(t *testing.T) {
	s := share(t, region(1<<20))
	for _, size := range []int64{0, 2 << 20} {
		if err := unix.Ftruncate(s.Descriptor(), size); err != unix.EPERM {
			t.Errorf("a size of %d: %v", size, err)
		}
	}
}

// TestLimits runs this test binary again under limits, which can't be lifted afterwards.
func TestLimits(t *testing.T) {
	for _, test := range []struct{ limit, want string }{
		{"seccomp", "a seccomp filter or security module forbids it"},
		{"addresses", "raise the limit of address space (ulimit -v)"},
		{"files", "raise the limit of file sizes (ulimit -f)"},
		{"descriptors", "raise the limit of open files (ulimit -n)"},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), limitEnv+"="+test.limit)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", test.limit, err)
		}
		wantError(t, errors.New(string(out)), test.want)
	}
}

// limitEnv is set in the environment of a test binary that sets itself a limit and says which error it
// got.
const limitEnv = "PAGEMESH_VM_TEST_LIMIT"

func runLimited(limit string) error {
	runtime.LockOSThread()
	var err, got error
	switch limit {
	case "seccomp":
		if err = forbidUserfaultfd(); err == nil {
			_, got = vm.Probe(vm.Options{UserModeOnly: true})
		}
	case "addresses":
		err = lower(unix.RLIMIT_AS, 1<<38)
		_, got = vm.NewShared("test", region(1<<40))
	case "files":
		err = lower(unix.RLIMIT_FSIZE, 1<<30)
		_, got = vm.NewShared("test", region(1<<40))
	case "descriptors":
		err = lower(unix.RLIMIT_NOFILE, 3)
		_, got = vm.NewShared("test", region(1<<40))
	}
	fmt.Print(got)
	return err
}

func lower(resource int, limit uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit})
}

// forbidUserfaultfd has the calling thread's system call userfaultfd fail, as the profiles of
// container engines do.
func forbidUserfaultfd() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_USERFAULTFD},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
