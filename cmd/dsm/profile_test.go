package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	pprof "github.com/google/pprof/profile"
)

func readProfile(t *testing.T, name string) *pprof.Profile {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := pprof.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// busiest returns the function that has waited longest.
func busiest(p *pprof.Profile) string {
	var most string
	wait := map[string]int64{}
	for _, s := range p.Sample {
		f := s.Location[0].Line[0].Function.Name
		if wait[f] += s.Value[2]; wait[f] > wait[most] {
			most = f
		}
	}
	return most
}

func TestProfileOfABench(t *testing.T) {
	u := newUser(t)
	file := filepath.Join(t.TempDir(), "out.pprof")
	for _, access := range []string{"embedded", "mapped"} {
		u.must("bench", "run", "thrash", "-n", "2", "--size", "500", "--access", access, "--profile", file)
		f := busiest(readProfile(t, file))
		if strings.HasPrefix(f, "racecall") || strings.HasPrefix(f, "__tsan") {
			continue // the race detector makes atomic accesses in C, on a stack of its own
		}
		if !strings.HasPrefix(f, "pagemesh/bench.(*Rank).addTogether") {
			t.Errorf("%s: %s waits longest", access, f)
		}
	}
}

func TestProfileOfASpace(t *testing.T) {
	u := newUser(t)
	runWaiting(u)
	file := filepath.Join(t.TempDir(), "out.pprof")
	if o := u.run("profile", "--held", "--write", file); o.status != 0 || !strings.Contains(o.stderr, "go tool pprof -top "+file) {
		t.Fatalf("%+v", o)
	}
	if p := readProfile(t, file); len(p.Sample) == 0 || !p.Sample[0].HasLabel("region", "sum") {
		t.Errorf("%v, want waits for region sum", p)
	}
	if o := u.run("profile", "--held", "--write", filepath.Join(file, "nowhere")); o.status != 1 || !strings.Contains(o.stderr, "nowhere") {
		t.Errorf("%+v", o)
	}
}
