package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pagemesh/dsm"
)

// Ranks of attached tests are this test binary, started again: with ranksEnv set it runs the specs of
// specsEnv on the node that its environment names and prints the results.
const (
	ranksEnv = "PAGEMESH_TEST_RANKS"
	specsEnv = "PAGEMESH_TEST_SPECS"
	leaveEnv = "PAGEMESH_TEST_LEAVE" // not empty: this rank is asked to leave
)

func TestMain(m *testing.M) {
	if ranks := os.Getenv(ranksEnv); ranks != "" {
		if err := runAttachedRank(ranks); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runAttachedRank(n string) error {
	ranks, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	var specs []Spec
	if err := json.Unmarshal([]byte(os.Getenv(specsEnv)), &specs); err != nil {
		return err
	}
	cfg, err := dsm.ConfigFromEnv()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := dsm.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	out := json.NewEncoder(os.Stdout)
	j := Job{Space: s, Ranks: ranks, Specs: specs, Emit: func(r Result) { _ = out.Encode(r) }}
	if os.Getenv(leaveEnv) != "" {
		go leaveSoon(ctx, &j)
	}
	return j.Run(ctx)
}

// runAttached runs specs on programs that are attached to nodes in this process, and returns what rank 0
// emits.
func runAttached(t *testing.T, ranks int, specs ...Spec) []Result {
	t.Helper()
	return runLeaving(t, ranks, 0, specs...)
}

// runLeaving does so, with the last of the ranks asked to leave.
func runLeaving(t *testing.T, ranks, leaving int, specs ...Spec) []Result {
	t.Helper()
	asked, err := json.Marshal(specs)
	if err != nil {
		t.Fatal(err)
	}
	var seeds []string
	var cmds []*exec.Cmd
	for rank := range ranks {
		socket := filepath.Join(t.TempDir(), "node")
		s, err := dsm.Open(t.Context(), dsm.Config{Cluster: t.Name(), Seeds: seeds, Rank: rank, Serve: socket})
		if err != nil {
			t.Skip("nodes can't serve programs here:", err)
		}
		defer s.Close()
		seeds = []string{s.Addr()}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", ranksEnv, ranks), specsEnv+"="+string(asked), dsm.EnvAttach+"="+socket)
		if rank >= ranks-leaving {
			cmd.Env = append(cmd.Env, leaveEnv+"=1")
		}
		cmd.Stderr = os.Stderr
		cmds = append(cmds, cmd)
	}
	outputs, err := cmds[0].StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range cmds {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	var results []Result
	for dec := json.NewDecoder(outputs); ; {
		var r Result
		if dec.Decode(&r) != nil {
			break // at the latest when rank 0 ends
		}
		results = append(results, r)
	}
	for rank, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	return results
}

func TestKernelsOnMappedMemory(t *testing.T) {
	specs, err := Specs([]string{
		"ep", "is", "cg", "mg", "ft", "sor", "jacobi", "lu", "matmul", "tsp", "pagerank", "bfs", "btree",
	}, Spec{Class: "S"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	specs = append(specs, Spec{Workload: "ycsb-e", Size: 20})
	results := runAttached(t, 3, specs...)
	if len(results) != len(specs) {
		t.Fatalf("%d results for %d specs", len(results), len(specs))
	}
	for _, r := range results {
		if !r.Verified || r.Access != "mapped" {
			t.Errorf("%s, %s: %s", r.Workload, r.Access, r.Detail)
		}
		t.Logf("%-8s %8.3f s, sequential %8.3f s, %6d read and %6d write faults, %8d bytes", r.Workload, r.Seconds, r.SequentialSeconds,
			r.ReadFaults, r.WriteFaults, r.BytesMoved)
	}
}

func TestAttachedRankLeaves(t *testing.T) {
	for _, r := range runLeaving(t, 4, 2, Spec{Workload: "wordcount", Input: writeText(t)}) {
		if !r.Verified || r.Access != "mapped" {
			t.Errorf("%s, %s: %s", r.Workload, r.Access, r.Detail)
		}
	}
}
