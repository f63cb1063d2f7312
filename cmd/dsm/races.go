package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

const racesLong = `Show the data races of a running space: two nodes that wrote the same bytes of a release
region without a lock or barrier between nodes that orders the two writes. The space must have
been told to look for them: dsm run --detect-races, dsm.Config.DetectRaces.

Each pair of lines is shown once for a region. A line is that of the write by which the node
began to write the page since it last took or gave back a lock: to another word, perhaps.
Not seen are races with reads, those within one node, those in sequential regions, and
writes that leave a byte as it was.

The JSON value is an array of {region, offset, field, first, second, times}; first and
second are {node, line, function}.`

func newRaces() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "races",
		Short: "Show the data races that a running space has found",
		Long:  racesLong + inspectLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, in *dsm.Inspector) (report, error) {
				races, err := in.Races(ctx)
				return racesReport{output.List[dsm.Race]{Columns: raceColumns, Rows: races}}, err
			})
		},
	}
	f.register(cmd)
	return cmd
}

// racesFlag adds the flag that has nodes look for races.
func racesFlag(cmd *cobra.Command, on *bool) {
	cmd.Flags().BoolVar(on, "detect-races", false,
		"look for data races in release regions; see dsm races (environment "+dsm.EnvRaces+")")
}

// racesReport is races as rows.
type racesReport struct{ output.List[dsm.Race] }

func (r racesReport) value() any { return r.Rows }

// WriteTable implements report.
func (r racesReport) WriteTable(w io.Writer, colour bool) error {
	if len(r.Rows) == 0 {
		_, err := fmt.Fprintln(w, "no data race was seen")
		return err
	}
	return r.List.WriteTable(w, colour)
}

var raceColumns = []output.Column[dsm.Race]{
	{Name: "region", Title: "REGION", Text: true, Value: func(r dsm.Race) any { return r.Region }},
	{Name: "offset", Title: "OFFSET", Value: func(r dsm.Race) any { return r.Offset }},
	{Name: "field", Title: "FIELD", Text: true, Value: func(r dsm.Race) any { return r.Field }},
	{Name: "first_node", Title: "NODE", Text: true, Value: func(r dsm.Race) any { return uint32(r.First.Node) }, Show: func(r dsm.Race) string { return r.First.Node.String() }},
	{Name: "first_line", Title: "LINE", Text: true, Value: func(r dsm.Race) any { return r.First.Line }},
	{Name: "first_function", Text: true, Value: func(r dsm.Race) any { return r.First.Function }},
	{Name: "second_node", Title: "NODE", Text: true, Value: func(r dsm.Race) any { return uint32(r.Second.Node) }, Show: func(r dsm.Race) string { return r.Second.Node.String() }},
	{Name: "second_line", Title: "LINE", Text: true, Value: func(r dsm.Race) any { return r.Second.Line }},
	{Name: "second_function", Text: true, Value: func(r dsm.Race) any { return r.Second.Function }},
	{Name: "times", Title: "TIMES", Value: func(r dsm.Race) any { return r.Times }, Show: func(r dsm.Race) string { return output.Count(r.Times) }},
}
