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

// TestBenchLosesWorker: when a worker is killed the others say so and all ends soon, with the name of the
// one that was killed.
func TestBenchLosesWorker(t *testing.T) {
	u := newUser(t)
	p := u.start("bench", "run", "pingpong", "-n", "4", "--size", strconv.Itoa(1<<40))
	var victim int
	eventually(t, "the workers are at it", func() bool {
		workers := workersOf(p.cmd.Process.Pid)
		if len(workers) < 4 || !strings.Contains(u.run("pages").stdout, "ball") {
			return false
		}
		victim = workers[3]
		return true
	})
	killed := time.Now()
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o := p.wait()
	if took := time.Since(killed); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if o.status != 137 || o.stdout != "" || !strings.HasSuffix(o.stderr, "was ended by signal 9 (killed)\n") {
		t.Errorf("%+v", o)
	}
	for _, line := range strings.Split(o.stderr, "\n") {
		if strings.Contains(line, "dsm: workload pingpong") && strings.Contains(line, "node lost") {
			return
		}
	}
	t.Errorf("no worker reports the loss:\n%s", o.stderr)
}

// workersOf returns the workers among the children of a process, in the order in which they were
// started.
func workersOf(parent int) []int {
	var workers []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		_, after, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(parent) && slices.Contains(strings.Split(string(line), "\x00"), workerName) {
			workers = append(workers, pid)
		}
	}
	slices.Sort(workers)
	return workers
}

func TestBenchCSV(t *testing.T) {
	u := newUser(t)
	out := u.must("bench", "run", "pingpong", "-n", "2", "--size", "50", "-o", "csv")
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(records) != 2 || records[0][0] != "workload" || records[1][0] != "pingpong" {
		t.Errorf("%v\n%s", err, out)
	}
}
