package dsm

import (
	"fmt"
	"time"

	"pagemesh/pagetable"
)

// note says in one sentence what the counts of a page mean. It is a first reading: evidence, not a
// verdict.
func note(p *PageStats) string {
	faults := p.ReadFaults + p.WriteFaults + p.Upgrades
	wait := ""
	if faults > 0 {
		wait = fmt.Sprintf(", %v a fault", (p.Stall() / time.Duration(faults)).Round(100*time.Nanosecond))
	}
	switch {
	case faults == 0:
		return "No node has waited for it."
	case len(p.Writers) > 1 && disjoint(p.Writers):
		return fmt.Sprintf("%d nodes write different words of this page%s: give each its own page.", len(p.Writers), wait)
	case len(p.Writers) > 1:
		return fmt.Sprintf("%d nodes write the same words%s: they share this data, so batch or partition the work.", len(p.Writers), wait)
	case len(p.Writers) == 1 && p.ReadFaults > 0:
		return fmt.Sprintf("%v writes and %d nodes fetch it%s: producer and consumers.", p.Writers[0].Node, len(p.Nodes), wait)
	case len(p.Writers) == 0:
		return fmt.Sprintf("Read by %d nodes and not written%s.", len(p.Nodes), wait)
	case p.Home != p.Writers[0].Node:
		return fmt.Sprintf("Written by %v alone but homed at %v%s: place it at its writer.", p.Writers[0].Node, p.Home, wait)
	}
	return fmt.Sprintf("Used by %v alone%s.", p.Writers[0].Node, wait)
}

// disjoint reports whether no two writers changed the same word.
func disjoint(writers []Writer) bool {
	seen := map[int]pagetable.NodeID{}
	for _, w := range writers {
		for _, sp := range w.Spans {
			for word := sp.Start / 8; word*8 < sp.End; word++ {
				if _, taken := seen[word]; taken {
					return false
				}
				seen[word] = w.Node
			}
		}
	}
	return true
}
