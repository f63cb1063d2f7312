package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pagemesh/dsm"
)

// decodeEvents reads what dsm trace -o json has written.
func decodeEvents(t *testing.T, out string) (list []tracedEvent) {
	t.Helper()
	for line := range strings.Lines(out) {
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var e tracedEvent
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		list = append(list, e)
	}
	return list
}

// TestTraceHeld: what two members have done can be seen when they wait, and in a file, and as a picture.
func TestTraceHeld(t *testing.T) {
	u := newUser(t)
	runWaiting(u)
	out := u.must("trace", "--held", "-o", "json")
	events := decodeEvents(t, out)
	seen := map[string]int{}
	for _, e := range events {
		seen[e.Kind]++
		switch e.Kind {
		case "served":
			if e.Region != "sum" || *e.Page != 0 || e.Access == "" || *e.Wait <= 0 {
				t.Errorf("%+v", e)
			}
		case "barrier":
			if !strings.HasPrefix(e.Lock, "barrier ") || *e.Wait <= 0 {
				t.Errorf("%+v", e)
			}
		}
	}
	if seen["served"] == 0 || seen["fault"] < seen["served"] || seen["barrier"] == 0 || seen["lost"] > 0 {
		t.Errorf("seen %v", seen)
	}
	if !slices.IsSortedFunc(events, func(a, b tracedEvent) int { return int(a.Time - b.Time) }) {
		t.Error("they are not in the order of their times")
	}

	file, picture := filepath.Join(t.TempDir(), "a.trace"), filepath.Join(t.TempDir(), "a.json")
	if o := u.run("trace", "--held", "--write", file, "--chrome", picture); o.status != 0 || o.stdout != "" ||
		!strings.Contains(o.stderr, fmt.Sprintf("%d events of 2 nodes written to", len(events))) {
		t.Errorf("%+v", o)
	}
	if again := u.must("trace", "--read", file, "-o", "json"); again != out {
		t.Errorf("the file holds\n%s, the nodes\n%s", again, out)
	}
	for _, e := range decodeEvents(t, u.must("trace", "--read", file, "--kind", "served,barrier", "--node", "n2", "-o", "json")) {
		if e.Node != 2 || e.Kind != "served" && e.Kind != "barrier" {
			t.Errorf("not asked for: %+v", e)
		}
	}
	checkPicture(t, picture)
}

// checkPicture checks that a file can be drawn: two nodes, waits, and arrows with two ends.
func checkPicture(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var picture struct {
		TraceEvents []struct {
			Name, Ph string
			Pid, ID  int
		}
	}
	if err := json.Unmarshal(b, &picture); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	nodes, arrows, waits := map[int]bool{}, map[int]string{}, 0
	for _, e := range picture.TraceEvents {
		nodes[e.Pid] = true
		switch {
		case e.Ph == "s" || e.Ph == "f":
			arrows[e.ID] += e.Ph
		case e.Ph == "X" && (strings.HasPrefix(e.Name, "write sum") || strings.HasPrefix(e.Name, "read sum")):
			waits++
		}
	}
	if len(nodes) != 2 || waits == 0 || len(arrows) == 0 {
		t.Errorf("%d nodes, %d waits, %d arrows", len(nodes), waits, len(arrows))
	}
	for id, ends := range arrows {
		if len(ends) != 2 {
			t.Errorf("arrow %d has the ends %q", id, ends)
		}
	}
}

// TestTraceFollows joins a space that is being traced and writes a page to and fro until the trace tells.
func TestTraceFollows(t *testing.T) {
	u := newUser(t)
	node, addr := u.node("--cluster", "c")
	p := u.start("trace", "--node", addr, "--node", "n2", "--region", "data", "--kind", "served", "-o", "json")
	table := u.start("trace", "--kind", "invalidate")
	r := region(t, join(t, addr), 4096)
	other := region(t, join(t, addr), 4096)
	var told, drawn string
	eventually(t, "the traces tell", func() bool {
		for _, at := range []*dsm.Region{r, other} {
			if err := at.Store(t.Context(), 8, 1); err != nil {
				t.Fatal(err)
			}
		}
		for _, w := range []struct {
			p  *process
			to *string
		}{{p, &told}, {table, &drawn}} {
			select {
			case line := <-w.p.lines:
				if strings.Contains(line, "trace_test.go") {
					*w.to = line
				}
			default:
			}
		}
		return told != "" && drawn != ""
	})
	e := decodeEvents(t, told)[0]
	if e.Node != 2 || e.Kind != "served" || e.Region != "data" || e.Access != "write" || e.Length != 8 || *e.Offset != 8 ||
		!strings.HasSuffix(e.Function, "TestTraceFollows.func1") {
		t.Errorf("%s", told)
	}
	if !strings.Contains(drawn, " data[0] ") || !strings.Contains(drawn, "could write, ") || !strings.Contains(drawn, "'s write at trace_test.go:") {
		t.Errorf("%s", drawn)
	}
	p.signal(os.Interrupt)
	if o := p.wait(); o.status != 0 {
		t.Errorf("when it is interrupted: %+v", o)
	}
	node.signal(os.Interrupt)
	node.wait()
	if o := table.wait(); o.status != 0 || !strings.Contains(o.stderr, "the trace ends with its node") {
		t.Errorf("when its node ends: %d, %s", o.status, o.stderr)
	}
}

func TestTraceEnds(t *testing.T) {
	u := newUser(t)
	u.node()
	if o := u.run("trace", "--for", "1ms", "--region", "x"); o.status != 0 || o.stdout != "" || !strings.Contains(o.stderr, `no region "x"`) {
		t.Errorf("%+v", o)
	}
}
