package dsm_test

import (
	"testing"

	"pagemesh/dsm"
)

// TestNewMemberIsReached: what members send to a node right after it joined must not get lost because
// they don't have its connection yet.
func TestNewMemberIsReached(t *testing.T) {
	for range 40 {
		nodes := openNodes(t, 3, dsm.Config{})
		regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096, Placement: homed(nodes[0])})
		for _, r := range regions {
			if _, err := r.Add(patient(t), 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		closeNodes(t, nodes)
	}
}
