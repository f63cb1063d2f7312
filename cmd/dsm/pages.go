package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

const pagesLong = `Show the pages of a running space that have moved, those first for which programs have
waited longest, with one sentence on each.

Counts are sums over all members. READS and WRITES are faults that needed the page,
UPGRADES writes to a page that was there for reading, INVALIDATED copies given up
because another node wrote, MOVES changes of the writer, STALL the time that faults
waited. The line of a program that was seen waiting most often follows; with --page all
such lines, and the words that each node wrote.

The JSON value is an array of {region, page, offset, size, home, read_faults,
write_faults, ahead, upgrades, invalidations, moves, evictions, bytes_in, bytes_out,
bytes_changed, stall_ns, lost_ns, nodes, writers, sites, types, sharing, verdict, note}; ahead
counts fetches before a program touched the page, evictions copies given up because
memory was short; stall_ns sums all waits, lost_ns shares the time among those that wait
at once; nodes are those that faulted, writers is an array of {node, words, spans} and
spans one of {start, end}, in bytes of the page; sites is an array of {node, line,
function, access, samples, start, end}, of programs that map memory.

types is what programs have said lies in the page, an array of {start, end, stride, type,
heap} in bytes of the region. sharing is what was counted of late: home, asked, queued, and nodes, an array of {node,
read_faults, write_faults, upgrades, returns, eager, tenures, short, copies, brief, taken,
places, under_lock, wait_ns, written, again, read, read_again, lock}. verdict is what
follows: class, proven, confidence, thrashes, home, better_home, lock, writers, readers,
asked, queued, and sum, the counts of all nodes. "go doc pagemesh/dsm/sharing" says what
each of them means.`

// pagesFlags are those of dsm pages.
type pagesFlags struct {
	inspectFlags
	query dsm.PageQuery
}

func newPages() *cobra.Command {
	var f pagesFlags
	cmd := &cobra.Command{
		Use:   "pages",
		Short: "Show the busiest pages of a running space, and why they move",
		Long:  pagesLong + inspectLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return f.run(cmd, f.look)
		},
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.query.Region, "region", "", "only pages of the region of this `name`")
	flags.Int64Var(&f.query.Page, "page", -1, "only the page with this `index`, with what each node wrote in it")
	flags.IntVar(&f.query.Top, "top", 20, "at most `K` pages; 0 for all")
	flags.Lookup("page").DefValue = "all" // -1 is nothing to type
	_ = cmd.RegisterFlagCompletionFunc("region", f.completeRegion)
	return cmd
}

func (f *pagesFlags) check() error {
	switch {
	case f.query.Top < 0:
		return usagef("--top %d: give a number of pages from 1, or 0 for all", f.query.Top)
	case f.query.Page < -1:
		return usagef("--page %d: give the index of a page, from 0", f.query.Page)
	case f.query.Page >= 0 && f.query.Region == "":
		return usagef("--page %d: say of which region with --region", f.query.Page)
	}
	return nil
}

func (f *pagesFlags) look(ctx context.Context, in *dsm.Inspector) (report, error) {
	pages, err := in.Pages(ctx, f.query)
	if err != nil {
		return nil, err
	}
	if len(pages) == 0 && f.query.Region != "" {
		if err := checkRegion(ctx, in, f.query.Region, f.query.Page); err != nil {
			return nil, err
		}
	}
	return pagesReport{output.List[dsm.PageStats]{Columns: pageColumns, Rows: pages, Notes: f.notes}}, nil
}

// pagesReport is pages as rows.
type pagesReport struct{ output.List[dsm.PageStats] }

func (r pagesReport) value() any { return r.Rows }

// WriteTable implements report.
func (r pagesReport) WriteTable(w io.Writer, colour bool) error {
	if len(r.Rows) == 0 {
		_, err := fmt.Fprintln(w, "no page has moved yet")
		return err
	}
	return r.List.WriteTable(w, colour)
}

// notes returns the sentence on a page and the line that waited most often or, if the page was asked for
// alone, all lines and who wrote what.
func (f *pagesFlags) notes(p dsm.PageStats) []string {
	lines := []string{p.Note}
	sites, writers := p.Sites, p.Writers
	if f.query.Page < 0 {
		sites, writers = sites[:min(1, len(sites))], nil
	}
	for _, s := range sites {
		lines = append(lines, fmt.Sprintf("%v: %s at %s in %s, seen waiting %s", s.Node, s.Access, s.Line, s.Function, output.Number(s.Samples, "time")))
	}
	for _, wr := range writers {
		var b strings.Builder
		fmt.Fprintf(&b, "%v wrote %s:", wr.Node, output.Number(uint64(wr.Words), "word"))
		for _, sp := range wr.Spans {
			fmt.Fprintf(&b, " [%d,%d)", sp.Start, sp.End)
		}
		lines = append(lines, b.String())
	}
	return lines
}

var pageColumns = concat(
	[]output.Column[dsm.PageStats]{
		{Name: "region", Title: "PAGE", Text: true, Value: func(p dsm.PageStats) any { return p.Region }, Show: func(p dsm.PageStats) string { return fmt.Sprintf("%s[%d]", p.Region, p.Page) }},
		{Name: "page", Value: func(p dsm.PageStats) any { return p.Page }},
		{Name: "offset", Value: func(p dsm.PageStats) any { return p.Offset }},
		{Name: "size", Value: func(p dsm.PageStats) any { return p.Size }},
		{Name: "home", Title: "HOME", Text: true, Value: func(p dsm.PageStats) any { return uint32(p.Home) }, Show: func(p dsm.PageStats) string { return p.Home.String() }},
	},
	countColumns(func(p dsm.PageStats) dsm.Counts { return p.Counts }),
	[]output.Column[dsm.PageStats]{
		{Name: "nodes", Value: func(p dsm.PageStats) any { return nodeNumbers(p.Nodes) }},
		{Name: "writers", Value: func(p dsm.PageStats) any { return writerList(p) }},
		{Name: "sites", Value: func(p dsm.PageStats) any { return siteList(p) }},
		{Name: "class", Value: func(p dsm.PageStats) any { return p.Verdict.Class.String() }},
		{Name: "note", Value: func(p dsm.PageStats) any { return p.Note }},
	},
)

// siteList returns where programs waited for a page, and how often, "main.go:12:8 main.go:20:1".
func siteList(p dsm.PageStats) string {
	var l []string
	for _, s := range p.Sites {
		l = append(l, fmt.Sprintf("%s:%d", s.Line, s.Samples))
	}
	return strings.Join(l, " ")
}

// writerList returns who changed a page, and how many words, "1:8 2:512".
func writerList(p dsm.PageStats) string {
	var l []string
	for _, w := range p.Writers {
		l = append(l, fmt.Sprintf("%d:%d", uint32(w.Node), w.Words))
	}
	return strings.Join(l, " ")
}
