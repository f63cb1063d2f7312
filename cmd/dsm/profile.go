package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	pprof "github.com/google/pprof/profile"
	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm/profile"
)

const profileLong = `Write a profile of a running space for go tool pprof: which lines wait for pages, how often,
how long, and for how many bytes. It covers the time from now until --for has passed or an
interrupt; with --held, what the nodes have kept of the time before.

Each sample has the labels region, page, field, access, class, node and peer; see pprof's
-tags, -tagfocus and -tagroot. Fields have names where programs have said of what types
their regions are.`

const profileWhich = `

Which space: see dsm status --help.`

// profileFlags are those of dsm profile.
type profileFlags struct {
	inspectFlags
	region string
	held   bool
	length time.Duration
	file   string
}

func newProfile() *cobra.Command {
	var f profileFlags
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Write a profile of the lines that wait for pages, for go tool pprof",
		Long:  profileLong + profileWhich,
		Example: `  dsm profile --for 5s; go tool pprof -top dsm.pprof
  dsm profile --write new.pprof; go tool pprof -http : -diff_base old.pprof new.pprof
  go tool pprof -top -sample_index bytes -tagroot page dsm.pprof`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.space.register(cmd)
	f.space.registerInsecure(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.node, "node", "", "`address` host:port of a node of the space")
	flags.StringVar(&f.region, "region", "", "only pages of the region of this `name`")
	flags.DurationVar(&f.length, "for", 10*time.Second, "how much `time` to look at")
	flags.BoolVar(&f.held, "held", false, "profile what the nodes have kept, and end")
	flags.StringVar(&f.file, "write", "dsm.pprof", "`file` to write")
	cmd.MarkFlagsMutuallyExclusive("for", "held")
	return cmd
}

func (f *profileFlags) run(cmd *cobra.Command) error {
	switch {
	case f.held:
		f.length = 0
	case f.length <= 0:
		return usagef("--for %v: give a time such as 5s", f.length)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	in, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer in.Close()
	p, err := profile.Collect(ctx, in, f.region, f.length)
	if err != nil {
		return err
	}
	if err := writeProfile(f.file, p); err != nil {
		return err
	}
	cmd.PrintErrf("dsm: %s in %s; see them with go tool pprof -top %s\n", waits(p), f.file, f.file)
	return nil
}

// waits describes all samples of a profile.
func waits(p *pprof.Profile) string {
	var faults, wait int64
	for _, s := range p.Sample {
		faults, wait = faults+s.Value[0], wait+s.Value[2]
	}
	return fmt.Sprintf("%s of %s in all", output.Number(uint64(faults), "wait"), output.Duration(time.Duration(wait)))
}

func writeProfile(name string, p *pprof.Profile) error {
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	err = p.Write(w)
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write profile %s: %w", name, err)
	}
	return nil
}

// profiled calls run, and writes a profile of the time that it takes.
func profiled(ctx context.Context, from profile.Source, name string, run func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var p *pprof.Profile
	done := make(chan error)
	go func() {
		var err error
		p, err = profile.Collect(ctx, from, "", time.Hour)
		done <- err
	}()
	err := run()
	stop()
	if collected := <-done; err == nil && collected == nil {
		return writeProfile(name, p)
	} else if err == nil {
		err = fmt.Errorf("profile: %w", collected)
	}
	return err
}
