package sharing

import "fmt"

// Class is how nodes share a page.
type Class uint8

const (
	// Private: one node uses it, from its own home or without having to wait again.
	Private Class = iota
	// FirstTouch: it has moved, but nobody that lost it has wanted it back.
	FirstTouch
	// ReadMostly: it is hardly ever written, and copies of it live long.
	ReadMostly
	// ProducerConsumer: one node writes it, others read what was written.
	ProducerConsumer
	// Migratory: several nodes read and write the same words, one after the other.
	Migratory
	// Contended: several nodes want the same words at the same time.
	Contended
	// FalselyShared: nodes use different words of it, of which at least one node writes some.
	FalselyShared
	// Thrashing: several nodes want the same words, and each loses them before it has used them for as long as it
	// takes to fetch them.
	Thrashing
	// MisplacedHome: one node uses it and has to ask another one for it.
	MisplacedHome
	// LockApart: a mutex guards it, and it follows the mutex from node to node in messages of its own.
	LockApart
	classEnd
)

var classNames = [...]string{
	Private: "private", FirstTouch: "first-touch", ReadMostly: "read-mostly", ProducerConsumer: "producer-consumer",
	Migratory: "migratory", Contended: "contended", FalselyShared: "falsely-shared", Thrashing: "thrashing",
	MisplacedHome: "misplaced-home", LockApart: "lock-apart",
}

// String returns the class's name, "falsely-shared".
func (c Class) String() string {
	if c >= classEnd {
		return fmt.Sprintf("class(%d)", uint8(c))
	}
	return classNames[c]
}

// MarshalText implements encoding.TextMarshaler.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Class) UnmarshalText(b []byte) error {
	for i, name := range classNames {
		if name == string(b) {
			*c = Class(i)
			return nil
		}
	}
	return fmt.Errorf("class %q is unknown", b)
}

// Harmless reports whether a page of the class costs what it has to: bytes that are needed where they go, once
// or seldom.
func (c Class) Harmless() bool { return c == Private || c == FirstTouch || c == ReadMostly }
