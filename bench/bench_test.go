package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	"pagemesh/dsm"
)

// runAll runs specs on a space of that many nodes, all in this process, and returns what rank 0 emits.
func runAll(t *testing.T, ranks int, specs ...Spec) []Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	founder, err := dsm.Open(ctx, dsm.Config{Cluster: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer founder.Close()
	spaces := []*dsm.Space{founder}
	for rank := 1; rank < ranks; rank++ {
		s, err := dsm.Open(ctx, dsm.Config{Cluster: t.Name(), Seeds: []string{founder.Addr()}, Rank: rank})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		spaces = append(spaces, s)
	}
	var results []Result
	var wg sync.WaitGroup
	for _, s := range spaces {
		wg.Go(func() {
			if err := Run(ctx, s, ranks, specs, func(r Result) { results = append(results, r) }); err != nil {
				t.Error(err)
				cancel()
			}
		})
	}
	wg.Wait()
	return results
}

func TestPingpong(t *testing.T) {
	for _, r := range runAll(t, 2, Spec{Workload: "pingpong", Size: 100}) {
		if !r.Verified {
			t.Error(r.Detail)
		}
		if r.WriteFaults == 0 || r.Messages == 0 {
			t.Errorf("%d write faults and %d messages were counted, want some of both", r.WriteFaults, r.Messages)
		}
	}
}

func TestVerifyNeedsAllToBeRight(t *testing.T) {
	var r Rank
	r.Verify(true, "first")
	r.Verify(false, "second")
	r.Verify(true, "third")
	if r.Result.Verified || r.Result.Detail != "second" {
		t.Errorf("verified %v, %q; want the failure of the second", r.Result.Verified, r.Result.Detail)
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for _, spec := range []Spec{
		{Workload: "nothing"}, {Workload: "pingpong", Class: "S"}, {Workload: "pingpong"},
	} {
		if err := spec.Check(1); err == nil {
			t.Errorf("%+v is accepted for one rank", spec)
		}
	}
}
