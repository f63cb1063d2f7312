package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

const runLong = `Run N copies of a program on this machine, each with a node of one space: in a process of
its own, so that the program uses shared memory by ordinary loads and stores, or, with
--access embedded, in the program.

PROG is any program that calls dsm.Open with the Config of dsm.ConfigFromEnv: the
copies' environment says how to find each other, which copy is which (` + dsm.EnvRank + `,
from 0) and how many there are (` + dsm.EnvMembers + `). Cluster name and secret are made up
unless given. Standard input goes to rank 0.

Output comes line by line, marked with the rank: "[2] text". Signals are passed on; a
second one kills. When one copy fails the others are ended, the failing one is named,
and its status is returned. Nothing is left behind, not even if dsm is killed.

--report says on standard error what page traffic has cost, as "dsm report" does. With
--access embedded it is what was known a quarter of a second before the end.`

// defaultNodes is how many nodes there are unless the user says.
const defaultNodes = 4

// lossReport is how long the others may go on after one was lost, to say what they saw of it.
const lossReport = 2 * time.Second

// runFlags are those of dsm run.
type runFlags struct {
	space   spaceFlags
	nodes   int
	access  *output.Choice
	timeout time.Duration
	report  bool
	races   bool
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run -n N [flags] -- PROG [ARGS...]",
		Short: "Run copies of a program that share memory",
		Long:  runLong,
		Example: `  dsm run -n 4 -- ./program -size 1024
  dsm run -n 4 -- go run ./program`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("no program is given: dsm run -n 4 -- PROG ARGS")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.space.register(cmd)
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows PROG is for PROG
	nodesFlag(cmd, &f.nodes)
	f.access = accessFlag(cmd)
	flags.DurationVar(&f.timeout, "join-timeout", time.Minute, "how long the first copy waits for the last")
	flags.BoolVar(&f.report, "report", false, "say in the end what page traffic has cost, why, and what to change")
	racesFlag(cmd, &f.races)
	return cmd
}

// nodesFlag adds the flag that says how many nodes there are.
func nodesFlag(cmd *cobra.Command, n *int) {
	cmd.Flags().IntVarP(n, "nodes", "n", defaultNodes, "`number` of nodes")
}

// maxNodes bounds -n: each node is a process, and each two have a connection.
const maxNodes = 256

func checkNodes(n int) error {
	if n < 1 || n > maxNodes {
		return usagef("-n %d: give a number of nodes from 1 to %d", n, maxNodes)
	}
	return nil
}

func (f *runFlags) run(cmd *cobra.Command, command []string) error {
	if err := checkNodes(f.nodes); err != nil {
		return err
	}
	if f.timeout <= 0 {
		return usagef("--join-timeout %v: give a duration such as 30s", f.timeout)
	}
	cfg, err := f.space.config()
	if err != nil {
		return err
	}
	nodes, err := localNodes(f.nodes, dsm.Config{
		Cluster: cfg.Cluster, Secret: cfg.Secret, JoinTimeout: f.timeout, DeadlockAfter: cfg.DeadlockAfter,
		DetectRaces: f.races || cfg.DetectRaces,
	})
	if err != nil {
		return err
	}
	maps, err := mapped(cmd, f.access)
	if err != nil {
		return err
	}
	j := job{
		mapped: maps, nodes: nodes, command: command, name: strings.Join(command, " "), linger: lossReport,
		stdin: os.Stdin, stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(),
	}
	if !f.report {
		return j.run(cmd.Context(), cmd)
	}
	r, err := reportOn(cmd.Context(), &j)
	if err != nil {
		return err
	}
	defer r.print(cmd)
	return j.run(cmd.Context(), cmd)
}
