package sharing

import (
	"fmt"
	"time"

	"pagemesh/pagetable"
)

// Sentence says in one sentence how the page is shared, what that costs, and what to do about it.
func (v Verdict) Sentence() string {
	if v.Sum.Faults() == 0 {
		return "No node has waited for it."
	}
	return v.subject() + v.cost() + v.advice() + "."
}

func (v Verdict) subject() string {
	switch v.Class {
	case MisplacedHome:
		return fmt.Sprintf("Written by %v alone but homed at %v", v.Writers[0], v.Home)
	case Private:
		return "Used by " + nodes(append(v.Writers, v.Readers...)) + " alone"
	case FirstTouch:
		return fmt.Sprintf("Written by %s and not wanted back by any that lost it", nodes(v.Writers))
	case ReadMostly:
		if len(v.Writers) == 0 {
			return fmt.Sprintf("Read by %s and not written", nodes(v.Readers))
		}
		return fmt.Sprintf("Read by %s and seldom written", nodes(v.Readers))
	case ProducerConsumer:
		return fmt.Sprintf("Written by %s and fetched by %s", nodes(v.Writers), nodes(v.Readers))
	case FalselyShared:
		if v.Proven {
			return fmt.Sprintf("%s write different words of this page", nodes(v.Writers))
		}
		return fmt.Sprintf("%s seem to read other words of this page than %s writes (%.0f %% sure)", nodes(v.Readers),
			nodes(v.Writers), 100*v.Confidence)
	case LockApart:
		return fmt.Sprintf("It follows mutex %q between %s", v.Lock, nodes(v.Writers))
	case Migratory:
		return fmt.Sprintf("%s write the same words in turn", nodes(v.Writers))
	}
	return fmt.Sprintf("%s write the same words", nodes(v.Writers))
}

func (v Verdict) cost() string {
	wait := time.Duration(v.Sum.WaitNanos / v.Sum.Faults())
	return fmt.Sprintf(", %v a fault", threeDigits(wait))
}

func (v Verdict) advice() string {
	switch v.Class {
	case MisplacedHome:
		return ": place it at its writer"
	case ProducerConsumer:
		return ": producer and consumers"
	case FalselyShared:
		return ": give each its own page"
	case LockApart:
		return ": do more under one lock, or keep the data together"
	case Migratory:
		return ": do more at each visit, or let one node do it all"
	case Thrashing:
		return ", and lose them before they have used them: batch or partition the work"
	case Contended:
		return ": they share this data, so batch or partition the work"
	}
	return ""
}

// nodes names one node, or counts several.
func nodes(list []pagetable.NodeID) string {
	if len(list) == 1 {
		return list[0].String()
	}
	return fmt.Sprint(len(list), " nodes")
}

// threeDigits rounds to what is worth reading.
func threeDigits(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}
