//go:build amd64 || arm64

package vm_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// This file starts attached programs: the test binary, executed again, which maps one region and does
// what the test asks for over a socket, one line at a time, each answered by one number.

// programEnv is set in the environment of a program, to begin and length of its region.
const programEnv = "PAGEMESH_VM_TEST_PROGRAM"

func TestMain(m *testing.M) {
	var err error
	if region := os.Getenv(programEnv); region != "" {
		err = runProgram(region)
	} else if limit := os.Getenv(limitEnv); limit != "" {
		err = runLimited(limit)
	} else {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "test program:", err)
		os.Exit(1)
	}
}

// program is a running program, as the test sees it.
type program struct {
	t    testing.TB
	cmd  *exec.Cmd
	conn *net.UnixConn
	in   *bufio.Reader
	trap *vm.Trap
}

// startProgram starts a program that maps s at its place, and attaches it. Its faults wait until the
// test serves them. env is added to its environment.
func startProgram(t testing.TB, s *vm.Shared, at pagetable.Range, env ...string) *program {
	t.Helper()
	here, there := socketPair(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, fmt.Sprintf("%s=%d %d", programEnv, uint64(at.Start), at.Len()))...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{there}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	there.Close()
	p := &program{t: t, cmd: cmd, conn: here, in: bufio.NewReader(here)}
	t.Cleanup(p.kill)
	if err := vm.SendDescriptors(here, []byte{'m'}, s.Descriptor()); err != nil {
		t.Fatal(err)
	}
	p.receiveTrap()
	s.Attach(p.trap)
	return p
}

// receiveTrap takes the descriptor that the program sends.
func (p *program) receiveTrap() {
	p.t.Helper()
	var buf [1]byte
	_, fds, err := vm.ReceiveDescriptors(p.conn, buf[:])
	if err != nil || len(fds) != 1 {
		p.t.Fatalf("program sent %d descriptors: %v", len(fds), err)
	}
	if p.trap, err = vm.NewTrap(fds[0]); err != nil {
		p.t.Fatal(err)
	}
}

// resendTrap has the program send its descriptor once more.
func (p *program) resendTrap() {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.conn, "send"); err != nil {
		p.t.Fatal(err)
	}
	p.receiveTrap()
	if line, err := p.in.ReadString('\n'); line != "0\n" {
		p.t.Fatalf("the program answered %q: %v", line, err)
	}
}

func socketPair(t testing.TB) (*net.UnixConn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := unixConn(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	return c, os.NewFile(uintptr(fds[1]), "socket")
}

func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

func (p *program) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.conn.Close()
	if p.trap != nil {
		p.trap.Close()
	}
}

// ask has the program do something and returns its answer.
func (p *program) ask(format string, args ...any) int64 {
	p.t.Helper()
	v, err := p.try(format, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *program) try(format string, args ...any) (int64, error) {
	if _, err := fmt.Fprintf(p.conn, format+"\n", args...); err != nil {
		return 0, err
	}
	line, err := p.in.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("program ended: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}

// start is ask in the background.
func (p *program) start(format string, args ...any) answer {
	c := make(chan int64, 1)
	go func() {
		v, err := p.try(format, args...)
		if err != nil {
			p.t.Errorf("%s: %v", fmt.Sprintf(format, args...), err)
		}
		c <- v
	}()
	return answer{p.t, c}
}

// answer is a number that a program will send.
type answer struct {
	t testing.TB
	c <-chan int64
}

// patience is how long a test waits for what must come before it says that it didn't.
const patience = 20 * time.Second

func (a answer) wait() int64 {
	a.t.Helper()
	select {
	case v := <-a.c:
		return v
	case <-time.After(patience):
		a.t.Fatal("the program doesn't answer: it waits for a page that it has, or was not woken")
		return 0
	}
}

// want fails unless the answer is v.
func (a answer) want(v int64) {
	a.t.Helper()
	if got := a.wait(); got != v {
		a.t.Errorf("the program answered %d, want %d", got, v)
	}
}

// fault returns the next fault of the program.
func (p *program) fault() vm.Fault {
	p.t.Helper()
	type result struct {
		f   vm.Fault
		err error
	}
	c := make(chan result, 1)
	go func() {
		f, err := p.trap.Next()
		c <- result{f, err}
	}()
	select {
	case r := <-c:
		if r.err != nil {
			p.t.Fatal(r.err)
		}
		return r.f
	case <-time.After(patience):
		p.t.Fatal("the program doesn't fault")
		return vm.Fault{}
	}
}

// wantFault fails unless the next fault is f, whatever its thread.
func (p *program) wantFault(f vm.Fault) {
	p.t.Helper()
	got := p.fault()
	if got.Thread == 0 {
		p.t.Errorf("fault %+v has no thread", got)
	}
	got.Thread = 0
	if got != f {
		p.t.Errorf("fault %+v, want %+v", got, f)
	}
}
