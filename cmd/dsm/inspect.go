package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

const inspectLong = `

Which space: the one that --node names, or the environment of a program of a space, or
else the only one that this user runs on this machine. Cluster name and secret of a
space that runs here are found too.

-o json writes exactly one JSON value; with --watch, one a line. -o csv writes one line
for each row, numbers without units, and the names of the columns first.`

// inspectFlags are common to the commands that look into a running space.
type inspectFlags struct {
	space  spaceFlags
	node   string
	format *output.Choice
	watch  time.Duration
}

// defaultWatch is the interval of --watch without a value.
const defaultWatch = time.Second

func (f *inspectFlags) register(cmd *cobra.Command) {
	f.space.register(cmd)
	f.space.registerInsecure(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.node, "node", "", "`address` host:port of a node of the space")
	flags.DurationVarP(&f.watch, "watch", "w", 0, "look again and again; --watch=5s every 5 s")
	flags.Lookup("watch").NoOptDefVal = defaultWatch.String()
	f.format = output.Choose(output.Table, output.JSON, output.CSV)
	formatFlag(cmd, f.format)
}

// formatFlag adds the flag that chooses the format of what a command prints.
func formatFlag(cmd *cobra.Command, c *output.Choice) {
	cmd.Flags().VarP(c, "output", "o", "format")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(c.Of, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

// report is what an inspection found.
type report interface {
	// WriteTable writes it for people, with colour or without.
	WriteTable(w io.Writer, colour bool) error
	// WriteCSV writes rows, after the names of the columns if header is set.
	WriteCSV(w io.Writer, header bool) error
	// value is what JSON holds.
	value() any
}

// run looks into the space once, or with --watch until a signal comes.
func (f *inspectFlags) run(cmd *cobra.Command, look func(context.Context, *dsm.Inspector) (report, error)) error {
	if f.watch < 0 {
		return usagef("--watch=%v: give an interval such as 2s", f.watch)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	in, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer in.Close()
	for first := true; ; first = false {
		r, err := look(ctx, in)
		if ctx.Err() != nil && f.watch > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.print(cmd.OutOrStdout(), r, first); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		if f.watch == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.watch):
		}
	}
}

// print writes a report in one piece. first says that it is the first of those that are watched.
func (f *inspectFlags) print(w io.Writer, r report, first bool) error {
	var b bytes.Buffer
	var err error
	switch {
	case f.format.Value == output.CSV:
		err = r.WriteCSV(&b, first)
	case f.format.Value == output.JSON && f.watch > 0:
		err = output.WriteJSONLine(&b, r.value())
	case f.format.Value == output.JSON:
		err = output.WriteJSON(&b, r.value())
	default:
		if f.watch > 0 && isTerminal(w) {
			b.WriteString(clearScreen)
		} else if !first {
			b.WriteByte('\n')
		}
		err = r.WriteTable(&b, hasColour(w))
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// countColumns returns the columns of what nodes and pages count alike.
func countColumns[T any](counts func(T) dsm.Counts) []output.Column[T] {
	number := func(name, title string, of func(dsm.Counts) uint64, show func(uint64) string) output.Column[T] {
		return output.Column[T]{
			Name: name, Title: title,
			Value: func(row T) any { return of(counts(row)) },
			Show:  func(row T) string { return show(of(counts(row))) },
		}
	}
	stall := func(ns uint64) string { return output.Duration(time.Duration(ns)) }
	return []output.Column[T]{
		number("read_faults", "READS", func(c dsm.Counts) uint64 { return c.ReadFaults }, output.Count),
		number("write_faults", "WRITES", func(c dsm.Counts) uint64 { return c.WriteFaults }, output.Count),
		number("ahead", "", func(c dsm.Counts) uint64 { return c.Ahead }, output.Count),
		number("upgrades", "UPGRADES", func(c dsm.Counts) uint64 { return c.Upgrades }, output.Count),
		number("invalidations", "INVALIDATED", func(c dsm.Counts) uint64 { return c.Invalidations }, output.Count),
		number("moves", "MOVES", func(c dsm.Counts) uint64 { return c.Moves }, output.Count),
		number("evictions", "", func(c dsm.Counts) uint64 { return c.Evictions }, output.Count),
		number("bytes_in", "RECEIVED", func(c dsm.Counts) uint64 { return c.BytesIn }, output.Bytes),
		number("bytes_out", "SENT", func(c dsm.Counts) uint64 { return c.BytesOut }, output.Bytes),
		number("bytes_changed", "", func(c dsm.Counts) uint64 { return c.BytesChanged }, output.Bytes),
		number("stall_ns", "STALL", func(c dsm.Counts) uint64 { return c.StallNanos }, stall),
		number("lost_ns", "", func(c dsm.Counts) uint64 { return c.LostNanos }, stall),
	}
}
