package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func sortedLines(s string) []string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// TestRunSharesMemory: the copies find each other, whatever the environment says of another space, and
// end in peace.
func TestRunSharesMemory(t *testing.T) {
	u := newUser(t)
	u.env = append(u.env, "PAGEMESH_SEEDS=127.0.0.1:1", "PAGEMESH_LISTEN=127.0.0.1:1", "PAGEMESH_RANK=7")
	want := []string{"[0] sum 10 of 4 members", "[1] sum 10 of 4 members", "[2] sum 10 of 4 members", "[3] sum 10 of 4 members"}
	for range 10 {
		if got := sortedLines(u.must("run", "-n", "4", "--", memberFile, "sum")); !slices.Equal(got, want) {
			t.Fatalf("output\n%q\nwant\n%q", got, want)
		}
	}
}

func TestRunGoRun(t *testing.T) {
	u := newUser(t)
	want := []string{"[0] sum 3 of 2 members", "[1] sum 3 of 2 members"}
	if got := sortedLines(u.must("run", "-n", "2", "--", "go", "run", "./testdata/member", "sum")); !slices.Equal(got, want) {
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
	u := newUser(t)
	cmd := u.command("run", "-n", "2", "--", memberFile, "stdin")
	cmd.Stdin = strings.NewReader("typed\n")
	o := u.finish(cmd)
	if want := []string{`[0] read "typed\n"`, `[1] read ""`}; o.status != 0 || !slices.Equal(sortedLines(o.stdout), want) {
		t.Errorf("%+v, want %q", o, want)
	}
}

func TestRunReturnsStatus(t *testing.T) {
	u := newUser(t)
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
			o := u.run(append([]string{"run", "-n", "3", "--", memberFile}, tc.task...)...)
			if o.status != tc.status || !strings.HasSuffix(o.stderr, tc.line) {
				t.Errorf("status %d, want %d and %q at the end of\n%s", o.status, tc.status, tc.line, o.stderr)
			}
		})
	}
}

func TestRunPassesSignals(t *testing.T) {
	u := newUser(t)
	p := u.start("run", "-n", "2", "--", memberFile, "wait")
	awaitReady(p, 2)
	p.signal(os.Interrupt)
	o := p.wait()
	if want := []string{"[0] got interrupt", "[1] got interrupt"}; o.status != 0 || !slices.Equal(sortedLines(o.stdout), want) {
		t.Errorf("%+v, want %q", o, want)
	}
}

// TestRunSecondSignalKills: who ignores the first signal is killed by the second, and nobody else is
// blamed for it.
func TestRunSecondSignalKills(t *testing.T) {
	u := newUser(t)
	p := u.start("run", "-n", "2", "--", memberFile, "deaf")
	pids := awaitReady(p, 2)
	p.signal(os.Interrupt)
	p.signal(syscall.SIGTERM) // another one: two of a kind may arrive as one
	if o := p.wait(); o.status != 137 || strings.Contains(o.stderr, "dsm: ") {
		t.Errorf("%+v", o)
	}
	awaitGone(t, pids)
}

func TestRunLeavesNothingBehind(t *testing.T) {
	u := newUser(t)
	p := u.start("run", "-n", "2", "--", memberFile, "deaf")
	pids := awaitReady(p, 2)
	p.signal(os.Kill)
	p.wait()
	awaitGone(t, pids)
	if o := u.run("status"); o.status != 1 || !strings.Contains(o.stderr, "no space is running") {
		t.Errorf("the killed launcher is remembered: %+v", o)
	}
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
