package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/sharing"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// PagesAtMost is how many pages a report should be made from, the busiest.
const PagesAtMost = 512

// worth is the share of the time that a cause must take to be a finding: below, a cure gains less than runs of one
// program differ by.
const worth = 0.01

// Report is what New finds.
type Report struct {
	Verdict string `json:"verdict"` // one sentence, or two
	// Fine: there is nothing to complain about. There may be findings all the same, of what has to be.
	Fine      bool      `json:"fine"`
	LostShare float64   `json:"lost_share"` // of the time, from 0 to 1
	LostNanos uint64    `json:"lost_ns"`    // over all nodes
	WallNanos uint64    `json:"wall_ns"`    // over all nodes
	Nodes     []Node    `json:"nodes"`      // ascending
	Findings  []Finding `json:"findings"`   // those that cost most first
	// RestNanos is what was lost to what is too small for a finding.
	RestNanos uint64 `json:"rest_ns"`
}

// Node is what one node has lost.
type Node struct {
	Node      pagetable.NodeID `json:"node"`
	Rank      int              `json:"rank"`
	LostNanos uint64           `json:"lost_ns"`
	WallNanos uint64           `json:"wall_ns"`
}

// Finding is one cause of lost time: pages of one region that are shared in one way.
type Finding struct {
	// Title is one sentence.
	Title string        `json:"title"`
	Class sharing.Class `json:"class"`
	// Complaint: the program could do better. Otherwise it waits for what it needs.
	Complaint  bool     `json:"complaint"`
	Region     string   `json:"region"`
	Pages      []uint64 `json:"pages"`   // indexes, those that cost most first
	Subject    string   `json:"subject"` // what lies in them, "[]Worker"; "" if nobody has said
	LostNanos  uint64   `json:"lost_ns"`
	LostShare  float64  `json:"share"` // of the time, from 0 to 1
	Faults     uint64   `json:"faults"`
	BytesMoved uint64   `json:"bytes_moved"`
	// BytesChanged are those that were written, and Amplification how many moved for each of them, 0 if none was.
	BytesChanged  uint64  `json:"bytes_changed"`
	Amplification float64 `json:"amplification"`
	// Proven: the class follows from words that were written. Otherwise Confidence says how likely it is.
	Proven     bool     `json:"proven"`
	Confidence float64  `json:"confidence"`
	Evidence   []string `json:"evidence"` // sentences
	// Parts say who uses what of the first page.
	Parts []Part `json:"parts"`
	Cures []Cure `json:"cures"` // the best first
}

// New returns the report on a space that was found to be as st says, with pages the busiest of its pages. What cures are
// predicted to gain rests on events, in order, see trace.Merger; without any it is not told.
func New(st dsm.Status, pages []dsm.PageStats, events []trace.Event) Report {
	r := Report{Nodes: []Node{}, Findings: []Finding{}}
	for _, n := range st.Nodes {
		r.Nodes = append(r.Nodes, Node{n.Node, n.Rank, n.LostNanos, n.WallNanos})
		r.LostNanos += n.LostNanos
		r.WallNanos += n.WallNanos
	}
	r.LostShare = share(r.LostNanos, r.WallNanos)
	found := uint64(0)
	all := record(events)
	for _, g := range groups(st, pages) {
		g.events = all
		f := g.finding()
		if f.LostShare = share(f.LostNanos, r.WallNanos); f.LostShare >= worth {
			g.predict(&f, r.WallNanos/uint64(len(r.Nodes)))
			r.Findings = append(r.Findings, f)
			found += f.LostNanos
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.LostNanos, a.LostNanos) })
	r.RestNanos = r.LostNanos - min(found, r.LostNanos)
	r.Fine = !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Complaint })
	r.Verdict = r.verdict()
	return r
}

func share(part, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return min(float64(part)/float64(of), 1)
}

func (r *Report) verdict() string {
	lost := fmt.Sprintf("%s of the time was lost to waiting for pages", percent(r.LostShare))
	switch {
	case r.WallNanos == 0:
		return "Nothing was measured."
	case r.LostShare < worth:
		return "Nothing to complain about: " + lost + "."
	case r.Fine && len(r.Findings) == 0:
		return "Nothing to complain about: " + lost + ", little by little."
	case r.Fine:
		return "Nothing to complain about: " + lost + ", for data that was needed where it went."
	}
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Complaint })
	f := &r.Findings[i]
	most := "to"
	if f.LostNanos > r.LostNanos/2 {
		most = "most of it to"
	}
	return fmt.Sprintf("%s, %s %s (%s).", lost, most, f.what(), percent(f.LostShare))
}

// what names the cause, "false sharing of []Worker".
func (f *Finding) what() string {
	return causes[f.Class] + " of " + cmp.Or(f.Subject, "region "+f.Region)
}

// causes are the classes as causes of lost time.
var causes = map[sharing.Class]string{
	sharing.Private: "first touches", sharing.FirstTouch: "first touches", sharing.ReadMostly: "first reads",
	sharing.ProducerConsumer: "small transfers", sharing.Migratory: "migration", sharing.Contended: "contention",
	sharing.FalselyShared: "false sharing", sharing.Thrashing: "thrashing", sharing.MisplacedHome: "misplaced homes",
	sharing.LockApart: "data moving apart from its lock",
}

// percent returns a share for people.
func percent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0 %"
	case p < 0.1:
		return "less than 0.1 %"
	case p < 10:
		return fmt.Sprintf("%.1f %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

func nanos(n uint64) time.Duration { return time.Duration(n) }

// Source is what a report is made from: a dsm.Space, or a dsm.Inspector.
type Source interface {
	Status(ctx context.Context) (dsm.Status, error)
	Pages(ctx context.Context, q dsm.PageQuery) ([]dsm.PageStats, error)
	Trace(q dsm.TraceQuery) *dsm.Tracer
}

// kinds are those of the events that predictions rest on.
var kinds = []trace.Kind{trace.Served, trace.Failed, trace.Invalidate, trace.Downgrade, trace.Evict, trace.Flush, trace.Barrier}

// Of returns the report on a space as it is now. Its errors are those of the source.
func Of(ctx context.Context, s Source) (Report, error) {
	st, err := s.Status(ctx) // first, since to look takes time in which nothing is lost
	if err != nil {
		return Report{}, err
	}
	pages, err := s.Pages(ctx, dsm.PageQuery{Page: -1, Top: PagesAtMost})
	if err != nil {
		return Report{}, err
	}
	held, err := s.Trace(dsm.TraceQuery{Page: -1, Kinds: kinds, Held: true}).Next(ctx)
	if err != nil {
		return Report{}, err
	}
	var m trace.Merger
	return New(st, pages, append(m.Add(&held), m.Rest()...)), nil
}
