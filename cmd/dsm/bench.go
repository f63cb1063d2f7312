package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pagemesh/bench"
	"pagemesh/cmd/dsm/internal/output"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "List and run benchmark workloads",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchList(), newBenchRun(), newBenchWorker())
	return cmd
}

const benchListLong = `List the workloads with what they show and how they share memory.

The JSON value is an array of {name, suite, purpose, sharing, classes, size,
reads_input, default, min_nodes, mapped}; the first class, or the size, is what is run unless
another is named, and size is 0 where there are classes. mapped ones need mapped memory.`

// workload is a bench.Workload as JSON has it.
type workload struct {
	Name       string   `json:"name"`
	Suite      string   `json:"suite"`
	Purpose    string   `json:"purpose"`
	Sharing    string   `json:"sharing"`
	Classes    []string `json:"classes"`
	Size       int      `json:"size"`
	ReadsInput bool     `json:"reads_input"`
	Default    bool     `json:"default"`
	MinNodes   int      `json:"min_nodes"`
	Mapped     bool     `json:"mapped"`
}

var workloadColumns = []output.Column[workload]{
	{Name: "name", Title: "WORKLOAD", Text: true, Value: func(w workload) any { return w.Name }},
	{Name: "suite", Title: "SUITE", Text: true, Value: func(w workload) any { return w.Suite }},
	{Name: "classes", Title: "CLASSES", Text: true, Value: func(w workload) any { return strings.Join(w.Classes, " ") }},
	{Name: "size", Title: "SIZE", Value: func(w workload) any { return w.Size }, Show: showSize},
	{Name: "default", Title: "DEFAULT", Text: true, Value: func(w workload) any { return w.Default }, Show: showDefault},
	{Name: "purpose", Title: "PURPOSE", Text: true, Value: func(w workload) any { return w.Purpose }},
	{Name: "sharing", Value: func(w workload) any { return w.Sharing }},
	{Name: "reads_input", Value: func(w workload) any { return w.ReadsInput }},
	{Name: "min_nodes", Value: func(w workload) any { return w.MinNodes }},
	{Name: "mapped", Value: func(w workload) any { return w.Mapped }},
}

func showDefault(w workload) string {
	if w.Default {
		return "yes"
	}
	return ""
}

func showSize(w workload) string {
	if w.Size == 0 {
		return ""
	}
	return strconv.Itoa(w.Size)
}

func newBenchList() *cobra.Command {
	format := output.Choose(output.Table, output.JSON, output.CSV)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the workloads",
		Long:  benchListLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listWorkloads(cmd.OutOrStdout(), format.Value)
		},
	}
	formatFlag(cmd, format)
	return cmd
}

func listWorkloads(w io.Writer, format string) error {
	list := output.List[workload]{Columns: workloadColumns}
	for _, b := range bench.List() {
		list.Rows = append(list.Rows, workload{
			b.Name, b.Suite, b.Purpose, b.Sharing, append([]string{}, b.Classes...), b.Size, b.Reads, b.Default, b.MinRanks,
			b.Mapped,
		})
	}
	switch format {
	case output.JSON:
		return output.WriteJSON(w, list.Rows)
	case output.CSV:
		return list.WriteCSV(w, true)
	}
	list.Notes = func(w workload) []string { return []string{w.Sharing} }
	return list.WriteTable(w, hasColour(w))
}

// workloadNames returns the names of all workloads.
func workloadNames() []string {
	var names []string
	for _, w := range bench.List() {
		names = append(names, w.Name)
	}
	return names
}
