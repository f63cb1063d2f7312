package bench

import (
	"fmt"
	"testing"
)

// small are runs of all kernels that take a moment.
var small = []Spec{
	{Workload: "ep", Class: "S"},
	{Workload: "is", Class: "S"},
	{Workload: "cg", Class: "S"},
	{Workload: "sor", Size: 96},
	{Workload: "matmul", Size: 100},
}

func TestKernelsAreRight(t *testing.T) {
	for ranks := 1; ranks <= 3; ranks++ {
		t.Run(fmt.Sprintf("ranks=%d", ranks), func(t *testing.T) {
			results := runAll(t, ranks, small...)
			if len(results) != len(small) {
				t.Errorf("%d results of %d runs", len(results), len(small))
			}
			for _, r := range results {
				t.Logf("%-10s %6.3f s, sequential %6.3f s, %d read faults, %d write faults: %s",
					r.Workload, r.Seconds, r.SequentialSeconds, r.ReadFaults, r.WriteFaults, r.Detail)
				if !r.Verified {
					t.Errorf("%s: %s", r.Workload, r.Detail)
				}
				if ranks > 1 && r.ReadFaults+r.WriteFaults == 0 {
					t.Errorf("%s: no rank needed a page of another", r.Workload)
				}
			}
		})
	}
}
