package report

import (
	"cmp"
	"fmt"
	"slices"

	"pagemesh/dsm"
	"pagemesh/dsm/layout"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// Part is what one node does with a page, of late.
type Part struct {
	Node      pagetable.NodeID `json:"node"`
	Reads     uint64           `json:"reads"`  // that had to wait
	Writes    uint64           `json:"writes"` // that had to wait, upgrades included
	WaitNanos uint64           `json:"wait_ns"`
	Uses      []Use            `json:"uses"`
	// More is how many uses are left out, and Lines are those of which it isn't known what they use.
	More  int    `json:"more"`
	Lines []Line `json:"lines"`
}

// Use is a run of bytes that a node uses.
type Use struct {
	Access string `json:"access"` // "write", or "read": at which reads began
	Start  int    `json:"start"`  // offset in the page
	End    int    `json:"end"`
	Name   string `json:"name"`  // of what lies there, "[]Worker[17].hits"; "" if nobody has said
	Lines  []Line `json:"lines"` // of programs that use it
}

// Line is a line of a program that waited for the page.
type Line struct {
	Line     string `json:"line"` // "file:line"
	Function string `json:"function"`
	Access   string `json:"access"` // "read" or "write"
	Samples  uint64 `json:"samples"`
}

// usesAtMost is how many uses of a node are told.
const usesAtMost = 4

// parts returns who uses what of a page, those that wait longest first.
func parts(p *dsm.PageStats) []Part {
	list := []Part{}
	names := layout.NamesOf(p.Types)
	for _, n := range p.Sharing.Nodes {
		part := Part{Node: n.Node, Reads: n.ReadFaults, Writes: n.WriteFaults + n.Upgrades, WaitNanos: n.WaitNanos, Uses: []Use{}, Lines: []Line{}}
		part.add(p, names, "write", orAll(n.Again, n.Written))
		part.add(p, names, "read", orAll(n.ReadAgain, n.Read))
		part.addLines(p)
		list = append(list, part)
	}
	slices.SortFunc(list, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.WaitNanos, a.WaitNanos), cmp.Compare(a.Node, b.Node))
	})
	return list
}

// parts returns who uses what of the worst page. Lines that wait for the others are told with it.
func (g *group) parts() []Part {
	list := parts(g.worst())
	for _, p := range g.pages[1:] {
		for _, s := range p.Sites {
			if i := slices.IndexFunc(list, func(pt Part) bool { return pt.Node == s.Node }); i >= 0 {
				list[i].addLine(s)
			}
		}
	}
	return list
}

// addLine adds a line that waits for another page of the group, unless the node's part names it.
func (pt *Part) addLine(s dsm.SiteStats) {
	is := func(l Line) bool { return l.Line == s.Line && l.Access == s.Access }
	if len(pt.Lines) < linesAtMost && !slices.ContainsFunc(pt.Lines, is) &&
		!slices.ContainsFunc(pt.Uses, func(u Use) bool { return slices.ContainsFunc(u.Lines, is) }) {
		pt.Lines = append(pt.Lines, Line{s.Line, s.Function, s.Access, s.Samples})
	}
}

// orAll returns what recurs, or everything if nothing does.
func orAll(again, all []sharing.Span) []sharing.Span {
	if len(again) > 0 {
		return again
	}
	return all
}

func (pt *Part) add(p *dsm.PageStats, names layout.Names, access string, spans []sharing.Span) {
	for i, sp := range spans {
		if i == usesAtMost {
			pt.More += len(spans) - i
			return
		}
		start, end := min(p.Offset+uint64(sp.Start), p.Offset+uint64(p.Size)), p.Offset+uint64(sp.End)
		pt.Uses = append(pt.Uses, Use{Access: access, Start: sp.Start, End: sp.End, Name: names.Span(start, end), Lines: []Line{}})
	}
}

// addLines gives each line to the uses that it may be of.
func (pt *Part) addLines(p *dsm.PageStats) {
	for _, s := range p.Sites {
		if s.Node != pt.Node {
			continue
		}
		line := Line{s.Line, s.Function, s.Access, s.Samples}
		placed := false
		for i := range pt.Uses {
			if u := &pt.Uses[i]; u.Access == s.Access && s.Start < u.End && u.Start < s.End {
				u.Lines = append(u.Lines, line)
				placed = true
			}
		}
		if !placed {
			pt.Lines = append(pt.Lines, line)
		}
	}
}

// where returns "[136,144)", and the name if there is one.
func (u *Use) where() string {
	s := fmt.Sprintf("[%d,%d)", u.Start, u.End)
	if u.Name != "" {
		s += " " + u.Name
	}
	return s
}
