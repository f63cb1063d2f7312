package sharing

import "pagemesh/pagetable"

// Page is what the members of a space have counted on one page.
type Page struct {
	Home pagetable.NodeID `json:"home"` // 0 if it was lost
	// Asked is how many requests reached the home, and Queued how many of them it had to keep waiting,
	// because it was busy with another.
	Asked  uint64 `json:"asked"`
	Queued uint64 `json:"queued"`
	// Nodes are those that have waited for the page or written it, in any order.
	Nodes []Node `json:"nodes"`
}

// Node is one node's part in the sharing of a page, of late.
type Node struct {
	Node pagetable.NodeID `json:"node"`
	Counts
	// Written are the words that it wrote, as far as its write rights have ended, and Again those that it wrote
	// in more than one of its tenures.
	Written []Span `json:"written"`
	Again   []Span `json:"again"`
	// Read are the words at which its reads began that had to wait, and ReadAgain those at which several did.
	Read      []Span `json:"read"`
	ReadAgain []Span `json:"read_again"`
	// Lock is the mutex that it held most often when it waited for the page, "" if none.
	Lock string `json:"lock"`
}

// Counts are events at one node. A tenure is the time from a right to write until another node takes it, a copy
// the same for a right to read. A return is a fault of a node that has had the page and has lost it to another.
// What is short, brief and eager is measured by the node's latest fetch of the page.
type Counts struct {
	ReadFaults  uint64 `json:"read_faults"`
	WriteFaults uint64 `json:"write_faults"` // of a page that was not here
	Upgrades    uint64 `json:"upgrades"`     // writes to a copy
	Returns     uint64 `json:"returns"`
	Eager       uint64 `json:"eager"` // returns that came sooner after the loss than a fetch takes
	Tenures     uint64 `json:"tenures"`
	Short       uint64 `json:"short"` // tenures that lasted for less than a fetch takes
	Copies      uint64 `json:"copies"`
	Brief       uint64 `json:"brief"`      // copies that lasted for less than BriefFetches times a fetch
	Taken       uint64 `json:"taken"`      // upgrades of a copy that was read first: what is read, modified and written
	Places      uint64 `json:"places"`     // reads that had to wait and whose place is known
	UnderLock   uint64 `json:"under_lock"` // faults while the node held Lock
	WaitNanos   uint64 `json:"wait_ns"`    // that its faults waited, summed
}

// BriefFetches is how many times as long as its fetch a copy has to last, or the node spends more than 1 % of its
// time on waiting for this one page.
const BriefFetches = 100

// Faults returns how often the node waited.
func (c Counts) Faults() uint64 { return c.ReadFaults + c.WriteFaults + c.Upgrades }

func (c *Counts) add(o Counts) {
	c.ReadFaults += o.ReadFaults
	c.WriteFaults += o.WriteFaults
	c.Upgrades += o.Upgrades
	c.Returns += o.Returns
	c.Eager += o.Eager
	c.Tenures += o.Tenures
	c.Short += o.Short
	c.Copies += o.Copies
	c.Brief += o.Brief
	c.Taken += o.Taken
	c.Places += o.Places
	c.UnderLock += o.UnderLock
	c.WaitNanos += o.WaitNanos
}

// Add returns the sum of both.
func (c Counts) Add(o Counts) Counts {
	c.add(o)
	return c
}
