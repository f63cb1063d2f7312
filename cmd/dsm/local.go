package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/launch"
	"pagemesh/dsm"
)

// localNodes returns the Configs of n nodes on this machine that make up one space: rank 0 founds it at an
// address that the others know. base holds what they have in common; a cluster name and a secret are
// made up where it has none, so that nothing that runs already is met by chance.
func localNodes(n int, base dsm.Config) ([]dsm.Config, error) {
	if base.Cluster == "" {
		base.Cluster = "run-" + rand.Text()[:8]
	}
	if base.Secret == "" {
		base.Secret = rand.Text()
	}
	addrs, err := launch.FreeAddrs(1)
	if err != nil {
		return nil, err
	}
	nodes := make([]dsm.Config, n)
	for rank := range nodes {
		c := base
		c.Rank, c.Members, c.Listen, c.Seeds = rank, n, "127.0.0.1:0", addrs
		if rank == 0 {
			c.Listen, c.Seeds = addrs[0], nil
		}
		nodes[rank] = c
	}
	return nodes, nil
}

// job is one program a node, each with a node in it, that end together.
type job struct {
	nodes          []dsm.Config
	command        []string
	name           string        // of the job, for people
	linger         time.Duration // as the next ones: see launch.Spec
	files          func(rank int) []*os.File
	mapped         bool   // programs map their memory
	report         string // the file for the report on mapped programs, "" if none is wanted
	started        func() // set by mapMemory, and
	dir            string // what is removed in the end
	stdin          *os.File
	stdout, stderr io.Writer
}

// run runs the job until all of it has ended. Its space can be found meanwhile.
func (j *job) run(ctx context.Context, cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	keeper := []string{self, keeperName}
	if j.mapped {
		if err := j.mapMemory(self); err != nil {
			return err
		}
		defer os.RemoveAll(j.dir)
		keeper = append(keeper, j.dir)
	}
	first := j.nodes[0]
	defer announce(cmd, first, first.Listen, j.name)()
	return launch.Run(ctx, launch.Spec{
		Copies:  len(j.nodes),
		Command: j.command,
		Env:     func(rank int) []string { return append(os.Environ(), j.nodes[rank].Environ()...) },
		Files:   j.files,
		Started: j.started,
		Stdin:   j.stdin,
		Stdout:  j.stdout,
		Stderr:  j.stderr,
		Signals: signals,
		Linger:  j.linger,
		Keeper:  keeper,
	})
}

// keeperName is the command that jobs and nodes start to outlive them.
const keeperName = "keep-until-launcher-ends"

// orphaned is the last word of a program that waits for its node, which has ended, and so can't end itself.
const orphaned = "pagemesh: node lost: the node that this program is attached to has ended: this program is killed, " +
	"because it waits for shared memory that can't be reached any more\n"

func newKeeper() *cobra.Command {
	return &cobra.Command{
		Use:    keeperName,
		Hidden: true,
		Run: func(cmd *cobra.Command, dirs []string) {
			launch.Keep(cmd.InOrStdin(), orphaned)
			for _, dir := range dirs {
				_ = os.RemoveAll(dir) // its owner has removed it, unless it was killed
			}
		},
	}
}
