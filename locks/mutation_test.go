package locks

import (
	"testing"

	"pagemesh/coherence/mutation"
)

// TestMutationsApply keeps the mutations in step with the protocol.
func TestMutationsApply(t *testing.T) { mutation.Check(t) }

// TestMutations plants faults in the protocol and in what finds deadlocks: tests of deadlocks, the explorer or the
// simulator find each, or a scenario if it takes more nodes, losses and leaves than the short exploration has.
func TestMutations(t *testing.T) {
	if !long() {
		t.Skip("builds this package many times: set PAGEMESH_LONG=1")
	}
	mutation.Run(t, "Test(Random)?Deadlocks", "TestExplore", "TestSimulate", "TestScenarios")
}
