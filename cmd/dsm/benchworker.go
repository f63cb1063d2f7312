package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"pagemesh/bench"
	"pagemesh/cmd/dsm/internal/launch"
	"pagemesh/dsm"
)

// workerName is the command below bench that runs one rank.
const workerName = "worker"

// resultsFile is the descriptor, inherited, on which rank 0 writes one JSON value for each result.
const resultsFile = 3

func newBenchWorker() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:    workerName,
		Hidden: true,
		RunE: func(cmd *cobra.Command, names []string) error {
			cfg, err := dsm.ConfigFromEnv()
			if err != nil {
				return err
			}
			specs, err := f.specs(names, cfg.Members)
			if err != nil {
				return err
			}
			cfg.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			return f.work(cmd.Context(), cfg, specs)
		},
	}
	f.register(cmd)
	return cmd
}

// work runs one rank of the specs.
func (f *benchFlags) work(ctx context.Context, cfg dsm.Config, specs []bench.Spec) error {
	s, err := dsm.Open(ctx, cfg)
	if err != nil {
		return err
	}
	out := json.NewEncoder(launch.Inherited(resultsFile, "results"))
	var writing error
	j := bench.Job{Space: s, Ranks: cfg.Members, Specs: specs, Report: f.report, DetectRaces: cfg.DetectRaces, Emit: func(r bench.Result) {
		writing = errors.Join(writing, out.Encode(r))
	}}
	defer leaveOnTerm(&j)()
	if run := func() error { return j.Run(ctx) }; f.profile != "" && cfg.Rank == 0 {
		err = profiled(ctx, s, f.profile, run)
	} else {
		err = run()
	}
	return errors.Join(err, writing, s.Close())
}
