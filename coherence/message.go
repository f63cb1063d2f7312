package coherence

import (
	"fmt"

	"pagemesh/pagetable"
)

// Kind says what a message asks or tells.
type Kind uint8

// The messages. R is the requester, H the page's home, O the node that supplies the bytes, S a node that
// holds a readable copy, N any node. Release regions use Request, Grant, Handoff, Taken and what is from Flush on.
const (
	// Request R→H: R wants Access.
	Request Kind = iota + 1
	// Grant H→R or O→R: R now has Access; Content says where the bytes come from.
	Grant
	// Forward H→O: send a Grant of Access to Requester. For ReadAccess O keeps a readable copy, for
	// WriteAccess it gives up its own.
	Forward
	// Invalidate H→S: give up the copy and acknowledge.
	Invalidate
	// InvalidateAck S→H: the copy is gone.
	InvalidateAck
	// Done R→H: the forwarded Grant arrived, or O→H when O is the home itself: it was sent.
	Done
	// Refuse H→R: the page can't be had any more; the request is over.
	Refuse
	// Cancel H→R or H→O, after the other of the two was lost: what became of this transaction?
	Cancel
	// Cancelled R→H or O→H answers Cancel with the Access that the sender holds. A Done that was under
	// way arrives before it.
	Cancelled
	// Surrender, from a leaving node to H: take this page from me. It queues like a Request.
	Surrender
	// Evict, from a node that needs its frame for something else, to H: take this page from me. It queues
	// like a Request and has no answer but the Invalidate or Forward that takes the page.
	Evict
	// Handoff, from a leaving home to the page's next home: the bytes, the right to write, and the
	// directory entry.
	Handoff
	// Taken answers Surrender and Handoff: the page has arrived, and its sender may go.
	Taken
	// Flush N→H: the diff of an interval of N, whose number is in Txn. Release regions only.
	Flush
	// FlushAck H→N: the diff of the interval Txn is in the page, which has Version now.
	FlushAck
	// Follow N→H is a Request, and asks for the changes of others that H takes up from now on.
	Follow
	// Update H→N: the change that made Version of the page, for a copy that has all before it.
	Update
	// Unfollow N→H: no more Updates.
	Unfollow
	kindEnd
)

var kindNames = [...]string{
	Request: "request", Grant: "grant", Forward: "forward", Invalidate: "invalidate",
	InvalidateAck: "invalidate-ack", Done: "done", Refuse: "refuse", Cancel: "cancel",
	Cancelled: "cancelled", Surrender: "surrender", Evict: "evict", Handoff: "handoff", Taken: "taken",
	Flush: "flush", FlushAck: "flush-ack", Follow: "follow", Update: "update", Unfollow: "unfollow",
}

// Fits reports whether the message is one of the protocol of release regions, or of sequential ones.
func (m Message) Fits(release bool) bool {
	switch m.Kind {
	case Request, Grant, Handoff, Taken:
		return m.Content != Diff
	case Flush, Update:
		return release && m.Content == Diff
	case FlushAck, Follow, Unfollow:
		return release && m.Content == NoContent
	}
	return !release && m.Content != Diff
}

// Opens reports whether a message of that kind opens a transaction. A home that leaves drops these.
func (k Kind) Opens() bool { return k == Request || k == Follow || k == Surrender || k == Evict }

// String returns the kind's name in traces.
func (k Kind) String() string {
	if k == 0 || k >= kindEnd {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Content says what bytes come with a Grant or Handoff.
type Content uint8

const (
	// NoContent: the receiver has the bytes already.
	NoContent Content = iota
	// Zeros: the page was never written; the receiver clears its frame.
	Zeros
	// Bytes: the page's bytes follow the message.
	Bytes
	// Diff: what differs from the twin follows the message; it comes with a Flush or an Update.
	Diff
	contentEnd
)

// String returns the content's name in traces.
func (c Content) String() string {
	switch c {
	case NoContent:
		return "no-content"
	case Zeros:
		return "zeros"
	case Bytes:
		return "bytes"
	case Diff:
		return "diff"
	}
	return fmt.Sprintf("content(%d)", uint8(c))
}

// Message is one protocol message about one page. Fields that a kind does not mention are zero.
type Message struct {
	Kind Kind
	Page pagetable.PageID
	// From and To are not on the wire: the connection says who they are.
	From, To pagetable.NodeID
	// Epoch is the view's epoch at the sender. A Request, Surrender or Evict of an earlier epoch is
	// refused silently: its sender repeats it when it learns the new epoch, if it still needs to. Every
	// other kind belongs to a transaction, which the home has settled with its survivors when an epoch
	// changes. A receiver holds a message of a later epoch back until it has that epoch's view.
	Epoch uint64
	// Access is the right wanted (Request, Forward), given (Grant) or held (Cancelled).
	Access pagetable.Access
	// Requester is who gets the Grant that a Forward asks for, or for whom an Invalidate is sent.
	Requester pagetable.NodeID
	// Txn numbers the transactions of a page at its home, from 1. It pairs answers with questions.
	Txn uint32
	// Content goes with Grant, Handoff, Flush and Update.
	Content Content
	// Version is how many changes the home of a page of a release region has taken up: those that the bytes
	// contain (Grant, Handoff), or up to that one (FlushAck, Update).
	Version uint64
	// Site is the place in the requester's program that makes it ask, as the requester numbers it; 0 if it is
	// not known. Whoever sends a Request puts it there, and it comes with the Forward and the Invalidates that
	// follow, so that a node can say to whom it lost a page. It decides nothing.
	Site uint32
}

// String returns the message as one line of a trace.
func (m Message) String() string {
	s := fmt.Sprintf("%v→%v %v %v e%d", m.From, m.To, m.Kind, m.Page, m.Epoch)
	if m.Txn != 0 {
		s += fmt.Sprintf(" t%d", m.Txn)
	}
	if m.Kind == Forward {
		s += fmt.Sprintf(" for %v", m.Requester)
	}
	if m.Access != pagetable.NoAccess {
		s += " " + m.Access.String()
	}
	if m.Content != NoContent {
		s += " " + m.Content.String()
	}
	if m.Version != 0 {
		s += fmt.Sprintf(" v%d", m.Version)
	}
	if m.Site != 0 {
		s += fmt.Sprintf(" s%d", m.Site)
	}
	return s
}
