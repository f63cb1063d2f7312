//go:build amd64 || arm64

package vm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

const (
	none  = pagetable.NoAccess
	read  = pagetable.ReadAccess
	write = pagetable.WriteAccess
)

// stage is a region with one program, whose faults the test answers one by one. Its runtime sends no
// signals to threads that wait, which would make them fault once more.
type stage struct {
	*program
	s    *vm.Shared
	at   pagetable.Range
	page int
}

func newStage(t *testing.T, pages int, env ...string) *stage {
	page := os.Getpagesize()
	at := region(uint64(pages * page))
	s := share(t, at)
	env = append(env, "GODEBUG=asyncpreemptoff=1")
	return &stage{program: startProgram(t, s, at, env...), s: s, at: at, page: page}
}

// protect changes the right on the first page.
func (st *stage) protect(before, after pagetable.Access) {
	st.t.Helper()
	if err := st.s.Protect(0, st.page, before, after); err != nil {
		st.t.Error(err)
	}
}

func (st *stage) release() {
	st.t.Helper()
	if err := st.s.Release(0, st.page); err != nil {
		st.t.Error(err)
	}
}

// frame is the node's own word at off.
func (st *stage) frame(off int) uint64 { return vm.LoadUint64(st.s.Bytes(0, st.page), off) }

func (st *stage) setFrame(off int, v uint64) { vm.StoreUint64(st.s.Bytes(0, st.page), off, v) }

func (st *stage) missing(off int, want pagetable.Access) vm.Fault {
	return vm.Fault{Addr: st.at.Start + pagetable.Addr(off), Want: want}
}

func (st *stage) present(off int, want pagetable.Access) vm.Fault {
	f := st.missing(off, want)
	f.Resident = true
	return f
}

// One page through all rights, as the program and the node see it.
func TestPageThroughAllRights(t *testing.T) {
	st := newStage(t, 1)

	t.Log("the first read waits, for the address that it reads")
	v := st.start("load 72")
	st.wantFault(st.missing(72, read))
	st.setFrame(72, 42)
	st.protect(none, read)
	v.want(42)
	if got := st.ask("load 80"); got != 0 {
		t.Errorf("another word of the page = %d", got)
	}

	t.Log("a write waits for an upgrade, and then no more")
	v = st.start("store 72 43")
	st.wantFault(st.present(72, write))
	if st.frame(72) != 42 {
		t.Error("the write did not wait")
	}
	st.protect(read, write)
	v.want(0)
	st.ask("store 80 44")
	if st.frame(72) != 43 || st.frame(80) != 44 {
		t.Errorf("the node sees %d and %d", st.frame(72), st.frame(80))
	}

	t.Log("after a downgrade it reads and waits to write")
	st.protect(write, read)
	if got := st.ask("load 80"); got != 44 {
		t.Errorf("word = %d after the downgrade", got)
	}
	v = st.start("store 80 45")
	st.wantFault(st.present(80, write))
	st.protect(read, write)
	v.want(0)

	t.Log("frozen, its last bytes can be taken, and then it waits for everything")
	st.protect(write, none)
	if st.frame(72) != 43 || st.frame(80) != 45 {
		t.Errorf("the node takes %d and %d", st.frame(72), st.frame(80))
	}
	st.release()
	v = st.start("store 80 46")
	st.wantFault(st.missing(80, write))
	st.setFrame(72, 1)
	st.protect(none, write)
	v.want(0)
	if st.frame(72) != 1 || st.frame(80) != 46 {
		t.Errorf("the node sees %d and %d", st.frame(72), st.frame(80))
	}
}

func TestZeroPageNeedsNoBytes(t *testing.T) {
	st := newStage(t, 1)
	v := st.start("load 8")
	st.wantFault(st.missing(8, read))
	st.protect(none, read)
	v.want(0)
	v = st.start("store 8 5")
	st.wantFault(st.present(8, write))
	st.protect(read, write)
	v.want(0)
	if st.frame(8) != 5 {
		t.Errorf("the node sees %d", st.frame(8))
	}
}

// A fault whose page came while it was on its way is answered by the right that is there.
func TestProtectTwice(t *testing.T) {
	for _, right := range []pagetable.Access{read, write} {
		st := newStage(t, 1)
		st.setFrame(0, 7)
		v := st.start("load 0")
		st.fault()
		st.protect(none, right)
		st.protect(none, right)
		v.want(7)

		v = st.start("store 0 8")
		if right == read {
			st.wantFault(st.present(0, write))
			st.protect(none, read) // not what it waits for
			st.wantFault(st.present(0, write))
			st.protect(none, write)
		}
		v.want(0)
	}
}

// A program that is attached late finds frames that it has not mapped.
func TestSecondProgramMapsWhatIsThere(t *testing.T) {
	st := newStage(t, 1)
	v := st.start("store 8 1")
	st.fault()
	st.protect(none, write)
	v.want(0)

	late := startProgram(t, st.s, st.at)
	v = late.start("load 8")
	late.wantFault(st.present(8, read))
	st.protect(none, write)
	v.want(1)
	late.ask("store 8 2")
	if got := st.ask("load 8"); got != 2 {
		t.Errorf("the first program reads %d", got)
	}

	t.Log("a downgrade and a release reach both")
	st.protect(write, read)
	v = st.start("store 8 3")
	w := late.start("store 16 4")
	st.wantFault(st.present(8, write))
	late.wantFault(st.present(16, write))
	st.release()
	st.protect(none, write)
	v.want(0)
	w.want(0)
	if st.frame(8) != 3 || st.frame(16) != 4 {
		t.Errorf("the node sees %d and %d", st.frame(8), st.frame(16))
	}

	t.Log("the death of one is nothing to the other")
	late.kill()
	st.protect(write, none)
	st.release()
	v = st.start("load 8")
	st.wantFault(st.missing(8, read))
	st.protect(none, read)
	v.want(0)
	st.s.Detach(late.trap)
}

func TestPoisonedPageEndsInCatch(t *testing.T) {
	st := newStage(t, 3)
	st.protect(none, read)
	v := st.start("catch %d %d", st.page-8, st.page) // copies from a page that is here to one that is not
	st.fault()
	if err := st.s.Poison(uint64(st.page), st.page); err != nil {
		t.Error(err)
	}
	if got := v.wait(); got/int64(st.page) != 1 {
		t.Errorf("the access was caught at %d", got)
	}
	if got := st.ask("catch %d 8", st.page+16); got != int64(st.page+16) {
		t.Errorf("a second access was caught at %d", got)
	}
	if got := st.ask("catch 0 64"); got != -1 {
		t.Errorf("an access beside it was caught at %d", got)
	}
	t.Log("a healed page is missing as before it was poisoned, its neighbours are as they were")
	st.ask("heal %d %d", st.page, st.page)
	st.ask("load 8")
	v = st.start("catch %d 8", st.page)
	st.wantFault(st.missing(st.page, read))
	if err := st.s.Protect(uint64(st.page), st.page, none, read); err != nil {
		t.Error(err)
	}
	v.want(-1)
}

// The kernel remembers that a page was mapped without the right to write when it is not mapped any more.
func TestPoisonedPageThatWasMapped(t *testing.T) {
	for _, right := range []pagetable.Access{read, write} {
		st := newStage(t, 1)
		st.protect(none, right)
		if right == write {
			st.ask("store 8 1")
			st.protect(write, read)
		}
		st.ask("load 8")
		st.release()
		v := st.start("catch 0 8")
		st.wantFault(st.missing(0, read))
		if err := st.s.Poison(0, st.page); err != nil {
			t.Error(err)
		}
		v.want(0)
	}
}

// A program that maps something else where shared memory should be ends its own trap, not the others'.
func TestProgramWithOtherMemory(t *testing.T) {
	st := newStage(t, 1)
	odd := startProgram(t, st.s, st.at)
	odd.ask("usurp")
	v := st.start("load 8")
	st.wantFault(st.missing(8, read))
	st.setFrame(8, 4711)
	st.protect(none, read)
	v.want(4711)
	if f, err := odd.trap.Next(); err == nil || errors.Is(err, fs.ErrClosed) || !strings.Contains(err.Error(), "change the right on") {
		t.Errorf("its trap says %v, %v", f, err)
	}
	st.protect(read, none)
	st.release()
	if err := st.s.Poison(0, st.page); err != nil {
		t.Error(err)
	}
}

// The threads of a program wait independently of each other.
func TestManyThreadsWaitAtOnce(t *testing.T) {
	const threads = 8
	st := newStage(t, threads, "GOMAXPROCS=8")
	sum := uint64(0)
	v := st.start("fan %d %d", st.page, threads)
	waiting := map[uint64]int{}
	for len(waiting) < threads {
		f := st.fault()
		waiting[uint64(f.Addr-st.at.Start)] = f.Thread
	}
	ids := map[int]bool{}
	for off, id := range waiting {
		ids[id] = true
		sum += off + 1
		vm.StoreUint64(st.s.Bytes(off, 8), 0, off+1)
		if err := st.s.Protect(off, st.page, none, read); err != nil {
			t.Error(err)
		}
	}
	v.want(int64(sum))
	if len(ids) != threads {
		t.Errorf("%d threads waited, want %d", len(ids), threads)
	}
}

// When no descriptor is left at the node, as after its end, a program waits for a page that was taken
// away and does not see zeros. Here another node takes over.
func TestProgramWaitsWithoutNode(t *testing.T) {
	st := newStage(t, 1)
	v := st.start("store 8 5")
	st.fault()
	st.protect(none, write)
	v.want(0)
	st.protect(write, none)
	st.release()

	st.s.Detach(st.trap)
	if err := st.trap.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.trap.Next(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
	st.ask("begin 8")
	for late := time.Now().Add(patience); !waitsOnFault(t, st.pid()); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("the program does not wait")
		}
	}

	st.resendTrap()
	st.s.Attach(st.trap)
	st.wantFault(st.missing(8, read))
	t.Log("a fault that was read and forgotten comes again")
	if err := st.trap.Wake(st.at); err != nil {
		t.Fatal(err)
	}
	st.wantFault(st.missing(8, read))
	st.setFrame(8, 5)
	st.protect(none, read)
	st.start("end").want(5)
}

// waitsOnFault reports whether a thread of the process sleeps outside system calls.
func waitsOnFault(t *testing.T, pid int) bool {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		line, err := os.ReadFile(dir + "/" + task.Name() + "/syscall")
		if err == nil && strings.HasPrefix(string(line), "-1 ") {
			return true
		}
	}
	return false
}

func TestProgramCounterOfAWaitingThread(t *testing.T) {
	st := newStage(t, 1)
	v := st.start("read 0 1 1")
	f := st.fault()
	pc, _, ok, err := vm.ProgramCounter(st.pid(), f.Thread)
	for !ok && err == nil {
		pc, _, ok, err = vm.ProgramCounter(st.pid(), f.Thread)
	}
	if err != nil {
		t.Fatal(err)
	}
	if name := runtime.FuncForPC(uintptr(pc)).Name(); !strings.HasSuffix(name, "vm_test.readEach") {
		t.Errorf("the thread waits in %s", name)
	}
	st.protect(none, read)
	v.wait()
	if _, _, _, err := vm.ProgramCounter(st.pid(), 1<<22); !errors.Is(err, unix.ENOENT) {
		t.Errorf("program counter of no thread: %v", err)
	}
}

func TestSystemCallsOnMissingPages(t *testing.T) {
	st := newStage(t, 1, userModeEnv+"=1")
	if got := st.ask("pipe 0 8"); got != -int64(unix.EFAULT) {
		t.Errorf("user mode: write(2) = %d, want EFAULT", got)
	}
	mode, err := vm.Probe(vm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if mode != vm.FullMode {
		t.Skip("full mode is not allowed here")
	}
	st = newStage(t, 1)
	v := st.start("pipe 8 8")
	st.wantFault(st.missing(8, read))
	st.protect(none, read)
	v.want(8)
}

func TestChildrenAndDumpsDontGetTheMapping(t *testing.T) {
	st := newStage(t, 1)
	st.ask("exec")
	flags := mappingFlags(t, st.pid(), st.at.Start)
	for _, want := range []string{"rd", "wr", "sh", "dc", "dd", "nh", "um", "uw", "ui"} {
		if !strings.Contains(flags, " "+want) {
			t.Errorf("mapping has flags %q, not %q", flags, want)
		}
	}
}

// mappingFlags returns the line VmFlags of /proc/PID/smaps for the mapping at that address.
func mappingFlags(t *testing.T, pid int, at pagetable.Addr) string {
	t.Helper()
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(smaps), fmt.Sprintf("\n%x-", uint64(at)))
	if !ok {
		t.Fatalf("nothing is mapped at %v", at)
	}
	_, rest, _ = strings.Cut(rest, "VmFlags:")
	flags, _, _ := strings.Cut(rest, "\n")
	return flags
}

func TestTerabyteIsMappedAndTouchedHereAndThere(t *testing.T) {
	const size = 1 << 40
	page := os.Getpagesize()
	at := region(size)
	s := share(t, at)
	p := startProgram(t, s, at)
	for _, off := range []uint64{0, size / 2, size - 8} {
		v := p.start("store %d %d", off, off+1)
		p.wantFault(vm.Fault{Addr: at.Start + pagetable.Addr(off), Want: write})
		first := off &^ uint64(page-1)
		if err := s.Protect(first, page, none, write); err != nil {
			t.Fatal(err)
		}
		v.want(0)
		if got := vm.LoadUint64(s.Bytes(off, 8), 0); got != off+1 {
			t.Errorf("word at %d = %d", off, got)
		}
	}
}

func TestMapUnmapMapAgain(t *testing.T) {
	st := newStage(t, 1)
	for i := range 3 {
		v := st.start("store 8 %d", i+1)
		st.wantFault(st.missing(8, write))
		st.protect(none, write)
		v.want(0)
		st.protect(write, none)
		st.release()
		st.ask("remap")
	}
}

func TestOnlyThreadsThatWaitForPagesHaveAProgramCounter(t *testing.T) {
	for _, test := range []struct {
		line   string
		pc, sp uint64
		ok     bool
		bad    bool
	}{
		{line: "running\n"},
		{line: "-1 0xc000052f08 0x47b0a1\n", pc: 0x47b0a1, sp: 0xc000052f08, ok: true},
		{line: "202 0xc000100148 0x80 0x0 0x0 0x0 0x0 0xc000069e50 0x47d8c3\n"}, // in futex
		{line: "-1 0x1\n", bad: true},
		{line: "-1 sp pc\n", bad: true},
	} {
		pc, sp, ok, err := vm.ParseSyscall([]byte(test.line))
		if pc != test.pc || sp != test.sp || ok != test.ok || (err != nil) != test.bad {
			t.Errorf("%q: %#x, %#x, %v, %v", test.line, pc, sp, ok, err)
		}
	}
}
