package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/running"
	"pagemesh/dsm"
	findings "pagemesh/dsm/report"
)

// reportWait bounds how long nodes stay for the report when their programs have ended, and reportEvery is how often
// programs that are nodes themselves are asked for one.
const (
	reportWait  = 5 * time.Second
	reportEvery = 250 * time.Millisecond
)

// reportBarrier is where nodes meet that stay for the report.
const reportBarrier = "dsm run/report"

// reportAtEnd keeps the report on a job's space until the job has ended.
type reportAtEnd struct {
	file string // that rank 0 of nodes which outlive their programs writes; "" if there are none
	last *findings.Report
	stop func() // ends the watch of programs that are nodes themselves
}

// reportOn begins to watch a job, and changes it so that it can be.
func reportOn(ctx context.Context, j *job) (*reportAtEnd, error) {
	r := &reportAtEnd{stop: func() {}}
	if j.mapped {
		dir, err := os.MkdirTemp("", "pagemesh-report-")
		if err != nil {
			return nil, err
		}
		r.file = filepath.Join(dir, "report.json")
		j.report = r.file
		return r, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.watch(ctx, j.nodes[0])
	}()
	r.stop = func() {
		cancel()
		<-done
	}
	return r, nil
}

// watch asks for a report again and again, since nobody can be asked any more when the programs have ended.
func (r *reportAtEnd) watch(ctx context.Context, node dsm.Config) {
	var in *dsm.Inspector
	defer func() {
		if in != nil {
			_ = in.Close() // nothing was asked that could be lost
		}
	}()
	for {
		if in == nil {
			in, _ = dial(ctx, running.Node{Addr: node.Listen, Cluster: node.Cluster, Secret: node.Secret})
		}
		if in != nil {
			found, err := findings.Of(ctx, in)
			if err == nil && len(found.Nodes) == node.Members {
				r.last = &found
			}
			if err != nil {
				_ = in.Close()
				in = nil
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportEvery):
		}
	}
}

// print writes the report to standard error: standard output is the programs'.
func (r *reportAtEnd) print(cmd *cobra.Command) {
	r.stop()
	if r.file != "" {
		defer os.RemoveAll(filepath.Dir(r.file))
		if b, err := os.ReadFile(r.file); err == nil {
			_ = json.Unmarshal(b, &r.last) // what is not whole is none
		}
	}
	if r.last == nil {
		cmd.PrintErrln("dsm: the programs ended before they could be reported on")
		return
	}
	_, _ = r.last.WriteTo(cmd.ErrOrStderr())
}

// writeReport writes the report on a space whose programs have ended into a file, at rank 0, and keeps the other nodes
// until it is written.
func (f *rankFlags) writeReport(ctx context.Context, s *dsm.Space, members int) {
	ctx, cancel := context.WithTimeout(ctx, reportWait)
	defer cancel()
	if s.Rank() == 0 {
		if found, err := findings.Of(ctx, s); err == nil {
			b, _ := json.Marshal(found)          // it has no value that JSON can't hold
			_ = os.WriteFile(f.report, b, 0o600) // who reads it says that it is missing
		}
	}
	_ = s.Barrier(reportBarrier, members).Wait(ctx) // or some node is gone, and nobody waits for the others
}
