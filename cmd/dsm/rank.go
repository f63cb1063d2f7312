package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/launch"
	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

// rankName is the command that runs one rank of a job whose programs map their memory: a node, in this
// process, and the program that is attached to it.
const rankName = "rank-of-a-job"

// accessFlag adds the flag that says how programs reach memory.
func accessFlag(cmd *cobra.Command) *output.Choice {
	c := output.Choose("mapped", "embedded")
	cmd.Flags().Var(c, "access", "how programs reach memory: mapped into them by a node process of each, or through a node embedded in them")
	return c
}

// mapped reports whether to run programs on mapped memory. Where the user has not chosen, programs run
// embedded if the system can't map, and a line says why.
func mapped(cmd *cobra.Command, c *output.Choice) (bool, error) {
	if c.Value != "mapped" {
		return false, nil
	}
	err := dsm.CanMap()
	switch {
	case err == nil:
		return true, nil
	case cmd.Flags().Changed("access"):
		return false, fmt.Errorf("--access mapped: %w", err)
	}
	cmd.PrintErrln("dsm: running with --access embedded, because", err)
	c.Value = "embedded"
	return false, nil
}

// mapMemory changes a job that runs programs with a node in each into one of nodes with a program each.
// The pipe ends when all programs have: until then their nodes stay.
func (j *job) mapMemory(self string) error {
	running, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	own := func(int) []*os.File { return nil }
	if j.files != nil {
		own = j.files
	}
	j.files = func(rank int) []*os.File { return append(slices.Clone(own(rank)), running, alive) }
	j.command = append([]string{self, rankName, "--files=" + strconv.Itoa(len(own(0))), "--"}, j.command...)
	j.started = func() {
		_ = running.Close()
		_ = alive.Close()
	}
	return nil
}

func newRank() *cobra.Command {
	var files int
	cmd := &cobra.Command{
		Use:    rankName,
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, command []string) error {
			return runRank(cmd, command, files)
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().IntVar(&files, "files", 0, "how many descriptors the program inherits")
	return cmd
}

func runRank(cmd *cobra.Command, command []string, files int) error {
	for fd := range files + 2 {
		syscall.CloseOnExec(3 + fd)
	}
	cfg, err := dsm.ConfigFromEnv()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pagemesh-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg.Serve = filepath.Join(dir, "node")
	cfg.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := dsm.Open(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	err = runProgram(command, cfg, files)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		_ = s.Close()
		_ = os.RemoveAll(dir)
		launch.EndLike(exit)
	}
	if err == nil {
		awaitPrograms(cmd.Context(), s, files)
	}
	return errors.Join(err, s.Close())
}

// runProgram runs the program that is attached to this node.
func runProgram(command []string, cfg dsm.Config, files int) error {
	program := exec.Command(command[0], command[1:]...)
	attached := dsm.Config{Attach: cfg.Serve, Rank: cfg.Rank, Members: cfg.Members, JoinTimeout: cfg.JoinTimeout}
	program.Env = append(os.Environ(), attached.Environ()...)
	program.Stdin, program.Stdout, program.Stderr = os.Stdin, os.Stdout, os.Stderr
	for i := range files {
		program.ExtraFiles = append(program.ExtraFiles, os.NewFile(uintptr(3+i), "inherited"))
	}
	return launch.Child(program, func() {
		for _, f := range program.ExtraFiles {
			_ = f.Close()
		}
	})
}

// awaitPrograms says that this rank's program has ended and waits for the others', or until the node has
// left the space.
func awaitPrograms(ctx context.Context, s *dsm.Space, files int) {
	running, alive := os.NewFile(uintptr(3+files), "running"), os.NewFile(uintptr(4+files), "alive")
	_ = alive.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, running) // nothing is ever written: it ends with the last writer
	}()
	select {
	case <-ended:
	case <-s.Done():
	case <-ctx.Done():
	}
}
