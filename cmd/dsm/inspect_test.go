package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"pagemesh/dsm"
	findings "pagemesh/dsm/report"
)

// runWaiting starts a space of two members that have shared a page and a barrier and wait now.
func runWaiting(u *user) *process {
	u.t.Helper()
	p := u.start("run", "-n", "2", "--", memberFile, "wait")
	awaitReady(p, 2)
	return p
}

func TestInspectJSON(t *testing.T) {
	u := newUser(t)
	runWaiting(u)

	var st dsm.Status
	u.decode(&st, "status")
	if len(st.Members) != 2 || len(st.Nodes) != 2 || len(st.Regions) != 1 || st.Regions[0].Name != "sum" {
		t.Errorf("status %+v", st)
	}
	var pages []dsm.PageStats
	u.decode(&pages, "pages", "--region", "sum", "--page", "0")
	if len(pages) != 1 || pages[0].Region != "sum" || pages[0].Size != 4096 || len(pages[0].Nodes) == 0 || pages[0].Note == "" {
		t.Errorf("pages %+v", pages)
	}
	var traffic findings.Report
	u.decode(&traffic, "report")
	if traffic.WallNanos == 0 || len(traffic.Nodes) != 2 || traffic.Verdict == "" {
		t.Errorf("report %+v", traffic)
	}
	var locks []dsm.LockStatus
	u.decode(&locks, "locks")
	if len(locks) != 2 || locks[0].Name != "added" || locks[1].Name != "read" || locks[1].Parties != 2 || locks[1].Acquires != 1 {
		t.Errorf("locks %+v", locks)
	}
}

func TestInspectEmptyJSON(t *testing.T) {
	u := newUser(t)
	u.node()
	for _, what := range []string{"pages", "locks"} {
		if out := u.must(what, "-o", "json"); out != "[]\n" {
			t.Errorf("dsm %s of a new space: %q, want an empty array", what, out)
		}
	}
}

func TestInspectCSV(t *testing.T) {
	u := newUser(t)
	runWaiting(u)
	for what, want := range map[string]struct {
		columns []string // the first ones
		rows    int
	}{
		"status": {[]string{"node", "rank", "addr", "state", "read_faults"}, 2},
		"pages":  {[]string{"region", "page", "offset", "size", "home", "read_faults"}, 1},
		"locks":  {[]string{"name", "kind", "home", "holder"}, 2},
	} {
		records, err := csv.NewReader(strings.NewReader(u.must(what, "-o", "csv"))).ReadAll()
		if err != nil || len(records) != want.rows+1 {
			t.Fatalf("dsm %s: %d records, want %d: %v", what, len(records), want.rows+1, err)
		}
		if got := records[0][:len(want.columns)]; !slices.Equal(got, want.columns) {
			t.Errorf("dsm %s: columns %q, want %q", what, got, want.columns)
		}
	}
}

func TestInspectTable(t *testing.T) {
	u := newUser(t)
	runWaiting(u)
	for what, want := range map[string][]string{
		"status": {"NODE", "n1", "n2", "REGION", "sum", "4.00 KiB"},
		"pages":  {"PAGE", "sum[0]", "STALL"},
		"report": {"of the time was lost"},
		"locks":  {"NAME", "added", "read", "barrier", "0 of 2"},
	} {
		out := u.must(what)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("dsm %s: %q is not in\n%s", what, w, out)
			}
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("dsm %s: colour without a terminal:\n%q", what, out)
		}
	}
}

func TestWatch(t *testing.T) {
	u := newUser(t)
	runWaiting(u)
	p := u.start("status", "--watch=1ms", "-o", "json")
	for range 3 {
		var st dsm.Status
		if line := p.next(); json.Unmarshal([]byte(line), &st) != nil || len(st.Members) != 2 {
			t.Errorf("not a status on one line: %q", line)
		}
	}
	p.signal(os.Interrupt)
	if o := p.wait(); o.status != 0 || o.stderr != "" {
		t.Errorf("status %d: %s", o.status, o.stderr)
	}
}

func TestWatchCSVHasOneHeader(t *testing.T) {
	u := newUser(t)
	u.node()
	p := u.start("status", "-w=1ms", "-o", "csv")
	if line := p.next(); !strings.HasPrefix(line, "node,") {
		t.Errorf("first line %q", line)
	}
	for range 3 {
		if line := p.next(); !strings.HasPrefix(line, "1,") {
			t.Errorf("line %q", line)
		}
	}
}

// TestWatchEndsWithSpace: what is watched may end; that is an error, told in one line.
func TestWatchEndsWithSpace(t *testing.T) {
	u := newUser(t)
	node, _ := u.node()
	p := u.start("status", "--watch=1ms", "-o", "csv")
	p.next()
	node.signal(os.Interrupt)
	node.wait()
	if o := p.wait(); o.status != 1 || strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("%+v", o)
	}
}

func TestSeveralSpaces(t *testing.T) {
	u := newUser(t)
	_, a := u.node("--cluster", "a", "--secret-file", secretFile(t, "s"))
	_, b := u.node("--cluster", "b")
	u.node("--seed", b) // a second node is no second space
	o := u.run("status")
	if o.status != 2 || !strings.Contains(o.stderr, "2 spaces") || !strings.Contains(o.stderr, a) {
		t.Errorf("%+v", o)
	}
	var st dsm.Status
	if u.decode(&st, "status", "--node", a); st.Cluster != "a" {
		t.Errorf("--node found cluster %q", st.Cluster)
	}
	if u.decode(&st, "status", "--cluster", "b"); st.Cluster != "b" {
		t.Errorf("--cluster found cluster %q", st.Cluster)
	}
	u.env = append(u.env, "PAGEMESH_SEEDS="+b)
	if u.decode(&st, "status"); st.Cluster != "b" || len(st.Members) != 2 {
		t.Errorf("the environment's seed found cluster %q with %d members", st.Cluster, len(st.Members))
	}
}

func TestUnknownRegion(t *testing.T) {
	u := newUser(t)
	runWaiting(u)
	if o := u.run("pages", "--region", "smu"); o.status != 1 || !strings.Contains(o.stderr, "did you mean sum?") {
		t.Errorf("%+v", o)
	}
	if o := u.run("pages", "--region", "sum", "--page", "1"); o.status != 1 || !strings.Contains(o.stderr, "give one from 0 to 0") {
		t.Errorf("%+v", o)
	}
}

func TestCompletion(t *testing.T) {
	u := newUser(t)
	runWaiting(u)
	for _, tc := range []struct {
		line []string // the last word is to be completed
		want string
	}{
		{[]string{"st"}, "status\t"},
		{[]string{"bench", "run", "ping"}, "pingpong"},
		{[]string{"pages", "--region", ""}, "sum"},
		{[]string{"status", "-o", "j"}, "json"},
		{[]string{"help", "no"}, "node"},
		{[]string{"completion", "z"}, "zsh"},
	} {
		out := u.must(append([]string{"__complete"}, tc.line...)...)
		if !slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool { return strings.HasPrefix(l, tc.want) }) {
			t.Errorf("%q offers\n%s, want %q", tc.line, out, tc.want)
		}
		if strings.Contains(out, keeperName) || strings.Contains(out, workerName) {
			t.Errorf("%q offers what is not for users:\n%s", tc.line, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := u.must("completion", shell); !strings.Contains(out, "__complete") {
			t.Errorf("the script of %s does not ask for completions", shell)
		}
	}
}

func TestVersion(t *testing.T) {
	if out := newUser(t).must("version"); !strings.HasPrefix(out, "dsm ") || !strings.Contains(out, "protocol version 1") {
		t.Errorf("%q", out)
	}
}
