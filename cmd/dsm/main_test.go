package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"pagemesh/dsm"
)

// patience turns a hang into a failure. Nothing in these tests takes a tenth of it, except under the race
// detector.
const patience = 60 * time.Second

// Programs that the tests run, built once.
var dsmFile, memberFile string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "dsm-test-*")
	if err == nil {
		dsmFile, memberFile = filepath.Join(dir, "dsm"), filepath.Join(dir, "member")
		err = errors.Join(build(dsmFile, "."), build(memberFile, "./testdata/member"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Nothing of the environment says which space is meant.
	for _, e := range (dsm.Config{}).Environ() {
		name, _, _ := strings.Cut(e, "=")
		os.Unsetenv(name)
	}
	// Programs under the race detector would each take a second to end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of spaces that tests join themselves
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// build builds a program the way this test was built.
func build(file, pkg string) error {
	args := []string{"build", "-o", file}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" || s.Key == "-tags" {
				args = append(args, s.Key+"="+s.Value)
			}
		}
	}
	out, err := exec.Command("go", append(args, pkg)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// user runs dsm as somebody who has nothing else running on this machine.
type user struct {
	t   *testing.T
	tmp string // for temporary files
	env []string
}

func newUser(t *testing.T) *user {
	tmp := t.TempDir()
	return &user{t: t, tmp: tmp, env: append(os.Environ(), "TMPDIR="+tmp)}
}

func (u *user) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), dsmFile, args...)
	cmd.Env = u.env
	cmd.WaitDelay = time.Second // for output that a killed launcher's copies still hold open
	return cmd
}

// outcome is what a command has written and how it ended.
type outcome struct {
	stdout, stderr string
	status         int
}

func (u *user) run(args ...string) outcome {
	u.t.Helper()
	return u.finish(u.command(args...))
}

// finish runs cmd to its end.
func (u *user) finish(cmd *exec.Cmd) outcome {
	u.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		u.t.Fatalf("%v: %v", cmd, err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs a command that succeeds and returns its standard output.
func (u *user) must(args ...string) string {
	u.t.Helper()
	o := u.run(args...)
	if o.status != 0 {
		u.t.Fatalf("dsm %s: status %d\n%s%s", strings.Join(args, " "), o.status, o.stdout, o.stderr)
	}
	return o.stdout
}

// decode runs a command that writes one JSON value into v, without anything that v does not know.
func (u *user) decode(v any, args ...string) {
	u.t.Helper()
	out := u.must(append(args, "-o", "json")...)
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		u.t.Fatalf("dsm %s: %v in\n%s", strings.Join(args, " "), err, out)
	}
	if _, err := d.Token(); err != io.EOF {
		u.t.Errorf("dsm %s: more than one JSON value:\n%s", strings.Join(args, " "), out)
	}
}

// process is a command that goes on while the test does.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string // of standard output
	stderr *lockedBuffer
	ended  chan struct{}
}

// start starts dsm, which is killed after the test if it still runs.
func (u *user) start(args ...string) *process {
	u.t.Helper()
	return u.follow(u.command(args...))
}

// follow starts any command likewise.
func (u *user) follow(cmd *exec.Cmd) *process {
	u.t.Helper()
	p := &process{
		t: u.t, cmd: cmd, lines: make(chan string, 1024), stderr: &lockedBuffer{}, ended: make(chan struct{}),
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		u.t.Fatal(err)
	}
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	go p.read(stdout)
	u.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *process) read(stdout io.Reader) {
	for s := bufio.NewScanner(stdout); s.Scan(); {
		p.lines <- s.Text()
	}
	close(p.lines)
	_ = p.cmd.Wait() // the status is in ProcessState
	close(p.ended)
}

// next returns the next line of standard output.
func (p *process) next() string {
	p.t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("%v has ended:\n%s", p.cmd, p.stderr)
		}
		return l
	case <-time.After(patience):
		p.t.Fatalf("%v: no line for %v", p.cmd, patience)
		return ""
	}
}

// signal sends a signal.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits for the end and returns the outcome, with what next has not taken.
func (p *process) wait() outcome {
	p.t.Helper()
	var left []string
	timeout := time.After(patience)
	for open := true; open; {
		select {
		case l, ok := <-p.lines:
			if open = ok; ok {
				left = append(left, l+"\n")
			}
		case <-timeout:
			p.t.Fatalf("%v does not end:\n%s", p.cmd, p.stderr)
		}
	}
	<-p.ended
	return outcome{strings.Join(left, ""), p.stderr.String(), p.cmd.ProcessState.ExitCode()}
}

// node starts dsm node and returns it with its address.
func (u *user) node(args ...string) (*process, string) {
	u.t.Helper()
	p := u.start(append([]string{"node"}, args...)...)
	line := p.next()
	return p, line[strings.LastIndexByte(line, ' ')+1:]
}

// eventually calls ok until it is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not for %v: %s", patience, what)
		}
	}
}
