package dsm

import (
	"fmt"
	"slices"
	"time"

	"pagemesh/pagetable"
)

// note says in one sentence what the counts of a page mean. It is a first reading: evidence, not a
// verdict.
func note(p *PageStats) string {
	faults := p.ReadFaults + p.WriteFaults + p.Upgrades
	if faults == 0 {
		return "No node has waited for it."
	}
	wait := threeDigits(p.Stall()/time.Duration(faults)).String() + " a fault"
	switch {
	case len(p.Writers) == 0:
		return fmt.Sprintf("Read by %s and not written, %s.", nodes(p.Nodes), wait)
	case len(p.Writers) > 1 && disjoint(p.Writers):
		return fmt.Sprintf("%s write different words of this page, %s: give each its own page.", nodes(writers(p)), wait)
	case len(p.Writers) > 1:
		return fmt.Sprintf("%s write the same words, %s: they share this data, so batch or partition the work.", nodes(writers(p)), wait)
	}
	writer := p.Writers[0].Node
	readers := slices.DeleteFunc(slices.Clone(p.Nodes), func(n pagetable.NodeID) bool { return n == writer })
	switch {
	case len(readers) > 0 && p.ReadFaults > 0:
		return fmt.Sprintf("Written by %v and fetched by %s, %s: producer and consumers.", writer, nodes(readers), wait)
	case p.Home != writer:
		return fmt.Sprintf("Written by %v alone but homed at %v, %s: place it at its writer.", writer, p.Home, wait)
	}
	return fmt.Sprintf("Used by %v alone, %s.", writer, wait)
}

// nodes names one node, or counts several.
func nodes(list []pagetable.NodeID) string {
	if len(list) == 1 {
		return list[0].String()
	}
	return fmt.Sprint(len(list), " nodes")
}

func writers(p *PageStats) (list []pagetable.NodeID) {
	for _, w := range p.Writers {
		list = append(list, w.Node)
	}
	return list
}

// threeDigits rounds to what is worth reading.
func threeDigits(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
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
