package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pagemesh/dsm"
)

func sortedLines(s string) []string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// eachAccess runs a test for each way to reach memory that this system allows.
func eachAccess(t *testing.T, test func(t *testing.T, access string)) {
	t.Run("embedded", func(t *testing.T) { test(t, "--access=embedded") })
	t.Run("mapped", func(t *testing.T) {
		if err := dsm.CanMap(); err != nil {
			t.Skip(err)
		}
		test(t, "--access=mapped")
	})
}

// TestRunSharesMemory: the copies find each other, whatever the environment says of another space, and
// end in peace.
func TestRunSharesMemory(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		u := newUser(t)
		u.env = append(u.env, "PAGEMESH_SEEDS=127.0.0.1:1", "PAGEMESH_LISTEN=127.0.0.1:1", "PAGEMESH_RANK=7", "PAGEMESH_ATTACH=x")
		want := []string{"[0] sum 10 of 4 members", "[1] sum 10 of 4 members", "[2] sum 10 of 4 members", "[3] sum 10 of 4 members"}
		for range 5 {
			if got := sortedLines(u.must("run", "-n", "4", access, "--", memberFile, "sum")); !slices.Equal(got, want) {
				t.Fatalf("output\n%q\nwant\n%q", got, want)
			}
		}
	})
}

func TestRunGoRun(t *testing.T) {
	u := newUser(t)
	want := []string{"[0] sum 3 of 2 members", "[1] sum 3 of 2 members"}
	if got := sortedLines(u.must("run", "-n", "2", "--", "go", "run", "./testdata/member", "sum")); !slices.Equal(got, want) {
		t.Errorf("output\n%q\nwant\n%q", got, want)
	}
}

// TestRunProgramOfAnotherModule: whoever has a clone can use it from a module elsewhere.
func TestRunProgramOfAnotherModule(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mod := "module other\nrequire pagemesh v0.0.0\nreplace pagemesh => " + root + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/member/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range append(files, "../../go.sum") {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(from)), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"[0] sum 3 of 2 members", "[1] sum 3 of 2 members"}
	got := newUser(t).must("run", "-n", "2", "--", "go", "run", "-C", dir, "-mod=mod", ".", "sum")
	if !slices.Equal(sortedLines(got), want) {
		t.Errorf("output\n%q\nwant\n%q", got, want)
	}
}

func TestRunPassesFlagsOfProgram(t *testing.T) {
	u := newUser(t)
	if got := u.must("run", "-n", "1", "echo", "-n", "--help"); got != "[0] --help\n" {
		t.Errorf("output %q", got)
	}
}

func TestRunStdinGoesToRankZero(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		u := newUser(t)
		cmd := u.command("run", "-n", "2", access, "--", memberFile, "stdin")
		cmd.Stdin = strings.NewReader("typed\n")
		o := u.finish(cmd)
		if want := []string{`[0] read "typed\n"`, `[1] read ""`}; o.status != 0 || !slices.Equal(sortedLines(o.stdout), want) {
			t.Errorf("%+v, want %q", o, want)
		}
	})
}

func TestRunReturnsStatus(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		for _, tc := range []struct {
			name   string
			task   []string
			status int
			line   string
		}{
			{"exit", []string{"exit", "2", "7"}, 7, "dsm: rank 2 ended with status 7\n"},
			{"kill", []string{"kill", "1"}, 137, "dsm: rank 1 was ended by signal 9 (killed)\n"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel() // the others have some time to report the loss
				o := newUser(t).run(append([]string{"run", "-n", "3", access, "--", memberFile}, tc.task...)...)
				if o.status != tc.status || !strings.HasSuffix(o.stderr, tc.line) {
					t.Errorf("status %d, want %d and %q at the end of\n%s", o.status, tc.status, tc.line, o.stderr)
				}
			})
		}
	})
}

func TestRunPassesSignals(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		u := newUser(t)
		p := u.start("run", "-n", "2", access, "--", memberFile, "wait")
		awaitReady(p, 2)
		p.signal(os.Interrupt)
		o := p.wait()
		if want := []string{"[0] got interrupt", "[1] got interrupt"}; o.status != 0 || !slices.Equal(sortedLines(o.stdout), want) {
			t.Errorf("%+v, want %q", o, want)
		}
	})
}

// TestRunSecondSignalKills: who ignores the first signal is killed by the second, and nobody else is
// blamed for it.
func TestRunSecondSignalKills(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		u := newUser(t)
		p := u.start("run", "-n", "2", access, "--", memberFile, "deaf")
		awaitReady(p, 2)
		all := descendants(p.cmd.Process.Pid)
		p.signal(os.Interrupt)
		p.signal(syscall.SIGTERM) // another one: two of a kind may arrive as one
		if o := p.wait(); o.status != 137 || strings.Contains(o.stderr, "dsm: ") {
			t.Errorf("%+v", o)
		}
		awaitGone(t, all)
	})
}

// TestRunLeavesNothingBehind: whichever process is killed, the others end.
func TestRunLeavesNothingBehind(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		for _, victim := range []string{"launcher", "node", "program"} {
			t.Run(victim, func(t *testing.T) {
				t.Parallel()
				killAndAwait(t, access, victim)
			})
		}
	})
}

func killAndAwait(t *testing.T, access, victim string) {
	u := newUser(t)
	p := u.start("run", "-n", "2", access, "--", memberFile, "deaf")
	programs := awaitReady(p, 2)
	all := descendants(p.cmd.Process.Pid)
	switch victim {
	case "launcher":
		p.signal(os.Kill)
	case "node":
		killOne(t, children(p.cmd.Process.Pid), memberFile)
	case "program":
		syscall.Kill(programs[1], syscall.SIGKILL)
	}
	if o := p.wait(); victim != "launcher" && (o.status != 137 || !strings.HasSuffix(o.stderr, "was ended by signal 9 (killed)\n")) {
		t.Errorf("%+v", o)
	}
	awaitGone(t, all)
	if o := u.run("status"); o.status != 1 || !strings.Contains(o.stderr, "no space is running") {
		t.Errorf("the space is remembered: %+v", o)
	}
	eventually(t, "its files are removed", func() bool {
		left, _ := filepath.Glob(filepath.Join(u.tmp, "*", "*"))
		return len(left) == 0
	})
}

// TestRunWithLongTempDir: the sockets of nodes lie elsewhere if their paths would be too long.
func TestRunWithLongTempDir(t *testing.T) {
	u := newUser(t)
	long := filepath.Join(u.tmp, strings.Repeat("long", 25))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	u.env = append(u.env, "TMPDIR="+long)
	if got := u.must("run", "-n", "1", "--", memberFile, "sum"); got != "[0] sum 1 of 1 members\n" {
		t.Errorf("output %q", got)
	}
}

// TestStoppedNodeLosesNothing: the coordinator stands still for three seconds while all count.
func TestStoppedNodeLosesNothing(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		t.Parallel()
		p := newUser(t).start("run", "-n", "3", access, "--", memberFile, "count")
		awaitReady(p, 3)
		var nodes []int
		for _, pid := range children(p.cmd.Process.Pid) {
			if runs(pid, memberFile) {
				nodes = append(nodes, pid)
			}
		}
		if len(nodes) != 3 {
			t.Fatalf("the nodes are %v, want 3", nodes)
		}
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := syscall.Kill(nodes[0], s); err != nil {
				t.Fatal(err)
			}
			if s == syscall.SIGSTOP {
				time.Sleep(3 * time.Second) // what is promised
			}
		}
		p.signal(os.Interrupt)
		o := p.wait()
		sum, total := 0, 0
		for line := range strings.Lines(o.stdout) {
			var rank, own int
			if _, err := fmt.Sscanf(line, "[%d] counted %d of %d\n", &rank, &own, &total); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			sum += own
		}
		if o.status != 0 || sum == 0 || sum != total || strings.Contains(o.stderr, "lost") {
			t.Errorf("%d were counted, the word is %d: %+v", sum, total, o)
		}
	})
}

// killOne kills the last of the processes whose command line holds word.
func killOne(t *testing.T, pids []int, word string) {
	t.Helper()
	for _, pid := range slices.Backward(pids) {
		if runs(pid, word) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("none of %v runs %s", pids, word)
}

// runs reports whether the command line of a process holds word.
func runs(pid int, word string) bool {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return slices.Contains(strings.Split(string(line), "\x00"), word)
}

// children returns the processes that a process has started, in that order.
func children(parent int) []int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	var pids []int
	for _, name := range tasks {
		list, _ := os.ReadFile(name)
		for _, word := range strings.Fields(string(list)) {
			pid, _ := strconv.Atoi(word)
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// descendants returns the processes that a process and its descendants have started.
func descendants(parent int) []int {
	var all []int
	for _, pid := range children(parent) {
		all = append(append(all, pid), descendants(pid)...)
	}
	return all
}

// awaitGone returns when none of the processes exists any more, but for records that nobody collects.
func awaitGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, "the copies have ended", func() bool {
			if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				return true
			}
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err == nil && strings.Contains(string(stat), ") Z ")
		})
	}
}
