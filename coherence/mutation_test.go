package coherence

import (
	"os"
	"testing"

	"pagemesh/coherence/mutation"
)

// TestMutationsApply keeps the mutations in step with the protocol.
func TestMutationsApply(t *testing.T) { mutation.Check(t) }

// TestMutations plants faults in the protocol; the explorer or the simulator finds each.
func TestMutations(t *testing.T) {
	if os.Getenv("PAGEMESH_LONG") == "" {
		t.Skip("builds this package many times: set PAGEMESH_LONG=1")
	}
	if raceOn || invariantsOn {
		t.Skip("it builds without the race detector and without tags, once is enough")
	}
	mutation.Run(t, "TestExploreRelease", "TestSimulateRelease", "TestExplore", "TestSimulate", "TestSimulateRaces",
		"TestShadow", "TestShadowLateDiffs", "TestShadowEpochs", "TestShadowForgets")
}
