package profile_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	pprof "github.com/google/pprof/profile"

	"pagemesh/dsm"
	"pagemesh/dsm/profile"
	"pagemesh/pagetable"
)

type worker struct{ hits, _ uint64 }

// contend has two nodes write one value in turn, and returns the first of them.
func contend(t *testing.T, rounds int) (s *dsm.Space, turn func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	var spaces []*dsm.Space
	cfg := dsm.Config{Cluster: t.Name()}
	for range 2 {
		s, err := dsm.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		spaces, cfg.Seeds = append(spaces, s), []string{s.Addr()}
	}
	var views []func(i uint64)
	for _, s := range spaces {
		r, err := s.Region(ctx, "workers", dsm.RegionOptions{Size: 4096})
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, func(i uint64) { bump(ctx, t, r, i) })
	}
	return spaces[0], func() {
		for i := range uint64(rounds) {
			views[i%2](i)
		}
	}
}

// bump is what the profile has to name.
func bump(ctx context.Context, t *testing.T, r *dsm.Region, i uint64) {
	v, err := dsm.ViewOf[worker](ctx, r, 17, 1, pagetable.WriteAccess)
	if err != nil {
		t.Fatal(err)
	}
	v.Slice()[0].hits = i
	v.Release()
}

func TestProfileOfWhatIsRemembered(t *testing.T) {
	s, turn := contend(t, 100)
	turn()
	p, err := profile.Collect(t.Context(), s, "workers", 0)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	if p, err = pprof.ParseData(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	var faults, wait int64
	for _, x := range p.Sample {
		faults, wait = faults+x.Value[0], wait+x.Value[2]
		at := x.Location[0].Line[0]
		if !strings.HasSuffix(at.Function.Name, "profile_test.bump") || !strings.HasSuffix(at.Function.Filename, "profile_test.go") || at.Line == 0 {
			t.Errorf("a sample at %s in %s:%d", at.Function.Name, at.Function.Filename, at.Line)
		}
		for label, want := range map[string]string{
			"region": "workers", "page": "workers[0]", "access": "write", "field": "[]worker[17].hits",
		} {
			if got := x.Label[label]; !slices.Equal(got, []string{want}) {
				t.Errorf("label %s is %q, want %q", label, got, want)
			}
		}
		if x.Label["class"] == nil {
			t.Errorf("no class: %v", x.Label)
		}
	}
	// The first write waits for nobody if it is the home's.
	if faults < 99 || faults > 100 || wait <= 0 || len(p.Sample) != 2 {
		t.Errorf("%d faults waited %d ns in %d samples, want 99 or 100 in one for each node", faults, wait, len(p.Sample))
	}
}

// TestProfileFromNowOn: what was before is not in it, and that its context ends is no error.
func TestProfileFromNowOn(t *testing.T) {
	s, turn := contend(t, 10)
	turn()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := profile.Collect(ctx, s, "", time.Hour)
	if err != nil || len(p.Sample) != 0 {
		t.Errorf("%d samples, %v; want none", len(p.Sample), err)
	}
	_ = s.Close()
	if _, err := profile.Collect(t.Context(), s, "", time.Hour); err == nil {
		t.Error("a profile of a closed space")
	}
}
