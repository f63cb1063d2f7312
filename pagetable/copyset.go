package pagetable

import (
	"iter"
	"math/bits"
	"slices"
	"strings"
)

// inlineIDs is how many node ids, from 1 upwards, fit the word of a CopySet.
const inlineIDs = 64

// CopySet is a set of nodes, as a rule those that hold a readable copy of a page. It is a value: the
// zero CopySet is empty, and an assigned copy does not change when the original does. Ids up to 64
// cost no allocation; each change beyond that copies the list of large ids.
type CopySet struct {
	low  uint64   // bit n-1 stands for node n, 1 <= n <= inlineIDs
	high []NodeID // larger ids, ascending. Invariant: never written to once it is stored here.
}

// Add puts n into the set. Preconditions: n is not 0.
func (s *CopySet) Add(n NodeID) {
	switch {
	case n == 0:
		panic("pagetable: CopySet.Add: 0 is no node")
	case n <= inlineIDs:
		s.low |= 1 << (n - 1)
	default:
		if i, found := slices.BinarySearch(s.high, n); !found {
			s.high = slices.Concat(s.high[:i], []NodeID{n}, s.high[i:])
		}
	}
}

// Remove takes n out of the set, if it is there.
func (s *CopySet) Remove(n NodeID) {
	if n <= inlineIDs {
		s.low &^= 1 << (n - 1) // for n == 0 the shift is out of range and the mask is 0
		return
	}
	if i, found := slices.BinarySearch(s.high, n); found {
		s.high = slices.Concat(s.high[:i], s.high[i+1:])
	}
}

// Has reports whether n is in the set. Node 0 never is.
func (s CopySet) Has(n NodeID) bool {
	if n <= inlineIDs {
		return s.low&(1<<(n-1)) != 0
	}
	_, found := slices.BinarySearch(s.high, n)
	return found
}

// Len returns the number of nodes in the set.
func (s CopySet) Len() int { return bits.OnesCount64(s.low) + len(s.high) }

// Empty reports whether no node is in the set.
func (s CopySet) Empty() bool { return s.low == 0 && len(s.high) == 0 }

// First returns the smallest id in the set, or 0 if the set is empty.
func (s CopySet) First() NodeID {
	switch {
	case s.low != 0:
		return NodeID(bits.TrailingZeros64(s.low) + 1)
	case len(s.high) > 0:
		return s.high[0]
	}
	return 0
}

// All yields the nodes in ascending order, as they are now: changes to the set during the loop are
// allowed and not seen.
func (s CopySet) All() iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) {
		for w := s.low; w != 0; w &= w - 1 {
			if !yield(NodeID(bits.TrailingZeros64(w) + 1)) {
				return
			}
		}
		for _, n := range s.high {
			if !yield(n) {
				return
			}
		}
	}
}

// Clone returns a set with the same nodes. As a CopySet is a value, it says no more than an assignment.
func (s CopySet) Clone() CopySet { return s }

// Equal reports whether s and o hold the same nodes.
func (s CopySet) Equal(o CopySet) bool { return s.low == o.low && slices.Equal(s.high, o.high) }

// String returns the form used in traces: "{n1 n3}".
func (s CopySet) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for n := range s.All() {
		if b.Len() > 1 {
			b.WriteByte(' ')
		}
		b.WriteString(n.String())
	}
	b.WriteByte('}')
	return b.String()
}
