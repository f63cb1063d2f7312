package locks

import "fmt"

// MaxName is the longest name of a lock, in bytes. The shortest is one byte.
const MaxName = 128

// MaxParties is the largest number of parties of a barrier.
const MaxParties = 1 << 20

// MaxPermits is the largest size of a semaphore.
const MaxPermits = Everything - 1

// Everything is the size of the pool that is a read/write mutex: a reader takes one permit, a writer all.
const Everything = 1 << 30

// MaxEpoch is the largest epoch that a Token can carry.
const MaxEpoch = 1<<(64-countBits) - 1

// countBits is the width of a token's counter.
const countBits = 40

// ID names a lock in messages: the 64-bit FNV-1a hash of its kind and name. Locks of one name and
// different kinds have different ids.
type ID uint64

// MutexID returns the id of the mutex called name.
func MutexID(name string) ID { return hash('m', name) }

// BarrierID returns the id of the barrier called name.
func BarrierID(name string) ID { return hash('b', name) }

// PoolID returns the id of the pool called name: a read/write mutex is a kind of its own, semaphores of all
// sizes are another.
func PoolID(name string, size uint64) ID {
	if size == Everything {
		return hash('r', name)
	}
	return hash('s', name)
}

// Class says what a lock that its home serves is to its users. Locks of one name and different classes have
// nothing to do with each other.
type Class uint8

// The classes.
const (
	Count     Class = iota + 1 // a counter
	WaitGroup                  // a counter, too
	Election                   // an election
	Once                       // an election, which the leader ends when it is done
	Cond                       // a condition

	classEnd
)

// classes are the names of the classes, and the letters that their ids are hashed with.
var classes = [...]struct {
	name   string
	letter byte
}{Count: {"counter", 'c'}, WaitGroup: {"waitgroup", 'w'}, Election: {"election", 'e'}, Once: {"once", 'o'}, Cond: {"cond", 'k'}}

// String returns the name of the class, as LockStatus has it.
func (c Class) String() string {
	if c < Count || c >= classEnd {
		return fmt.Sprintf("class(%d)", uint8(c))
	}
	return classes[c].name
}

// Served names a lock that its home serves: all that is done with it is a message to its home.
type Served struct {
	Class Class
	Name  string
}

// ID returns the id of the lock.
func (s Served) ID() ID { return hash(classes[s.Class].letter, s.Name) }

func hash(kind byte, name string) ID {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	h = (h ^ uint64(kind)) * prime
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * prime
	}
	return ID(h)
}

// String returns the id in hexadecimal.
func (id ID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// CheckName returns an error that says what is wrong with a lock's name, or nil.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("lock name has %d bytes: want 1 to %d", len(name), MaxName)
	}
	return nil
}

// CheckParties returns an error that says what is wrong with a barrier's number of parties, or nil.
func CheckParties(parties int) error {
	if parties < 1 || parties > MaxParties {
		return fmt.Errorf("barrier has %d parties: want 1 to %d", parties, MaxParties)
	}
	return nil
}

// CheckPermits returns an error that says what is wrong with a semaphore's size, or nil.
func CheckPermits(size int) error {
	if size < 1 || size > MaxPermits {
		return fmt.Errorf("semaphore has %d permits: want 1 to %d", size, MaxPermits)
	}
	return nil
}

// Waiter names one wait at one node: a goroutine in Lock or Wait. The caller chooses it, never 0, and
// never twice for waits that overlap at that node.
type Waiter uint64

// Token is the fencing token of a mutex: of two acquisitions, the later has the greater token,
// whatever crashed in between. A resource that remembers the greatest token it has seen can refuse
// whoever still believes that it holds the lock.
//
// The upper 24 bits are the epoch in which the home last granted the lock itself, the lower 40 count
// acquisitions. Tokens increase because
//
//  1. as long as the lock passes from node to node, whoever has it adds one for each acquisition;
//  2. a home that grants the lock starts above every token that it knows of;
//  3. tokens that it does not know of (their holder or their home is lost) were granted in an earlier
//     epoch, so their upper bits are smaller.
//
// A counter that overflows carries into the epoch; rule 2 keeps the order then too, unless the node
// that counted on from there is lost before anybody has heard of it.
type Token uint64

// Epoch returns the epoch in which the home granted the lock.
func (t Token) Epoch() uint64 { return uint64(t >> countBits) }

// Count returns how many acquisitions the lock has seen up to this one.
func (t Token) Count() uint64 { return uint64(t & (1<<countBits - 1)) }

// String returns the form used in traces: "e2.17", the 17th acquisition, granted in epoch 2.
func (t Token) String() string { return fmt.Sprintf("e%d.%d", t.Epoch(), t.Count()) }

// grantToken returns the token for a grant by the home in epoch. last is the greatest token it knows.
func grantToken(epoch uint64, last Token) Token {
	return max(last, Token(epoch<<countBits|last.Count())) + 1
}
