package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func TestNodeSaysWhereItIs(t *testing.T) {
	u := newUser(t)
	p := u.start("node", "--cluster", "c")
	line := p.next()
	if !regexp.MustCompile(`^node n1 of cluster c is at 127\.0\.0\.1:\d+$`).MatchString(line) {
		t.Errorf("ready line %q", line)
	}
	p.signal(syscall.SIGTERM)
	if o := p.wait(); o.status != 0 || o.stdout != "" || !strings.Contains(o.stderr, "the last node ends") {
		t.Errorf("%+v", o)
	}
}

func TestNodeShowsItselfByHTTP(t *testing.T) {
	u := newUser(t)
	p := u.start("node", "--cluster", "c", "--http", "127.0.0.1:0")
	p.next()
	var url string
	for deadline := time.Now().Add(patience); url == ""; time.Sleep(time.Millisecond) {
		_, rest, _ := strings.Cut(p.stderr.String(), "look at this space at ")
		if line, _, whole := strings.Cut(rest, "\n"); whole {
			url = line
		} else if time.Now().After(deadline) {
			t.Fatalf("it says %q", p.stderr)
		}
	}
	r, err := http.Get(url + "status")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var st dsm.Status
	if err := json.NewDecoder(r.Body).Decode(&st); err != nil || st.Cluster != "c" {
		t.Errorf("status %+v, %v", st, err)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

// join makes this test a member of the space of the node at addr.
func join(t *testing.T, addr string) *dsm.Space {
	t.Helper()
	s, err := dsm.Open(t.Context(), dsm.Config{Cluster: "c", Seeds: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// region creates a region of which every page is homed at the first node.
func region(t *testing.T, s *dsm.Space, size uint64) *dsm.Region {
	t.Helper()
	r, err := s.Region(t.Context(), "data", dsm.RegionOptions{Size: size, Placement: dsm.Placement{Nodes: []pagetable.NodeID{1}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNodeLeavesWithoutLoss(t *testing.T) {
	u := newUser(t)
	p, addr := u.node("--cluster", "c")
	s := join(t, addr)
	r := region(t, s, 1<<20)
	want := bytes.Repeat([]byte("pagemesh"), 1<<17)
	if _, err := r.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGINT)
	if o := p.wait(); o.status != 0 || !strings.Contains(o.stderr, "nothing is lost") {
		t.Errorf("%+v", o)
	}
	got := make([]byte, len(want))
	if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what the node was home of is not what was written: %v", err)
	}
}

// TestSecondSignalEndsAtOnce: the node can't leave while a page that it is home of is held elsewhere.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	u := newUser(t)
	p, addr := u.node("--cluster", "c")
	s := join(t, addr)
	v, err := region(t, s, 4096).View(t.Context(), 0, 8, pagetable.WriteAccess)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	p.signal(syscall.SIGTERM)
	eventually(t, "the node says that it leaves", func() bool { return strings.Contains(p.stderr.String(), "dsm: leaving") })
	p.signal(syscall.SIGTERM)
	if o := p.wait(); o.status != 1 || !strings.Contains(o.stderr, "ended by a signal") {
		t.Errorf("%+v", o)
	}
}

func TestNodeWaitsForMembers(t *testing.T) {
	u := newUser(t)
	first, addr := u.node("--cluster", "c")
	defer first.signal(syscall.SIGTERM)
	second := u.start("node", "--seed", addr, "--members", "3")
	third := u.start("node", "--seed", addr, "--members", "3")
	second.next()
	third.next()
	var st dsm.Status
	u.decode(&st, "status")
	if len(st.Members) != 3 || st.Cluster != "c" {
		t.Errorf("%d members of %q, want 3 of c, whose name was found", len(st.Members), st.Cluster)
	}
	second.signal(syscall.SIGTERM)
	third.signal(syscall.SIGTERM)
	second.wait()
	third.wait()
	u.decode(&st, "status")
	if len(st.Members) != 1 {
		t.Errorf("%d members are left, want 1", len(st.Members))
	}
}

func TestSignalWhileJoining(t *testing.T) {
	u := newUser(t)
	p := u.start("node", "--seed", "127.0.0.1:1", "--join-timeout", "10m")
	p.signal(syscall.SIGTERM) // ends it, whether it comes before the handler is there or after
	if o := p.wait(); o.status == 0 || strings.Count(o.stderr, "\n") > 1 {
		t.Errorf("%+v", o)
	}
}

// TestNodeJoinsRun: a node finds the name and secret of a space that dsm run has made up, helps it, and
// leaves.
func TestNodeJoinsRun(t *testing.T) {
	u := newUser(t)
	run := u.start("run", "-n", "2", "--", memberFile, "wait")
	awaitReady(run, 2)
	var st dsm.Status
	u.decode(&st, "status")
	node, _ := u.node("--seed", st.Addr)
	u.decode(&st, "status")
	if len(st.Members) != 3 {
		t.Errorf("%d members, want 3", len(st.Members))
	}
	node.signal(syscall.SIGTERM)
	if o := node.wait(); o.status != 0 {
		t.Errorf("%+v", o)
	}
	run.signal(syscall.SIGINT)
	if o := run.wait(); o.status != 0 {
		t.Errorf("%+v", o)
	}
}

// TestNodeServesPrograms: a program attaches by hand, and does not outlive its node.
func TestNodeServesPrograms(t *testing.T) {
	if err := dsm.CanMap(); err != nil {
		t.Skip(err)
	}
	u := newUser(t)
	socket := filepath.Join(t.TempDir(), "node")
	node, _ := u.node("--socket", socket)
	var st dsm.Status
	if u.decode(&st, "status"); st.Access != "mapped" || !strings.HasSuffix(st.Traps, " mode") {
		t.Errorf("access %q, traps %q", st.Access, st.Traps)
	}
	u.env = append(u.env, dsm.EnvAttach+"="+socket)
	attach := func(task string) *process {
		cmd := exec.Command(memberFile, task)
		cmd.Env = u.env
		return u.follow(cmd)
	}
	if o := attach("sum").wait(); o.status != 0 || o.stdout != "sum 1 of 1 members\n" {
		t.Errorf("%+v", o)
	}
	deaf := attach("deaf")
	deaf.next()
	node.signal(os.Kill)
	if o := deaf.wait(); o.status != -1 {
		t.Errorf("the program has not been killed: %+v", o)
	}
}

// TestProgramEndsWithItsNode: the only processor of a program waits within copy for a page of a node that has
// been stopped, so that none of its goroutines runs when its own node is killed. It is told and killed all
// the same, and has not seen a byte that nobody wrote.
func TestProgramEndsWithItsNode(t *testing.T) {
	if err := dsm.CanMap(); err != nil {
		t.Skip(err)
	}
	u := newUser(t)
	attach := func(socket, task string) *process {
		cmd := exec.Command(memberFile, task)
		cmd.Env = append(u.env, dsm.EnvAttach+"="+socket, "GOMAXPROCS=1")
		return u.follow(cmd)
	}
	sockets := [2]string{filepath.Join(u.tmp, "first"), filepath.Join(u.tmp, "second")}
	first, addr := u.node("--socket", sockets[0])
	defer first.signal(syscall.SIGCONT)
	second, _ := u.node("--seed", addr, "--socket", sockets[1])
	attach(sockets[0], "fill").next()
	checks := attach(sockets[1], "check")
	checks.next()

	first.signal(syscall.SIGSTOP)
	checks.stdin.Close()
	eventually(t, "the program waits for a page", func() bool { return waitsForPage(checks.cmd.Process.Pid) })
	second.signal(os.Kill)
	killed := time.Now()
	o := checks.wait()
	t.Logf("it ended after %v", time.Since(killed))
	if o.stdout != "" || o.status == 0 || !strings.HasSuffix(o.stderr, orphaned) {
		t.Errorf("%+v", o)
	}
}

// waitsForPage reports whether a thread of a process waits for a page.
func waitsForPage(pid int) bool {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
	return slices.ContainsFunc(names, func(name string) bool {
		where, _ := os.ReadFile(name)
		return string(where) == "handle_userfault"
	})
}

// awaitReady reads until that many members have said that they are ready, and returns their process ids.
func awaitReady(p *process, members int) []int {
	p.t.Helper()
	var pids []int
	for len(pids) < members {
		var rank, pid int
		if n, _ := fmt.Sscanf(p.next(), "[%d] ready %d", &rank, &pid); n == 2 {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestUntilSignal(t *testing.T) {
	ctx, stop := untilSignal(context.Background(), nil)
	stop()
	if <-ctx.Done(); context.Cause(ctx) != context.Canceled {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}
