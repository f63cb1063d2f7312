package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

const rootLong = `Pagemesh gives the nodes of a cluster one shared address space made of pages.
dsm runs programs that use it, runs benchmark workloads, and shows which pages
of a running space move and why.

Exit status: 0 if all went well, 2 if the command line is wrong, 1 for any other
failure; "dsm run" returns the status of the program that failed. An error is one
line on standard error that says what to do about it.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "dsm",
		Short:         "Distributed shared memory: run it, measure it, look into it",
		Long:          rootLong,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(newHelp())
	root.AddCommand(newRun(), newNode(), newBench(), newStatus(), newPages(), newReport(), newLocks(), newRaces(), newProfile(), newTrace(), newCompletion(), newVersion(), newKeeper(), newRank())
	return root
}

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, rest)
			}
			return about.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			about, _, _ := cmd.Root().Find(args)
			return commandNames(about), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// execute runs the command line and returns the exit status.
func execute(root *cobra.Command, args []string) (status int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintln(os.Stderr, "dsm: "+describePanic(p, debug.Stack()))
			status = statusFailed
		}
	}()
	root.SetArgs(args)
	status, line := describe(root.ExecuteContext(context.Background()))
	if line != "" {
		fmt.Fprintln(os.Stderr, "dsm: "+line)
	}
	return status
}
