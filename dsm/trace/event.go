package trace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pagemesh/pagetable"
)

// Kind says what an event tells. The comments name the fields that mean something beside Time, Node and Page.
type Kind uint8

const (
	// Fault: an access waits for other nodes. Access is wanted, Held the right that was here. Offset and Length
	// are the bytes it wants of this page, Length 0 if that is not known. Other is the page's home. Site, Cause.
	Fault Kind = iota + 1
	// Ahead: a page is asked for before an access needs it. Fields as of Fault, without Site.
	Ahead
	// Served: an access has what it waited for. Wait, and what Fault has. Other is where the right came from,
	// Bytes what came with it.
	Served
	// Failed: an access gave up waiting or can't have the page. Wait, and what Fault has.
	Failed
	// Forward: the home has told Other to send the page to Cause.Node.
	Forward
	// Grant: the right Access goes to Other, with Bytes of the page. Txn.
	Grant
	// Receive: the right Access has come from Other, with Bytes. Txn.
	Receive
	// Invalidate: the right Held has ended, because Cause.Node wants to write, or because a notice came (then Txn
	// is the number of the change that the notice named). Changed, Words.
	Invalidate
	// Downgrade: the right to write has become one to read, because Cause.Node wants to read. Changed, Words.
	Downgrade
	// Evict: the right Held has ended because memory was short. Changed, Words.
	Evict
	// Flush: what was written to a page of a release region goes to its home, Other. Bytes of the diff; Changed,
	// Words; Txn is the interval. Site wrote it.
	Flush
	// Merge: the diff of Other is in the page, at its home. Bytes; Txn is the interval at Other.
	Merge
	// Flushed: the page's home, Other, has what was written here. Txn is the number of the change. Site wrote it.
	Flushed
	// Update: the diff that is change Txn of a page of a release region goes from its home to Other, which receives
	// it like a grant. Bytes.
	Update
	// Handoff: the page goes to Other because this node leaves. Bytes.
	Handoff
	// Delay: a view has kept another node waiting. Wait; Site took the view.
	Delay
	// Lock: a mutex, or permits of a read/write mutex or semaphore, came after a wait. Page is the lock's
	// number. Wait, Site. Other is the node whose message ended the wait.
	Lock
	// Barrier: a barrier opened after a wait. Fields as of Lock.
	Barrier
	kindEnd
)

var kindNames = [kindEnd]string{
	Fault: "fault", Ahead: "ahead", Served: "served", Failed: "failed", Forward: "forward", Grant: "grant",
	Receive: "receive", Invalidate: "invalidate", Downgrade: "downgrade", Evict: "evict", Flush: "flush",
	Merge: "merge", Flushed: "flushed", Update: "update", Handoff: "handoff", Delay: "delay", Lock: "lock", Barrier: "barrier",
}

// String returns the kind's name.
func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool { return k > 0 && k < kindEnd }

// OfLock reports whether Page is the number of a lock.
func (k Kind) OfLock() bool { return k == Lock || k == Barrier }

// Waits reports whether events of the kind tell of the end of a wait.
func (k Kind) Waits() bool { return k == Served || k == Failed || k == Delay || k.OfLock() }

// KindNames returns the names of all kinds.
func KindNames() []string { return slices.Clone(kindNames[1:]) }

// KindNamed returns the kind of that name, 0 if there is none.
func KindNamed(name string) Kind { return Kind(max(0, slices.Index(kindNames[:], name))) }

// Cause is the access that took a page away from a node.
type Cause struct {
	Node   pagetable.NodeID // 0: nobody, or it is not known
	Site   uint32           // of Node; 0 if it is not known
	Access pagetable.Access
}

// Event is a record of page traffic at one node.
type Event struct {
	// Time is when it happened: nanoseconds since 1970 on the clock of Node.
	Time int64
	// Page is the page or, see Kind.OfLock, the number of a lock.
	Page pagetable.PageID
	// Wait is how long somebody waited until now, in nanoseconds.
	Wait int64
	// Txn pairs the events of one move of the page; see the kinds.
	Txn uint64
	// Words has bit i set if the i-th 64th of the page was written since this node got the right to.
	Words uint64
	// Node is where it happened, Other the node at the other end; 0 if there is none.
	Node, Other pagetable.NodeID
	Bytes       uint32 // of the page that moved
	Changed     uint32 // in words that were written, each once
	Offset      uint32 // of the first byte that an access wants, in the page
	Length      uint32
	// Site is the place in the program of Node that made it happen, an ID of a Site; 0 if it is not known.
	Site  uint32
	Cause Cause
	Kind  Kind
	// Access is the right wanted or given, Held the one that was there before.
	Access, Held pagetable.Access
	// Guessed: Site is where the program was last seen waiting for this page with this access. Attached
	// programs are asked for the line of a fault once in a millisecond at most.
	Guessed bool
}

// String returns the event on one line, without its time and with numbers for what has names.
func (e Event) String() string {
	s := fmt.Sprintf("%v %v %v", e.Node, e.Kind, e.Page)
	for _, f := range []struct {
		name  string
		value any
		on    bool
	}{
		{"", e.Access, e.Access != pagetable.NoAccess},
		{"held", e.Held, e.Held != pagetable.NoAccess},
		{"at", fmt.Sprintf("%d+%d", e.Offset, e.Length), e.Offset+e.Length > 0},
		{"other", e.Other, e.Other != 0},
		{"bytes", e.Bytes, e.Bytes != 0},
		{"wait", time.Duration(e.Wait), e.Wait != 0},
		{"txn", e.Txn, e.Txn != 0},
		{"changed", e.Changed, e.Changed != 0},
		{"words", fmt.Sprintf("%#x", e.Words), e.Words != 0},
		{"site", e.Site, e.Site != 0},
		{"guessed", "", e.Guessed},
		{"cause", e.Cause, e.Cause != Cause{}},
	} {
		if f.on {
			s += strings.TrimRight(fmt.Sprintf(" %s %v", f.name, f.value), " ")
		}
	}
	return strings.ReplaceAll(s, "  ", " ")
}

// String returns who did it, with what right, and the number of the site.
func (c Cause) String() string {
	return fmt.Sprintf("%v %v %d", c.Node, c.Access, c.Site)
}

// Site is a line of a program.
type Site struct {
	Node     pagetable.NodeID
	ID       uint32 // from 1, of Node
	Line     string // "file:line"
	Function string // that holds the line
}

// Name is what a lock is called.
type Name struct {
	ID   pagetable.PageID // the lock's number in events
	Text string           // such as `mutex "m"`
}

// Region is what is needed to know of a region to read events of its pages.
type Region struct {
	ID          pagetable.RegionID
	Name        string
	Size        uint64 // bytes
	PageSize    int    // bytes
	Consistency pagetable.Consistency
	Layout      string // the Go type that it is an array of, "" if nobody has said
}

// Clock is how a node's clock compares with that of the node through which events are collected.
type Clock struct {
	Node pagetable.NodeID
	// Ahead is how many nanoseconds it is ahead of the other, 0 if it may show the same time; the true value
	// differs by Error at most.
	Ahead, Error int64
}

// Loss is a number of events of a node that were overwritten before they were collected; 0 stands for those that
// went with the node, however many they were.
type Loss struct {
	Node   pagetable.NodeID
	Events uint64
}

// Chunk is some events and what is needed to read them. What earlier chunks said is not repeated, except
// for clocks, of which a later estimate counts.
type Chunk struct {
	// Until is a time before which nothing is missing, except what was lost: on the clock of the node through
	// which the events are collected.
	Until   int64
	Clocks  []Clock
	Regions []Region
	Sites   []Site
	Locks   []Name
	Lost    []Loss
	Events  []Event
}

// Add appends what o holds.
func (c *Chunk) Add(o *Chunk) {
	c.Until = max(c.Until, o.Until)
	c.Clocks = append(c.Clocks, o.Clocks...)
	c.Regions = append(c.Regions, o.Regions...)
	c.Sites = append(c.Sites, o.Sites...)
	c.Locks = append(c.Locks, o.Locks...)
	c.Lost = append(c.Lost, o.Lost...)
	c.Events = append(c.Events, o.Events...)
}
