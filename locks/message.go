package locks

import (
	"fmt"
	"strconv"

	"pagemesh/pagetable"
)

// Kind says what a message means and which of its fields are used; the others are zero.
type Kind uint8

// The messages. "node" is the part of a machine that uses locks, "home" the part that orders them.
const (
	// Acquire asks for a mutex. Node to home: Name.
	Acquire Kind = iota + 1
	// Grant gives a free mutex. Home to node: ID, Token for the first acquisition, Reason (OwnerDied if the
	// next holder is to be told so).
	Grant
	// Forward tells the last node in the queue whom to pass the mutex to. Home to node: ID, Node.
	Forward
	// Pass hands a mutex on. Node to node: ID, Token for the first acquisition, Reason as in Grant.
	Pass
	// Granted notes that a Pass has arrived. Node to home: ID, Token, Reason.
	Granted
	// Told notes that a holder has been woken with OwnerDied. Node to home: ID, Token.
	Told
	// Return gives a cached mutex back. Node to home: ID, Token last used, Reason as in Grant.
	Return
	// Arrive is Count arrivals at a barrier. Node to home: Name, Parties, Count, Released.
	Arrive
	// Release lets Count arrivals of the receiver go. Home to node: ID, Parties, Phase, Count, Number of arrivals that
	// the node collects for its next Arrive.
	Release
	// Hurry says that arrivals are not to be collected in this phase. Home to node: ID, Parties.
	Hurry
	// Withdraw takes one arrival back if there is one to take. Node to home: ID, Parties.
	Withdraw
	// Withdrawn says that one was taken back. Home to node: ID, Parties.
	Withdrawn
	// Refuse ends Count arrivals of the receiver without release. Home to node: ID, Parties, Reason, Count.
	Refuse
	// ReportMutex tells a new epoch's home of a mutex. Node to home: Name, Status, Token, Reason as in Grant.
	ReportMutex
	// ReportBarrier tells a new epoch's home of a barrier. Node to home: Name, Parties, Count of
	// arrivals that wait, Released.
	ReportBarrier
	// Take asks for Count permits of a pool. Node to home: Name, Size, Waiter, Count.
	Take
	// Give gives them. Home to node: ID, Size, Waiter, Count, Token of the last who has taken all.
	Give
	// Deny ends a wait for permits. Home to node: ID, Size, Waiter, Reason.
	Deny
	// Drop says that a waiter for permits has given up. Node to home: ID, Size, Waiter.
	Drop
	// Recall asks for all permits that the node has got so far. Home to node: ID, Size.
	Recall
	// PutBack returns Count permits. Node to home: ID, Size, Count, Token.
	PutBack
	// ReportPool tells a new epoch's home what a node has of a pool. Node to home: Name, Size, Count, Token.
	ReportPool
	// Handover tells a barrier's new home what the old one knew of one participant. Home to home:
	// Name, Parties, Phase, Node, Released, Reason (Lost if the barrier is broken).
	Handover
	// HandoverMutex tells a mutex's new home what the old one knew. Home to home: Name, Token, Reason
	// (OwnerDied as in Grant, Lost if a node is lost that may have had the mutex).
	HandoverMutex
	// ReportsDone ends a member's reports of an epoch. Node to every home: Reason (Lost if the epoch
	// has cut the sender off from what earlier homes had to say to it), Count (the epoch of the first loss
	// that it knows of, or 0).
	ReportsDone
	// Add adds what a node's batch comes to. Node to home: Name, Class, Number of the batch, Value.
	Add
	// Added says what the counter has come to with it. Home to node: ID, Number, Value, Reason.
	Added
	// Watch asks for the counter as soon as it is from Low to High. Node to home: Name, Class, Waiter, Low, High.
	Watch
	// Reached says what it is. Home to node: ID, Waiter, Value, Reason.
	Reached
	// Forgo says that one who waits for a lock that is served has given up. Node to home: ID, Waiter.
	Forgo
	// ReportCounter tells a new epoch's home that a node has used a counter. Node to home: Name, Class.
	ReportCounter
	// HandCounter tells a counter's new home what the old one knew. Home to home: Name, Class, Value, Reason
	// (Lost if it is broken).
	HandCounter
	// HandAdder does so for the last batch of one node. Home to home: Name, Class, Node, Number, Value it came to.
	HandAdder
	// Campaign stands for election. Node to home: Name, Class, Waiter.
	Campaign
	// Elect ends that: the waiter leads, or the election is over. Home to node: ID, Waiter, Token, Reason.
	Elect
	// Resign ends a leadership, and with Over the election. Node to home: ID, Token, Reason.
	Resign
	// Observe asks who leads, as soon as it is not the one with Token. Node to home: Name, Class, Waiter, Token.
	Observe
	// Observed says who does. Home to node: ID, Waiter, Node, Token; both 0 if nobody does.
	Observed
	// ReportLeader tells a new epoch's home of a leader, or that the election is over. Node to home: Name, Class,
	// Token, Reason.
	ReportLeader
	// HandElection tells an election's new home that it is over. Home to home: Name, Class.
	HandElection
	// Enlist says that one waits for a signal. Node to home: Name, Class, Waiter.
	Enlist
	// Enlisted says that the home knows. Home to node: ID, Waiter.
	Enlisted
	// Signal wakes one who waits. Node to home: Name, Class.
	Signal
	// Broadcast wakes all who wait. Node to home: Name, Class.
	Broadcast
	// Notify passes a signal on to a waiter. Home to node: ID, Waiter.
	Notify

	kindEnd
)

var kindNames = [...]string{
	Acquire: "Acquire", Grant: "Grant", Forward: "Forward", Pass: "Pass", Granted: "Granted",
	Told: "Told", Return: "Return", Arrive: "Arrive", Release: "Release", Hurry: "Hurry", Withdraw: "Withdraw",
	Withdrawn: "Withdrawn", Refuse: "Refuse", ReportMutex: "ReportMutex",
	ReportBarrier: "ReportBarrier", Take: "Take", Give: "Give", Deny: "Deny", Drop: "Drop", Recall: "Recall",
	PutBack: "PutBack", ReportPool: "ReportPool", Handover: "Handover",
	HandoverMutex: "HandoverMutex", ReportsDone: "ReportsDone",
	Add: "Add", Added: "Added", Watch: "Watch", Reached: "Reached", Forgo: "Forgo",
	ReportCounter: "ReportCounter", HandCounter: "HandCounter", HandAdder: "HandAdder",
	Campaign: "Campaign", Elect: "Elect", Resign: "Resign", Observe: "Observe", Observed: "Observed",
	ReportLeader: "ReportLeader", HandElection: "HandElection",
	Enlist: "Enlist", Enlisted: "Enlisted", Signal: "Signal", Broadcast: "Broadcast", Notify: "Notify",
}

// Valid reports whether k is a kind of message. Bytes from outside must be checked with it.
func (k Kind) Valid() bool { return k >= Acquire && k < kindEnd }

// String returns the name of the kind.
func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// toHome reports whether the receiver handles the message as a home.
func (k Kind) toHome() bool {
	switch k {
	case Grant, Forward, Pass, Release, Withdrawn, Refuse, Give, Deny, Recall, Added, Reached,
		Elect, Observed, Enlisted, Notify, Hurry:
		return false
	}
	return true
}

// handsOver reports whether an old home tells a new one what it knew.
func (k Kind) handsOver() bool {
	return k == Handover || k == HandoverMutex || k == HandCounter || k == HandAdder || k == HandElection
}

// Asks reports whether nothing happens at the receiver because of the message that has to come after what its sender
// has done before.
func (k Kind) Asks() bool {
	switch k {
	case Acquire, Forward, Granted, Take, Recall, Watch:
		return true
	}
	return false
}

// Reports reports whether the message tells a home what was before the epoch.
func (k Kind) Reports() bool {
	switch k {
	case ReportMutex, ReportBarrier, ReportPool, ReportCounter, ReportLeader, ReportsDone:
		return true
	}
	return k.handsOver()
}

// Status is what a node says of a mutex in a ReportMutex.
type Status uint8

// The ways to be involved with a mutex. A node that is not involved reports nothing.
const (
	Waiting Status = iota + 1 // has waiters but not the lock
	Cached                    // has the lock, nobody holds it
	Held                      // has the lock, a waiter holds it
	Gone                      // had the lock, and knows something of the death of an owner
)

// Valid reports whether s is one of them.
func (s Status) Valid() bool { return s >= Waiting && s <= Gone }

// String returns the name of the status.
func (s Status) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case Cached:
		return "cached"
	case Held:
		return "held"
	case Gone:
		return "gone"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Reason is how a wait ended.
type Reason uint8

const (
	// OK: the waiter holds the mutex, has the permits, or the barrier's phase is complete.
	OK Reason = iota
	// Lost: the barrier is broken because a node that took part in it, or its home, is lost; or the counter
	// because its home is.
	Lost
	// Mismatch: the barrier exists with another number of parties, or the semaphore with another size.
	Mismatch
	// Canceled: the wait at the barrier was taken back after Cancel.
	Canceled
	// Leaving: the node is leaving the space.
	Leaving
	// OwnerDied: the waiter holds the mutex, and one before it died while it held it, or may have.
	OwnerDied
	// Over: a leader has ended the election.
	Over

	reasonEnd
)

// Valid reports whether r is a reason.
func (r Reason) Valid() bool { return r < reasonEnd }

// String returns the name of the reason.
func (r Reason) String() string {
	names := [...]string{
		OK: "ok", Lost: "lost", Mismatch: "mismatch", Canceled: "canceled", Leaving: "leaving",
		OwnerDied: "owner died", Over: "over",
	}
	if !r.Valid() {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return names[r]
}

// Holds reports whether the waiter has what it waited for.
func (r Reason) Holds() bool { return r == OK || r == OwnerDied }

// tell is OwnerDied if the next holder of a mutex is to be told so.
func tell(due bool) Reason {
	if due {
		return OwnerDied
	}
	return OK
}

// Message is what machines say to each other. Kind tells which fields are used.
type Message struct {
	Kind     Kind
	Epoch    uint64           // of the sender's view
	ID       ID               // of the lock; on the wire the name stands for it where there is one
	Name     string           // of the lock, 1 to MaxName bytes
	Node     pagetable.NodeID // Forward: who is next. Handover: the participant
	Token    Token            // see Kind
	Parties  uint32           // of the barrier, 1 to MaxParties: as the sender, or the refused, has it
	Size     uint64           // of the pool: as the sender, or the denied, has it
	Waiter   Waiter           // who waits for permits at the node
	Phase    uint64           // of the barrier: how many phases are complete
	Count    uint64           // arrivals or permits, at most maxCount
	Released uint64           // arrivals of the node that were released since it knows the barrier
	Status   Status           // ReportMutex
	Reason   Reason           // see Kind
	Class    Class            // of a lock that its home serves
	Number   uint64           // of a batch of additions of one node, from 1; Release: of arrivals to collect
	Value    int64            // of a counter, or to be added to it
	Low      int64            // of a watcher: the least value that it waits for
	High     int64            // of a watcher: the greatest
}

// String returns the form used in traces: "Grant e2 3f… token=e2.1".
func (m Message) String() string {
	f := layouts[m.Kind%kindEnd]
	s := fmt.Sprintf("%v e%d", m.Kind, m.Epoch)
	add := func(on fields, format string, v any) {
		if f&on != 0 {
			s += fmt.Sprintf(format, v)
		}
	}
	add(hasName, " %q", m.Name)
	add(hasID, " %v", m.ID)
	add(hasNode|hasLeader, " node=%v", m.Node)
	add(hasToken, " token=%v", m.Token)
	add(hasParties, " parties=%d", m.Parties)
	add(hasSize, " size=%v", amount(m.Size))
	add(hasWaiter, " w%d", m.Waiter)
	add(hasPhase, " phase=%d", m.Phase)
	add(hasCount, " count=%v", amount(m.Count))
	add(hasReleased, " released=%d", m.Released)
	add(hasStatus, " %v", m.Status)
	add(hasClass, " %v", m.Class)
	add(hasNumber, " number=%d", m.Number)
	add(hasValue, " value=%d", m.Value)
	add(hasRange, " low=%d", m.Low)
	add(hasRange, " high=%d", m.High)
	add(hasReason, " %v", m.Reason)
	return s
}

// amount is a number of permits, or of arrivals, in a trace.
type amount uint64

// String returns the number, or "all" for what a writer takes.
func (a amount) String() string {
	if a == Everything {
		return "all"
	}
	return strconv.FormatUint(uint64(a), 10)
}

// Outgoing is a message and the node that it is for.
type Outgoing struct {
	To  pagetable.NodeID
	Msg Message
}

// Woken is a wait that has ended. Token is valid for a mutex, a pool or an election if Err.Holds(), Node for one who
// observes an election, Value for a counter.
type Woken struct {
	Waiter Waiter
	Token  Token
	Value  int64
	Node   pagetable.NodeID
	Err    Reason
}

// Ready is the work that an event has caused. The caller owns it, hands it to every method of one
// Machine, performs it (package comment, "The order of effects") and calls Reset.
type Ready struct {
	// Send are messages in the order in which each receiver must get those that are for it. None is
	// for the node itself.
	Send []Outgoing
	// Wake are the waits that have ended.
	Wake []Woken
	// Wanted are mutexes whose holder at this node somebody waits for since this event, here or
	// elsewhere. A holder that keeps the mutex for its next use must unlock it.
	Wanted []ID

	// Set by the machine on entry.
	self  pagetable.NodeID
	epoch uint64
	// own are messages to the node itself; the machine steps them before it returns.
	own []Message
}

// Reset empties r and keeps its memory.
func (r *Ready) Reset() {
	clear(r.Send)
	r.Send, r.Wake, r.Wanted = r.Send[:0], r.Wake[:0], r.Wanted[:0]
}

func (r *Ready) send(to pagetable.NodeID, m Message) {
	m.Epoch = r.epoch
	if to == r.self {
		r.own = append(r.own, m)
		return
	}
	r.Send = append(r.Send, Outgoing{To: to, Msg: m})
}

func (r *Ready) wake(w Waiter, t Token, err Reason) {
	r.Wake = append(r.Wake, Woken{Waiter: w, Token: t, Err: err})
}

func (r *Ready) wakeValue(w Waiter, value int64, err Reason) {
	r.Wake = append(r.Wake, Woken{Waiter: w, Value: value, Err: err})
}
