package pagetable

import "fmt"

// Consistency is what a region promises about accesses of several nodes.
type Consistency uint8

const (
	// Sequential: one node at a time may write a page, and everybody sees every write in one order.
	Sequential Consistency = iota
	// Release: several nodes may write a page at once, and a node sees what others wrote before a lock
	// or barrier that it has acquired since.
	Release
)

// Valid reports whether c is one of the two.
func (c Consistency) Valid() bool { return c <= Release }

// String returns "sequential" or "release".
func (c Consistency) String() string {
	switch c {
	case Sequential:
		return "sequential"
	case Release:
		return "release"
	}
	return fmt.Sprintf("consistency(%d)", uint8(c))
}
