package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

const statusLong = `Show the members of a running space, its regions, and what each member has counted.

Mapped memory is trapped in full mode or in user mode, in which a system call on a page
that is not here fails with EFAULT: what the system allows is used.

The JSON value is an object: cluster, node, addr, access, traps, epoch, coordinator;
members, an array of {node, addr, incarnation, rank, state}; regions, an array of {name, id,
base, size, page_size, placement, consistency, layout}; nodes, an array of {node, rank,
read_faults, write_faults, ahead, upgrades, invalidations, moves, evictions, bytes_in, bytes_out,
bytes_changed, stall_ns, lost_ns, messages_in, messages_out, wire_bytes_in, wire_bytes_out,
wall_ns} of the members that answered; stall_ns sums all waits, lost_ns is the part of
wall_ns in which somebody waited. CSV has one line for each member.`

func newStatus() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the members, regions and totals of a running space",
		Long:  statusLong + inspectLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, in *dsm.Inspector) (report, error) {
				st, err := in.Status(ctx)
				return newStatusReport(st), err
			})
		},
	}
	f.register(cmd)
	return cmd
}

// memberRow is a member with what it has counted, zero if it did not answer.
type memberRow struct {
	dsm.MemberStatus
	stats dsm.NodeStats
}

var memberColumns = concat(
	[]output.Column[memberRow]{
		{Name: "node", Title: "NODE", Text: true, Value: func(m memberRow) any { return uint32(m.Node) }, Show: func(m memberRow) string { return m.Node.String() }},
		{Name: "rank", Title: "RANK", Value: func(m memberRow) any { return m.Rank }},
		{Name: "addr", Title: "ADDRESS", Text: true, Value: func(m memberRow) any { return m.Addr }},
		{Name: "state", Title: "STATE", Text: true, Value: func(m memberRow) any { return m.State }},
	},
	countColumns(func(m memberRow) dsm.Counts { return m.stats.Counts }),
	[]output.Column[memberRow]{
		{Name: "messages_in", Value: func(m memberRow) any { return m.stats.MessagesIn }},
		{Name: "messages_out", Title: "MESSAGES", Value: func(m memberRow) any { return m.stats.MessagesOut }, Show: func(m memberRow) string { return output.Count(m.stats.MessagesOut) }},
		{Name: "wire_bytes_in", Value: func(m memberRow) any { return m.stats.WireIn }},
		{Name: "wire_bytes_out", Title: "ON WIRE", Value: func(m memberRow) any { return m.stats.WireOut }, Show: func(m memberRow) string { return output.Bytes(m.stats.WireOut) }},
	},
)

var regionColumns = []output.Column[dsm.RegionStatus]{
	{Title: "REGION", Text: true, Value: func(r dsm.RegionStatus) any { return r.Name }},
	{Title: "SIZE", Value: func(r dsm.RegionStatus) any { return output.Bytes(r.Size) }},
	{Title: "PAGE SIZE", Value: func(r dsm.RegionStatus) any { return output.Bytes(uint64(r.PageSize)) }},
	{Title: "CONSISTENCY", Text: true, Value: func(r dsm.RegionStatus) any { return r.Consistency }},
	{Title: "BASE", Text: true, Value: func(r dsm.RegionStatus) any { return r.Base }},
	{Title: "TYPE", Text: true, Value: func(r dsm.RegionStatus) any { return cmp.Or(r.Layout, "-") }},
	{Title: "HOMES", Text: true, Value: func(r dsm.RegionStatus) any { return r.Placement }},
}

// statusReport is a Status as rows of members.
type statusReport struct {
	output.List[memberRow]
	status dsm.Status
}

func newStatusReport(st dsm.Status) statusReport {
	r := statusReport{output.List[memberRow]{Columns: memberColumns}, st}
	for _, m := range st.Members {
		row := memberRow{MemberStatus: m}
		for _, s := range st.Nodes {
			if s.Node == m.Node {
				row.stats = s
			}
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

func (r statusReport) value() any { return r.status }

// WriteTable implements report.
func (r statusReport) WriteTable(w io.Writer, colour bool) error {
	st := r.status
	access := st.Access
	if st.Traps != "" {
		access += " (" + st.Traps + ")"
	}
	fmt.Fprintf(w, "cluster %s, epoch %d, coordinator %v, %s access; seen from %v at %s\n\n",
		st.Cluster, st.Epoch, st.Coordinator, access, st.Node, st.Addr)
	if err := r.List.WriteTable(w, colour); err != nil || len(st.Regions) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return output.List[dsm.RegionStatus]{Columns: regionColumns, Rows: st.Regions}.WriteTable(w, colour)
}

func concat[T any](lists ...[]T) []T {
	var all []T
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
