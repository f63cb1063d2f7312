package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
	"pagemesh/pagetable"
)

const locksLong = `Show the locks and barriers of a running space as their homes see them: who holds or
last held a mutex, who reads or writes, who has permits of a semaphore and how many are
free, who waits, how often it was taken; how many have arrived at a barrier; what a
counter or a wait group has come to, and who waits for more or less; who leads, and
who stands for an election; whether something to be done once is done; who waits for
a condition. Below a mutex or
read/write mutex are the goroutines that have it and that wait for it, with their lines,
and who waits for whom if that is a deadlock.
What is taken again where it was last held takes no message, and is not counted.

The JSON value is an array of {name, kind, home, holder, holders, waiting, token, parties,
arrived, permits, free, value, acquires, over, owner_died, broken, users, deadlock}. Of users
each is {node, process, goroutine, line, reads, waits, wait_ns}.`

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
				return locksReport{output.List[dsm.LockStatus]{Columns: lockColumns, Rows: locks, Notes: lockNotes}}, err
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
	{Name: "holders", Text: true, Value: func(l dsm.LockStatus) any { return nodeNumbers(l.Holders) }},
	{Name: "waiting", Title: "WAITING", Text: true, Value: func(l dsm.LockStatus) any { return nodeNumbers(l.Waiting) }, Show: showWaiting},
	{Name: "token", Title: "TOKEN", Value: func(l dsm.LockStatus) any { return l.Token }},
	{Name: "parties", Value: func(l dsm.LockStatus) any { return l.Parties }},
	{Name: "arrived", Title: "ARRIVED", Value: func(l dsm.LockStatus) any { return l.Arrived }, Show: showArrived},
	{Name: "permits", Value: func(l dsm.LockStatus) any { return l.Permits }},
	{Name: "free", Title: "FREE", Value: func(l dsm.LockStatus) any { return l.Free }, Show: showFree},
	{Name: "value", Title: "VALUE", Value: func(l dsm.LockStatus) any { return l.Value }, Show: showValue},
	{Name: "acquires", Title: "TIMES", Value: func(l dsm.LockStatus) any { return l.Acquires }, Show: func(l dsm.LockStatus) string { return output.Count(l.Acquires) }},
	{Name: "over", Value: func(l dsm.LockStatus) any { return l.Over }},
	{Name: "owner_died", Value: func(l dsm.LockStatus) any { return l.OwnerDied }},
	{Name: "broken", Title: "STATE", Text: true, Value: func(l dsm.LockStatus) any { return l.Broken }, Show: showState, Alarm: isInTrouble},
	{Name: "deadlock", Value: func(l dsm.LockStatus) any { return l.Deadlock }},
}

func showHolder(l dsm.LockStatus) string {
	if l.Holder == 0 {
		return nodeNames(l.Holders)
	}
	return l.Holder.String()
}

func showWaiting(l dsm.LockStatus) string { return nodeNames(l.Waiting) }

// nodeNames returns node ids as a table shows them, "n1 n2".
func nodeNames(nodes []pagetable.NodeID) string {
	if len(nodes) == 0 {
		return "-"
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.String())
	}
	return strings.Join(names, " ")
}

func showFree(l dsm.LockStatus) string {
	if l.Permits == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", l.Free, l.Permits)
}

func showArrived(l dsm.LockStatus) string {
	if l.Parties == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", l.Arrived, l.Parties)
}

func showValue(l dsm.LockStatus) string {
	if l.Kind != "counter" && l.Kind != "waitgroup" {
		return "-"
	}
	return fmt.Sprint(l.Value)
}

func isInTrouble(l dsm.LockStatus) bool { return l.Broken || l.OwnerDied || l.Deadlock != "" }

func showState(l dsm.LockStatus) string {
	switch {
	case l.Deadlock != "":
		return "deadlock"
	case l.Broken && l.Parties == 0:
		return "broken: its home was lost"
	case l.Broken:
		return "broken: a party was lost"
	case l.OwnerDied:
		return "owner died"
	case l.Over:
		return "done"
	}
	return "ok"
}

// maxUsers is how many users of a lock a table shows.
const maxUsers = 10

// lockNotes returns a line for each of the first users of a lock, and its deadlock.
func lockNotes(l dsm.LockStatus) []string {
	var lines []string
	for _, u := range l.Users[:min(maxUsers, len(l.Users))] {
		what := "has it since"
		switch {
		case u.Waits && u.Reads:
			what = fmt.Sprintf("waits for %v to read it at", time.Duration(u.Waited).Round(time.Millisecond))
		case u.Waits:
			what = fmt.Sprintf("waits for %v at", time.Duration(u.Waited).Round(time.Millisecond))
		case u.Reads:
			what = "reads it since"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", u.Who(), what, u.Line))
	}
	if more := len(l.Users) - maxUsers; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	if l.Deadlock != "" {
		lines = append(lines, l.Deadlock)
	}
	return lines
}

// nodeNumbers returns node ids as CSV holds them, "1 2".
func nodeNumbers(nodes []pagetable.NodeID) string {
	var l []string
	for _, n := range nodes {
		l = append(l, fmt.Sprint(uint32(n)))
	}
	return strings.Join(l, " ")
}
