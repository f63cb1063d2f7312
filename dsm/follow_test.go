package dsm_test

import (
	"testing"

	"pagemesh/dsm"
)

// TestChangesComeUnasked: nodes that use a page again and again fetch it once; what others write comes to them. There
// are two, so that nobody else can bring a notice sooner than its change.
func TestChangesComeUnasked(t *testing.T) {
	const count, rounds = 2, 30
	nodes := openNodes(t, count, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[0]))
	var fetched [count]uint64
	each(nodes, func(i int, s *dsm.Space) {
		for round := range rounds {
			put(t, regions[i], int64(i), byte(round))
			meet(t, s, "written", count)
			for other := range count {
				if b := get(t, regions[i], int64(other)); b != byte(round) {
					t.Errorf("node %d, round %d: byte %d is %d", i, round, other, b)
				}
			}
			meet(t, s, "read", count)
			if round == rounds/2 {
				c := pageCounts(t, s)
				fetched[i] = c.ReadFaults + c.WriteFaults
			}
		}
	})
	for i, s := range nodes {
		if c := pageCounts(t, s); c.ReadFaults+c.WriteFaults != fetched[i] {
			t.Errorf("node %d fetched its only page %d times, %d of them in the first half", i, c.ReadFaults+c.WriteFaults, fetched[i])
		}
	}
}

// TestChangesThatNobodyUses: who has read a page once is not told for ever what others write.
func TestChangesThatNobodyUses(t *testing.T) {
	const rounds = 40
	nodes := openNodes(t, 2, dsm.Config{})
	regions := releaseRegions(t, nodes, 256, homed(nodes[0]))
	get(t, regions[1], 0)
	before := pageCounts(t, nodes[1]).BytesIn
	each(nodes, func(i int, s *dsm.Space) {
		for round := range rounds {
			if i == 0 {
				put(t, regions[0], 0, byte(round))
			}
			meet(t, s, "round", 2)
		}
	})
	got := pageCounts(t, nodes[1]).BytesIn - before
	if got == 0 || got > 30 {
		t.Errorf("%d bytes came in %d rounds of a byte, want those of a few", got, rounds)
	}
	if b := get(t, regions[1], 0); b != rounds-1 {
		t.Errorf("the byte is %d, want %d", b, rounds-1)
	}
}
