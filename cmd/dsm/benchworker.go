package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/bench"
	"pagemesh/dsm"
)

// workerName is the command below bench that runs one rank.
const workerName = "worker"

// Descriptors that a worker inherits.
const (
	resultsFile = 3 // rank 0 writes one JSON value for each result
	doneFile    = 4 // a worker closes it when it has done its part
	allDoneFile = 5 // ends when all workers have
)

// pipe is its two ends.
type pipe struct{ r, w *os.File }

// workerPipes are what connects dsm bench run with its workers, and them with each other.
type workerPipes struct {
	results pipe
	// done is held open by every worker that has not done its part, so that it ends with the last: no
	// node goes while another may still need it.
	done pipe
}

func newWorkerPipes() (*workerPipes, error) {
	var p workerPipes
	var err error
	if p.results.r, p.results.w, err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.done.r, p.done.w, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, p.results.r.Close(), p.results.w.Close())
	}
	return &p, nil
}

// inherited returns the files of a worker, from descriptor 3.
func (p *workerPipes) inherited(int) []*os.File {
	return []*os.File{p.results.w, p.done.w, p.done.r}
}

// started closes what only workers hold open from now on.
func (p *workerPipes) started() {
	_ = p.done.r.Close()
	_ = p.done.w.Close()
}

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
			return work(cmd.Context(), cfg, specs)
		},
	}
	f.register(cmd)
	return cmd
}

// work runs one rank of the specs.
func work(ctx context.Context, cfg dsm.Config, specs []bench.Spec) error {
	s, err := dsm.Open(ctx, cfg)
	if err != nil {
		return err
	}
	ctx, stop := untilLoss(ctx, s)
	out := json.NewEncoder(os.NewFile(resultsFile, "results"))
	var writing error
	err = bench.Run(ctx, s, cfg.Members, specs, func(r bench.Result) {
		writing = errors.Join(writing, out.Encode(r))
	})
	if loss := context.Cause(ctx); loss != nil {
		err = loss // which is why the run was broken off
	}
	stop()
	if err := errors.Join(err, writing); err != nil {
		return errors.Join(err, s.Close())
	}
	awaitOthers()
	return s.Close()
}

// awaitOthers says that this worker has done its part and waits for the rest.
func awaitOthers() {
	done, all := os.NewFile(doneFile, "done"), os.NewFile(allDoneFile, "all done")
	_ = done.Close()
	_, _ = io.Copy(io.Discard, all) // ends when the last has closed its end
}

// lossInterval is how often a worker looks whether the others are there. A worker in a barrier to which
// one comes no more may not hear of it otherwise.
const lossInterval = 250 * time.Millisecond

// untilLoss returns a context that ends when a member of the space is lost.
func untilLoss(parent context.Context, s *dsm.Space) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	first := s.Members()
	tick := time.NewTicker(lossInterval)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if m, lost := missing(first, s.Members()); lost {
				cancel(fmt.Errorf("%w: rank %d (%v) is gone", dsm.ErrNodeLost, m.Rank, m.Node))
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// missing returns a member of before that is not in now.
func missing(before, now []dsm.MemberStatus) (m dsm.MemberStatus, lost bool) {
	for _, m := range before {
		if !slices.ContainsFunc(now, func(n dsm.MemberStatus) bool { return n.Node == m.Node }) {
			return m, true
		}
	}
	return m, false
}
