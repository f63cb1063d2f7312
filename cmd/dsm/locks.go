package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
	"pagemesh/pagetable"
)

const locksLong = `Show the locks and barriers of a running space as their homes see them: who holds or
last held a mutex, who waits, how often it was taken; how many have arrived at a barrier.
A mutex that is taken again where it was last held takes no message, and is not counted.

The JSON value is an array of {name, kind, home, holder, waiting, token, parties,
arrived, acquires, owner_died, broken}.`

func newLocks() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "locks",
		Short: "Show the locks and barriers of a running space",
		Long:  locksLong + inspectLong,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context, in *dsm.Inspector) (report, error) {
				locks, err := in.Locks(ctx)
				return locksReport{output.List[dsm.LockStatus]{Columns: lockColumns, Rows: locks}}, err
			})
		},
	}
	f.register(cmd)
	return cmd
}

// locksReport is locks as rows.
type locksReport struct{ output.List[dsm.LockStatus] }

func (r locksReport) value() any { return r.Rows }

// WriteTable implements report.
func (r locksReport) WriteTable(w io.Writer, colour bool) error {
	if len(r.Rows) == 0 {
		_, err := fmt.Fprintln(w, "no lock or barrier has been used yet")
		return err
	}
	return r.List.WriteTable(w, colour)
}

var lockColumns = []output.Column[dsm.LockStatus]{
	{Name: "name", Title: "NAME", Text: true, Value: func(l dsm.LockStatus) any { return l.Name }},
	{Name: "kind", Title: "KIND", Text: true, Value: func(l dsm.LockStatus) any { return l.Kind }},
	{Name: "home", Title: "HOME", Text: true, Value: func(l dsm.LockStatus) any { return uint32(l.Home) }, Show: func(l dsm.LockStatus) string { return l.Home.String() }},
	{Name: "holder", Title: "HOLDER", Text: true, Value: func(l dsm.LockStatus) any { return uint32(l.Holder) }, Show: showHolder},
	{Name: "waiting", Title: "WAITING", Text: true, Value: func(l dsm.LockStatus) any { return nodeNumbers(l.Waiting) }, Show: showWaiting},
	{Name: "token", Title: "TOKEN", Value: func(l dsm.LockStatus) any { return l.Token }},
	{Name: "parties", Value: func(l dsm.LockStatus) any { return l.Parties }},
	{Name: "arrived", Title: "ARRIVED", Value: func(l dsm.LockStatus) any { return l.Arrived }, Show: showArrived},
	{Name: "acquires", Title: "TIMES", Value: func(l dsm.LockStatus) any { return l.Acquires }, Show: func(l dsm.LockStatus) string { return output.Count(l.Acquires) }},
	{Name: "owner_died", Value: func(l dsm.LockStatus) any { return l.OwnerDied }},
	{Name: "broken", Title: "STATE", Text: true, Value: func(l dsm.LockStatus) any { return l.Broken }, Show: showState, Alarm: func(l dsm.LockStatus) bool { return l.Broken || l.OwnerDied }},
}

func showHolder(l dsm.LockStatus) string {
	if l.Holder == 0 {
		return "-"
	}
	return l.Holder.String()
}

func showWaiting(l dsm.LockStatus) string {
	if len(l.Waiting) == 0 {
		return "-"
	}
	var names []string
	for _, n := range l.Waiting {
		names = append(names, n.String())
	}
	return strings.Join(names, " ")
}

func showArrived(l dsm.LockStatus) string {
	if l.Parties == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", l.Arrived, l.Parties)
}

func showState(l dsm.LockStatus) string {
	switch {
	case l.Broken:
		return "broken: a party was lost"
	case l.OwnerDied:
		return "owner died"
	}
	return "ok"
}

// nodeNumbers returns node ids as CSV holds them, "1 2".
func nodeNumbers(nodes []pagetable.NodeID) string {
	var l []string
	for _, n := range nodes {
		l = append(l, fmt.Sprint(uint32(n)))
	}
	return strings.Join(l, " ")
}
