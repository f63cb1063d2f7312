package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pagemesh/bench"
)

func TestBenchList(t *testing.T) {
	u := newUser(t)
	var list []workload
	u.decode(&list, "bench", "list")
	if len(list) != len(bench.List()) {
		t.Errorf("%d workloads, want %d", len(list), len(bench.List()))
	}
	table := u.must("bench", "list")
	for _, w := range list {
		if w.Name == "" || w.Purpose == "" || w.Sharing == "" || w.MinNodes < 1 {
			t.Errorf("incomplete: %+v", w)
		}
		if !strings.Contains(table, w.Name) {
			t.Errorf("the table lacks %s", w.Name)
		}
	}
}

// TestBenchRun: the command line reaches every rank, and what rank 0 finds comes out.
func TestBenchRun(t *testing.T) {
	u := newUser(t)
	args := []string{"bench", "run", "pingpong", "ep", "-n", "2", "--size", "50", "--class", "s", "--count", "2"}
	var results []bench.Result
	u.decode(&results, args...)
	var got []string
	for _, r := range results {
		got = append(got, fmt.Sprintf("%s size=%v class=%v nodes=%d %v", r.Workload, r.Params["size"], r.Params["class"], r.Nodes, r.Verified))
	}
	once := []string{"pingpong size=50 class=<nil> nodes=2 true", "ep size=<nil> class=S nodes=2 true"}
	if want := slices.Repeat(once, 2); !slices.Equal(got, want) {
		t.Errorf("results\n%q\nwant\n%q", got, want)
	}
}

// TestBenchLosesNode: when a node is killed the others say so and all ends soon, with the name of the one
// that was killed.
func TestBenchLosesNode(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		t.Parallel() // the others have some time to report the loss
		u := newUser(t)
		p := u.start("bench", "run", "pingpong", "-n", "4", access, "--size", strconv.Itoa(1<<40))
		eventually(t, "the workers are at it", func() bool { return strings.Contains(u.run("pages").stdout, "ball") })
		all := descendants(p.cmd.Process.Pid)
		killed := time.Now()
		killOne(t, children(p.cmd.Process.Pid), workerName)
		o := p.wait()
		if took := time.Since(killed); took > 10*time.Second {
			t.Errorf("it took %v to end", took)
		}
		if o.status != 137 || o.stdout != "" || !strings.HasSuffix(o.stderr, "was ended by signal 9 (killed)\n") {
			t.Errorf("%+v", o)
		}
		reported := slices.ContainsFunc(strings.Split(o.stderr, "\n"), func(l string) bool {
			return strings.Contains(l, "dsm: workload pingpong") && strings.Contains(l, "node lost")
		})
		if !reported {
			t.Errorf("no worker reports the loss:\n%s", o.stderr)
		}
		awaitGone(t, all)
	})
}

// TestBenchWorkerLeaves: a worker that gets SIGTERM while words are counted leaves, and every count is
// right. It takes the time of a whole count, since the signal must come in the middle.
func TestBenchWorkerLeaves(t *testing.T) {
	if os.Getenv("PAGEMESH_LONG") == "" {
		t.Skip("counts the words of the Go source: set PAGEMESH_LONG=1")
	}
	eachAccess(t, func(t *testing.T, access string) {
		u := newUser(t)
		p := u.start("bench", "run", "wordcount", "-n", "4", access, "-o", "json")
		eventually(t, "the workers are at it", func() bool { return strings.Contains(u.run("pages").stdout, "stripes") })
		workers := slices.DeleteFunc(descendants(p.cmd.Process.Pid), func(pid int) bool {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			words := strings.Split(string(line), "\x00")
			return len(words) < 3 || words[2] != workerName
		})
		if len(workers) != 4 {
			t.Fatalf("workers are %v, want 4", workers)
		}
		if err := syscall.Kill(workers[3], syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if o := p.wait(); o.status != 0 || !strings.Contains(o.stdout, `"verified": true`) {
			t.Errorf("%+v", o)
		}
	})
}

// TestBenchSuite: a suite stands for its workloads, and options that concern all reach the ranks.
func TestBenchSuite(t *testing.T) {
	u := newUser(t)
	var results []bench.Result
	u.decode(&results, "bench", "run", "pingpong", "--suite", "splash", "-n", "2", "--size", "64", "--placement", "blocked")
	names := []string{"pingpong"}
	for _, w := range bench.List() {
		if w.Suite == "splash" {
			names = append(names, w.Name)
		}
	}
	var got []string
	for _, r := range results {
		got = append(got, r.Workload)
		if r.Params["placement"] != "blocked" || !r.Verified {
			t.Errorf("%s: placement %v, %s", r.Workload, r.Params["placement"], r.Detail)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("ran %v, want %v", got, names)
	}
}

func TestBenchCSV(t *testing.T) {
	u := newUser(t)
	out := u.must("bench", "run", "pingpong", "-n", "2", "--size", "50", "-o", "csv")
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(records) != 2 || records[0][0] != "workload" || records[1][0] != "pingpong" {
		t.Errorf("%v\n%s", err, out)
	}
}
