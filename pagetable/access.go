package pagetable

import "fmt"

// Access is the right that a node has on a page, or that a fault asks for. Rights are ordered: who
// may write may read.
type Access uint8

// The three rights, from none to all.
const (
	NoAccess Access = iota
	ReadAccess
	WriteAccess
)

// Allows reports whether the right a covers an access that needs want.
func (a Access) Allows(want Access) bool { return a >= want }

// Valid reports whether a is one of the three rights. Bytes from outside must be checked with it.
func (a Access) Valid() bool { return a <= WriteAccess }

// String returns "none", "read" or "write".
func (a Access) String() string {
	switch a {
	case NoAccess:
		return "none"
	case ReadAccess:
		return "read"
	case WriteAccess:
		return "write"
	}
	return fmt.Sprintf("access(%d)", uint8(a))
}
