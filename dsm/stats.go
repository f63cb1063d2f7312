package dsm

import (
	"time"

	"pagemesh/pagetable"
)

// Counts are the events of page traffic, of a page or of a node. They only grow.
type Counts struct {
	ReadFaults    uint64 `json:"read_faults"`   // reads that needed a page that was not here
	WriteFaults   uint64 `json:"write_faults"`  // writes that needed a page that was not here
	Upgrades      uint64 `json:"upgrades"`      // writes to a page that was here for reading
	Invalidations uint64 `json:"invalidations"` // copies given up because another node wrote
	Moves         uint64 `json:"moves"`         // times the right to write came from another node
	BytesIn       uint64 `json:"bytes_in"`      // page bytes received
	BytesOut      uint64 `json:"bytes_out"`     // page bytes sent
	BytesChanged  uint64 `json:"bytes_changed"` // bytes in words that differed when a write right was lost
	StallNanos    uint64 `json:"stall_ns"`      // time that faults waited, summed, in nanoseconds
}

// Stall returns the time that faults waited, summed over all of them.
func (c Counts) Stall() time.Duration { return time.Duration(c.StallNanos) }

// NodeStats are the totals of one node since it was opened.
type NodeStats struct {
	Node pagetable.NodeID `json:"node"`
	Rank int              `json:"rank"`
	Counts
	MessagesIn  uint64 `json:"messages_in"`  // packets received from other members
	MessagesOut uint64 `json:"messages_out"` // packets sent to other members
	WireIn      uint64 `json:"wire_bytes_in"`
	WireOut     uint64 `json:"wire_bytes_out"`
}

// Span is a half-open range of byte offsets within a page.
type Span struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Writer is what one node has written in a page, as far as its write rights have been taken away.
type Writer struct {
	Node  pagetable.NodeID `json:"node"`
	Words int              `json:"words"` // distinct 8-byte words that it changed
	Spans []Span           `json:"spans"` // where they lie
}

// PageStats are the counts of one page, summed over the nodes that answered.
type PageStats struct {
	Region string           `json:"region"`
	Page   uint64           `json:"page"`   // index in the region
	Offset uint64           `json:"offset"` // of the page's first byte in the region
	Size   int              `json:"size"`   // bytes
	Home   pagetable.NodeID `json:"home"`
	Counts
	Nodes   []pagetable.NodeID `json:"nodes"`   // that faulted on it
	Writers []Writer           `json:"writers"` // that changed it
	Note    string             `json:"note"`    // one sentence on what the counts say
}

// MemberStatus is one member as its view describes it.
type MemberStatus struct {
	Node        pagetable.NodeID `json:"node"`
	Addr        string           `json:"addr"`
	Incarnation uint64           `json:"incarnation"`
	Rank        int              `json:"rank"`
	State       string           `json:"state"` // "member", "leaving"
}

// RegionStatus is one region as the view describes it.
type RegionStatus struct {
	Name      string             `json:"name"`
	ID        pagetable.RegionID `json:"id"`
	Base      pagetable.Addr     `json:"base"`
	Size      uint64             `json:"size"`
	PageSize  int                `json:"page_size"`
	Placement string             `json:"placement"`
}

// Status describes a space as one node sees it.
type Status struct {
	Cluster     string           `json:"cluster"`
	Node        pagetable.NodeID `json:"node"`
	Addr        string           `json:"addr"`
	Access      string           `json:"access"` // "embedded"
	Epoch       uint64           `json:"epoch"`
	Coordinator pagetable.NodeID `json:"coordinator"`
	Members     []MemberStatus   `json:"members"`
	Regions     []RegionStatus   `json:"regions"`
	Nodes       []NodeStats      `json:"nodes"` // totals of every member that answered
}

// LockStatus is one lock or barrier as its home sees it.
type LockStatus struct {
	Name     string             `json:"name"`
	Kind     string             `json:"kind"` // "mutex", "barrier"
	Home     pagetable.NodeID   `json:"home"`
	Holder   pagetable.NodeID   `json:"holder"` // 0 if nobody; the node where a mutex is or was last held
	Waiting  []pagetable.NodeID `json:"waiting"`
	Token    uint64             `json:"token"`    // last fencing token the home knows of
	Parties  int                `json:"parties"`  // of a barrier
	Arrived  int                `json:"arrived"`  // of a barrier, in the present phase
	Acquires uint64             `json:"acquires"` // of a mutex, or completed phases of a barrier
	// OwnerDied: a mutex was held by a node that was lost, and was granted anew.
	OwnerDied bool `json:"owner_died"`
	// Broken: a node that took part in a barrier was lost.
	Broken bool `json:"broken"`
}
