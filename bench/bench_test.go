package bench

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"pagemesh/bench/ipc"
	"pagemesh/dsm"
)

// openSpaces opens a space of that many nodes, all in this process.
func openSpaces(t *testing.T, ranks int) (context.Context, []*dsm.Space) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	var spaces []*dsm.Space
	var seeds []string
	for rank := range ranks {
		s, err := dsm.Open(ctx, dsm.Config{Cluster: t.Name(), Seeds: seeds, Rank: rank})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		spaces = append(spaces, s)
		seeds = []string{spaces[0].Addr()}
	}
	return ctx, spaces
}

// eachRank calls f for all spaces at once.
func eachRank(spaces []*dsm.Space, f func(s *dsm.Space)) {
	var wg sync.WaitGroup
	for _, s := range spaces {
		wg.Go(func() { f(s) })
	}
	wg.Wait()
}

// runAll runs specs on a space of that many nodes, all in this process, and returns what rank 0 emits.
func runAll(t *testing.T, ranks int, specs ...Spec) []Result {
	t.Helper()
	ctx, spaces := openSpaces(t, ranks)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var results []Result
	eachRank(spaces, func(s *dsm.Space) {
		j := Job{Space: s, Ranks: ranks, Specs: specs, Untimed: true, Emit: func(r Result) { results = append(results, r) }}
		if err := j.Run(ctx); err != nil {
			t.Error(err)
			cancel()
		}
	})
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

func TestMicro(t *testing.T) {
	specs := []Spec{
		{Workload: "limit", Size: 10}, {Workload: "latency", Size: 64}, {Workload: "bandwidth", Size: 1},
		{Workload: "lock", Size: 80}, {Workload: "barrier", Size: 10}, {Workload: "falseshare", Size: 10},
		{Workload: "thrash", Size: 10}, {Workload: "gups", Size: 100}, {Workload: "ipc", Size: 20},
	}
	metrics := map[string]string{
		"limit": "raw_echo raw_bandwidth", "latency": "raw_echo local_hit clean_read dirty_read write_miss upgrade " +
			"clean_read_busy_home dirty_read_busy_home write_miss_busy_home upgrade_busy_home",
		"bandwidth": "raw_bandwidth stream_read", "lock": "lock_cached lock_handoff", "barrier": "barrier", "gups": "update",
		"ipc": "64B/dsm_words 4KiB/dsm_sequential 1MiB/dsm_release 1MiB/tcp 4KiB/file 64B/rest 1MiB/rpc " +
			"counter/dsm_sequential counter/dsm_release counter/rest counter/file",
	}
	for _, ranks := range []int{2, 3} {
		for _, r := range runAll(t, ranks, specs...) {
			if !r.Verified {
				t.Errorf("%s: %s", r.Workload, r.Detail)
			}
			for _, name := range strings.Fields(metrics[r.Workload]) {
				if m := r.Metrics[name]; m.MedianNs <= 0 && m.MiBPerS <= 0 {
					t.Errorf("%s with %d ranks measured no %s", r.Workload, ranks, name)
				}
			}
		}
	}
}

// TestReleaseConsistency runs workloads of each sharing pattern in release regions.
func TestReleaseConsistency(t *testing.T) {
	specs := []Spec{
		{Workload: "sor", Size: 128}, {Workload: "cg"}, {Workload: "water", Size: 216}, {Workload: "quicksort", Size: 1 << 16},
		{Workload: "radix", Size: 1 << 16}, {Workload: "ycsb-a", Size: 300}, {Workload: "ycsb-d", Size: 300},
		{Workload: "bfs", Size: 10}, {Workload: "gups", Size: 500}, {Workload: "pingpong", Size: 50},
		{Workload: "falseshare", Size: 200},
	}
	for i := range specs {
		specs[i].Consistency = "release"
	}
	for _, r := range runAll(t, 2, specs...) {
		if !r.Verified || r.Consistency != "release" {
			t.Errorf("%s in %s regions: %s", r.Workload, r.Consistency, r.Detail)
		}
	}
	if err := (Spec{Workload: "sor", Consistency: "weak"}).Check(2); err == nil {
		t.Error("consistency weak is taken")
	}
}

// crooked is a link that changes the last item that it brings.
type crooked struct{ ipc.Link }

func (crooked) Serve(n int, item []byte, f func(item []byte)) error {
	for i := range n {
		item[0], item[len(item)-1] = byte(i), byte(i)
		if i == n-1 {
			item[0]++
		}
		f(item)
	}
	return nil
}

func TestDamagedItemsAreCounted(t *testing.T) {
	var c comparison
	c.serve(ipc.Kind{}, crooked{}, make([]byte, 64), 5)
	if c.wrong != 1 {
		t.Errorf("%d items are wrong, want 1", c.wrong)
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

func TestSpecsTakeWhatConcernsThem(t *testing.T) {
	for _, c := range []struct {
		names []string
		like  Spec
		want  string // part of the error
	}{
		{[]string{"pingpong"}, Spec{Size: 5, PageSize: 256}, ""},
		{[]string{"pingpong"}, Spec{Class: "S"}, "leave out class"},
		{[]string{"pingpong", "pingpong"}, Spec{Class: "S"}, "leave out class"},
		{[]string{"pingpong"}, Spec{Input: "."}, "reads no input"},
		{[]string{"pingpong"}, Spec{Size: -1}, "above 0"},
		{[]string{"pingpong"}, Spec{PageSize: 300}, "power of two"},
		{[]string{"pingpong"}, Spec{Placement: "near"}, "hashed, blocked"},
		{[]string{"ping"}, Spec{}, "dsm bench list"},
	} {
		specs, err := Specs(c.names, c.like, 2)
		switch {
		case c.want == "" && (err != nil || len(specs) != len(c.names)):
			t.Errorf("Specs(%v, %+v) = %v, %v", c.names, c.like, specs, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("Specs(%v, %+v): error %v, want %q in it", c.names, c.like, err, c.want)
		}
	}
}
