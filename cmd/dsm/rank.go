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

// mapMemory changes a job that runs programs with a node in each into one of nodes with a program each,
// which attaches to its node at a socket in j.dir. The pipe ends when all programs have: until then their
// nodes stay.
func (j *job) mapMemory(self string) error {
	if _, err := launch.Find(j.command[0]); err != nil {
		return err
	}
	running, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	if j.dir, err = os.MkdirTemp(socketBase(), "pagemesh-"); err != nil {
		return err
	}
	own := func(int) []*os.File { return nil }
	if j.files != nil {
		own = j.files
	}
	j.files = func(rank int) []*os.File { return append(slices.Clone(own(rank)), running, alive) }
	flags := []string{"--files=" + strconv.Itoa(len(own(0))), "--sockets=" + j.dir, "--report=" + j.report, "--"}
	j.command = slices.Concat([]string{self, rankName}, flags, j.command)
	j.started = func() {
		_ = running.Close()
		_ = alive.Close()
	}
	return nil
}

// socketBase returns the directory for temporary files, or the system's if the path of a socket below it
// would have more bytes than sockets take.
func socketBase() string {
	const longest = 80
	if dir := os.TempDir(); len(dir) <= longest {
		return dir
	}
	return "/tmp"
}

// rankFlags are those of the command that runs one rank.
type rankFlags struct {
	files   int    // how many descriptors the program inherits
	sockets string // the directory of the nodes' sockets
	report  string // the file for the report, "" if none is wanted
}

func newRank() *cobra.Command {
	var f rankFlags
	cmd := &cobra.Command{
		Use:    rankName,
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, command []string) error {
			return f.run(cmd, command)
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().IntVar(&f.files, "files", 0, "")
	cmd.Flags().StringVar(&f.sockets, "sockets", "", "")
	cmd.Flags().StringVar(&f.report, "report", "", "")
	return cmd
}

func (f *rankFlags) run(cmd *cobra.Command, command []string) error {
	var inherited []*os.File // by the program
	for i := range f.files {
		inherited = append(inherited, launch.Inherited(3+i, "inherited"))
	}
	running, alive := launch.Inherited(3+f.files, "running"), launch.Inherited(4+f.files, "alive")
	cfg, err := dsm.ConfigFromEnv()
	if err != nil {
		return err
	}
	cfg.Serve = filepath.Join(f.sockets, strconv.Itoa(cfg.Rank))
	cfg.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := dsm.Open(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	err = runProgram(command, cfg, inherited)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		launch.EndLike(exit) // without a word to the others, or they end first and are taken for the culprit
	}
	if err == nil {
		_ = alive.Close()
		awaitPrograms(cmd.Context(), s, running)
		if f.report != "" {
			f.writeReport(cmd.Context(), s, cfg.Members)
		}
	}
	return errors.Join(err, s.Close())
}

// runProgram runs the program that is attached to this node.
func runProgram(command []string, cfg dsm.Config, files []*os.File) error {
	program := exec.Command(command[0], command[1:]...)
	attached := dsm.Config{
		Attach: cfg.Serve, Rank: cfg.Rank, Members: cfg.Members, JoinTimeout: cfg.JoinTimeout, DetectRaces: cfg.DetectRaces,
	}
	program.Env = append(os.Environ(), attached.Environ()...)
	program.Stdin, program.Stdout, program.Stderr = os.Stdin, os.Stdout, os.Stderr
	program.ExtraFiles = files
	return launch.Child(program, func() {
		for _, f := range files {
			_ = f.Close()
		}
	})
}

// awaitPrograms returns when the programs of all ranks have ended, or the node has left the space. running
// ends with the last of them: nothing is ever written to it.
func awaitPrograms(ctx context.Context, s *dsm.Space, running *os.File) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, running)
	}()
	select {
	case <-ended:
	case <-s.Done():
	case <-ctx.Done():
	}
}
