package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
	findings "pagemesh/dsm/report"
)

const reportLong = `Say what a running space loses to page traffic, why, and what to do about it: first the
verdict, then what costs most, with the bytes that each node uses by field and line, the
cure, and how sure that is. Counted is since the nodes were started.

The JSON value is an object: verdict, fine, lost_share, lost_ns, wall_ns, rest_ns; nodes,
an array of {node, rank, lost_ns, wall_ns}; findings, an array of {title, class, complaint,
region, pages, subject, lost_ns, share, faults, bytes_moved, bytes_changed, amplification,
proven, confidence, evidence, parts, cures}. fine says that there is nothing to complain
about; shares are from 0 to 1, of wall_ns, the time of all nodes together; rest_ns is what
was lost to what is no finding; pages are indexes, the worst first, and parts are about
that one: an array of {node, reads, writes, wait_ns, uses, more, lines}, where uses is one
of {access, start, end, name, lines} in bytes of the page, more says how many are left
out, and lines is one of {line, function, access, samples}; cures is an array of {kind,
text, gain}, gain one of {share, waits}, the share of the time that it saves as waits that
were recorded say, or null if that can't be told. CSV has one line for each finding.`

func newReport() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Say what page traffic costs a running space, why, and what to change",
		Long:  reportLong + inspectLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, in *dsm.Inspector) (report, error) {
				r, err := findings.Of(ctx, in)
				return trafficReport{r}, err
			})
		},
	}
	f.register(cmd)
	return cmd
}

// trafficReport is a report on page traffic.
type trafficReport struct{ findings.Report }

func (r trafficReport) value() any { return r.Report }

// WriteTable implements report.
func (r trafficReport) WriteTable(w io.Writer, _ bool) error {
	_, err := r.WriteTo(w)
	return err
}

// WriteCSV implements report.
func (r trafficReport) WriteCSV(w io.Writer, header bool) error {
	list := output.List[findings.Finding]{Columns: findingColumns, Rows: r.Findings}
	return list.WriteCSV(w, header)
}

var findingColumns = []output.Column[findings.Finding]{
	{Name: "class", Value: func(f findings.Finding) any { return f.Class.String() }},
	{Name: "region", Value: func(f findings.Finding) any { return f.Region }},
	{Name: "page", Value: func(f findings.Finding) any { return f.Pages[0] }},
	{Name: "pages", Value: func(f findings.Finding) any { return len(f.Pages) }},
	{Name: "subject", Value: func(f findings.Finding) any { return f.Subject }},
	{Name: "complaint", Value: func(f findings.Finding) any { return f.Complaint }},
	{Name: "lost_ns", Value: func(f findings.Finding) any { return f.LostNanos }},
	{Name: "share", Value: func(f findings.Finding) any { return f.LostShare }},
	{Name: "faults", Value: func(f findings.Finding) any { return f.Faults }},
	{Name: "bytes_moved", Value: func(f findings.Finding) any { return f.BytesMoved }},
	{Name: "bytes_changed", Value: func(f findings.Finding) any { return f.BytesChanged }},
	{Name: "confidence", Value: func(f findings.Finding) any { return f.Confidence }},
	{Name: "title", Value: func(f findings.Finding) any { return f.Title }},
}
