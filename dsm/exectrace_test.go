package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"runtime/trace"
	"testing"

	"pagemesh/dsm"
)

// TestWaitsAreRegionsOfExecutionTraces: go tool trace shows what a goroutine waits for.
func TestWaitsAreRegionsOfExecutionTraces(t *testing.T) {
	if trace.IsEnabled() {
		t.Skip("this test is traced itself")
	}
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 64 * pageSize})
	var b bytes.Buffer
	if err := trace.Start(&b); err != nil {
		t.Fatal(err)
	}
	for i := range 64 {
		for _, r := range regions {
			if _, err := r.Add(patient(t), int64(i*pageSize), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nodes[0].Barrier("alone", 1).Wait(patient(t)); err != nil { // which has the homes of locks placed
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := nodes[0].Barrier("b", 2).Wait(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("a wait for nobody ends with %v", err)
	}
	trace.Stop()
	for _, want := range []string{"dsm: wait for pages", "dsm: wait for a lock or barrier"} {
		if !bytes.Contains(b.Bytes(), []byte(want)) {
			t.Errorf("the trace has no %q", want)
		}
	}
}
