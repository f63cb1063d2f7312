package dsm

import (
	"time"

	"pagemesh/dsm/layout"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// Counts are the events of page traffic, of a page or of a node. They only grow, until ResetStats.
// Accesses that find their page here are not counted, so that they cost nothing more.
type Counts struct {
	ReadFaults    uint64 `json:"read_faults"`   // reads that had to wait for another node
	WriteFaults   uint64 `json:"write_faults"`  // writes that had to, of a page that was not here
	Ahead         uint64 `json:"ahead"`         // pages asked for before a program touched them
	Upgrades      uint64 `json:"upgrades"`      // writes that had to, of a page that was here for reading
	Invalidations uint64 `json:"invalidations"` // copies given up because another node wrote
	Moves         uint64 `json:"moves"`         // pages whose bytes came with the right to write them
	Evictions     uint64 `json:"evictions"`     // copies given up because memory was short
	BytesIn       uint64 `json:"bytes_in"`      // page bytes received
	BytesOut      uint64 `json:"bytes_out"`     // page bytes sent
	BytesChanged  uint64 `json:"bytes_changed"` // bytes in words that were written or differed when a write right was lost, each once
	StallNanos    uint64 `json:"stall_ns"`      // time that faults waited, summed, in nanoseconds
	// LostNanos is time in which faults waited, in nanoseconds: while k of a node wait at once, each has 1/k of it. So
	// that of a node is the time in which at least one of its accesses waited.
	LostNanos uint64 `json:"lost_ns"`
}

// Stall returns the time that faults waited, summed over all of them.
func (c Counts) Stall() time.Duration { return time.Duration(c.StallNanos) }

// Lost returns the time that was lost to faults, as LostNanos says.
func (c Counts) Lost() time.Duration { return time.Duration(c.LostNanos) }

// NodeStats are the totals of one node since it was opened or ResetStats.
type NodeStats struct {
	Node        pagetable.NodeID `json:"node"`
	Rank        int              `json:"rank"` // Config.Rank
	Counts                       // over all pages
	MessagesIn  uint64           `json:"messages_in"`    // packets received from other members
	MessagesOut uint64           `json:"messages_out"`   // packets sent to other members
	WireIn      uint64           `json:"wire_bytes_in"`  // bytes of these packets, with their framing
	WireOut     uint64           `json:"wire_bytes_out"` // bytes of these packets, with their framing
	WallNanos   uint64           `json:"wall_ns"`        // time in which all this was counted, in nanoseconds
}

// Span is the bytes [Start, End) of a page. Both are multiples of 8.
type Span struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Writer is what one node has changed in a page. A word that was written with the value that it had is
// not among it.
type Writer struct {
	Node  pagetable.NodeID `json:"node"`
	Words int              `json:"words"` // distinct 8-byte words that it changed
	Spans []Span           `json:"spans"` // where they lie, ascending; of very many only the first
}

// SiteStats is a line of an attached program at which one of its threads was seen waiting for a page.
type SiteStats struct {
	Node     pagetable.NodeID `json:"node"`     // the program's
	Line     string           `json:"line"`     // "file:line"
	Function string           `json:"function"` // that holds the line
	Access   string           `json:"access"`   // "read" or "write"
	Samples  uint64           `json:"samples"`  // how often; at most one in 1 ms is taken of a program
	Start    int              `json:"start"`    // the bytes of the page [Start, End) at which it waited
	End      int              `json:"end"`
}

// PageStats are the counts of one page, summed over the nodes that answered.
type PageStats struct {
	Region  string             `json:"region"`
	Page    uint64             `json:"page"`   // index in the region, from 0
	Offset  uint64             `json:"offset"` // of the page's first byte in the region
	Size    int                `json:"size"`   // of the page, in bytes
	Home    pagetable.NodeID   `json:"home"`   // 0 if it was lost
	Counts                     // over all nodes
	Nodes   []pagetable.NodeID `json:"nodes"`   // that faulted on it
	Writers []Writer           `json:"writers"` // that changed it
	Sites   []SiteStats        `json:"sites"`   // where attached programs waited for it
	// Sharing is what its members have counted of how they share it, of late: see package sharing. Verdict is what
	// follows from that, and Note says it in one sentence.
	Types   []layout.Range  `json:"types"` // what lies in the page, as far as programs have said: see package layout
	Sharing sharing.Page    `json:"sharing"`
	Verdict sharing.Verdict `json:"verdict"`
	Note    string          `json:"note"`
}

// MemberStatus is one member as its view describes it.
type MemberStatus struct {
	Node        pagetable.NodeID `json:"node"`        // from 1, never given out twice
	Addr        string           `json:"addr"`        // where it is joined and inspected, host:port
	Incarnation uint64           `json:"incarnation"` // random, drawn when it was opened
	Rank        int              `json:"rank"`        // its Config.Rank
	State       string           `json:"state"`       // "member" or "leaving"
}

// RegionStatus is one region as the view describes it.
type RegionStatus struct {
	Name        string             `json:"name"`
	ID          pagetable.RegionID `json:"id"`          // from 1, in the order of creation
	Base        pagetable.Addr     `json:"base"`        // of its first byte in the shared space
	Size        uint64             `json:"size"`        // bytes
	PageSize    int                `json:"page_size"`   // bytes
	Placement   string             `json:"placement"`   // its rule and its homes, for people
	Consistency string             `json:"consistency"` // "sequential" or "release"
	Layout      string             `json:"layout"`      // the Go type that it is an array of, "" if nobody has said
}

// Status describes a space as one node sees it.
type Status struct {
	Cluster     string           `json:"cluster"`     // Config.Cluster
	Node        pagetable.NodeID `json:"node"`        // that was asked
	Addr        string           `json:"addr"`        // its address
	Access      string           `json:"access"`      // "mapped" if programs attach to the node, else "embedded"
	Traps       string           `json:"traps"`       // of mapped memory: "full mode" or "user mode", see package vm; else ""
	Epoch       uint64           `json:"epoch"`       // from 1, grows when a member goes
	Coordinator pagetable.NodeID `json:"coordinator"` // who orders changes of membership and regions
	Members     []MemberStatus   `json:"members"`     // ascending by node id
	Regions     []RegionStatus   `json:"regions"`     // ascending by address
	Nodes       []NodeStats      `json:"nodes"`       // totals of every member that answered
}

// LockStatus is one lock or barrier as its home sees it.
type LockStatus struct {
	Name     string             `json:"name"`
	Kind     string             `json:"kind"`     // "mutex", "rwmutex", "semaphore", "barrier", "counter", "waitgroup", "election", "once" or "cond"
	Home     pagetable.NodeID   `json:"home"`     // the node that keeps its queue or count
	Holder   pagetable.NodeID   `json:"holder"`   // of a mutex, or of a writer: where it is or was last held; of an election: the leader; 0 if nowhere
	Holders  []pagetable.NodeID `json:"holders"`  // that have permits, or the right to read; in use or kept
	Waiting  []pagetable.NodeID `json:"waiting"`  // in their order; at a barrier, arrived
	Token    uint64             `json:"token"`    // last fencing token the home knows of
	Parties  int                `json:"parties"`  // of a barrier
	Arrived  int                `json:"arrived"`  // of a barrier, in the present phase
	Permits  int                `json:"permits"`  // of a semaphore
	Free     int                `json:"free"`     // permits of a semaphore that are with no node
	Acquires uint64             `json:"acquires"` // of a mutex, by writers, or completed phases of a barrier
	// OwnerDied: whoever held a mutex has died, or may have, and nobody has got ErrOwnerDied for it yet. Of a
	// read/write mutex: a node is lost that may have held it to write.
	OwnerDied bool  `json:"owner_died"`
	Value     int64 `json:"value"` // of a counter, or what is left to do of a wait group
	// Over: a Once is done.
	Over bool `json:"over"`
	// Broken: a node that took part in a barrier was lost, or the home of a counter was.
	Broken bool `json:"broken"`
	// Users are the goroutines that have a mutex or read/write mutex, and then those that wait for it.
	Users []LockUser `json:"users"`
	// Deadlock says who waits for whom if a mutex or read/write mutex is part of a deadlock; else it is empty.
	Deadlock string `json:"deadlock"`
}
