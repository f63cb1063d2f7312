package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/bench"
	"pagemesh/cmd/dsm/internal/nearest"
	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/cmd/dsm/internal/results"
	"pagemesh/dsm"
)

const benchRunLong = `Run workloads one after the other on N node processes of one space on this machine.
Without names a representative set is run. Each result is verified: against published
values, or against a sequential run on one node, which is timed too.

Exit status 0 means that every result was verified.

The JSON value is an array with one object for each run: {workload, params, nodes,
access, consistency, verified, detail, seconds, sequential_seconds, read_faults,
write_faults, bytes_moved, messages, busiest}; micro workloads add metrics, an object
from name to {median_ns, p99_ns, n} or {mib_per_s}, ipc adds reading, sentences on
these, --report adds report, what "dsm report" would say, and --detect-races adds races,
what "dsm races" would say of the part of the run that is timed. detail says what was
compared with what, busiest are the pages that were waited for longest, as "dsm pages"
describes them.
CSV has one line for each run and metric. bench is Go benchmark text, for benchstat.
If a run fails, the results of those before it are printed all the same.`

// benchFlags are those of dsm bench run, which its workers get too.
type benchFlags struct {
	like        bench.Spec
	count       int
	suite       string
	profile     string
	report      bool
	access      *output.Choice
	consistency *output.Choice
}

func (f *benchFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.like.Class, "class", "", "problem `class` of the workloads that have classes (see dsm bench list)")
	flags.IntVar(&f.like.Size, "size", 0, "problem `size` of the workloads that have none")
	flags.StringVar(&f.like.Input, "input", "", "`directory` that workloads read (default: the Go toolchain's source)")
	flags.IntVar(&f.like.PageSize, "page-size", 0, "page size in `bytes` (default: the workload's own)")
	flags.StringVar(&f.like.Placement, "placement", "", "homes of their pages, hashed or blocked (default: the workload's own)")
	flags.IntVar(&f.count, "count", 1, "run everything `N` times")
	flags.StringVar(&f.suite, "suite", "", "also run all workloads of a `suite`: "+strings.Join(bench.Suites(), ", "))
	flags.StringVar(&f.profile, "profile", "", "write a profile of the lines that wait to this `file`, for go tool pprof")
	flags.BoolVar(&f.report, "report", false, "say of each run what page traffic has cost, why, and what to change")
	f.access = accessFlag(cmd)
	f.consistency = output.Choose(bench.Consistencies()...)
	flags.Var(f.consistency, "consistency", "consistency of their memory")
	_ = cmd.MarkFlagDirname("input") // the flag exists
}

// arguments returns the command line that makes a worker do the same.
func (f *benchFlags) arguments(names []string) []string {
	return append([]string{
		"--class=" + f.like.Class, "--size=" + strconv.Itoa(f.like.Size), "--input=" + f.like.Input,
		"--page-size=" + strconv.Itoa(f.like.PageSize), "--count=" + strconv.Itoa(f.count),
		"--placement=" + f.like.Placement, "--suite=" + f.suite, "--profile=" + f.profile,
		"--report=" + strconv.FormatBool(f.report),
		"--access=" + f.access.Value, "--consistency=" + f.consistency.Value, "--",
	}, names...)
}

// specs returns the runs that are asked for.
func (f *benchFlags) specs(names []string, nodes int) ([]bench.Spec, error) {
	f.like.Class = strings.ToUpper(f.like.Class)
	f.like.Consistency = f.consistency.Value
	if f.count < 1 {
		return nil, usagef("--count %d: give a number from 1", f.count)
	}
	if f.suite != "" {
		members := f.members()
		if members == nil {
			return nil, usagef("there is no suite %q: %s", f.suite, nearest.Suggest(f.suite, bench.Suites(), "", "see dsm bench list"))
		}
		names = append(slices.Clone(names), members...)
	}
	all := workloadNames()
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, usagef("there is no workload %q: %s", name, nearest.Suggest(name, all, "", "see dsm bench list"))
		}
	}
	if f.like.Input != "" {
		if info, err := os.Stat(f.like.Input); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("--input %s is not a directory: name one with files to read", f.like.Input)
		}
	}
	specs, err := bench.Specs(names, f.like, nodes)
	if err != nil {
		return nil, usagef("%v", err)
	}
	return slices.Repeat(specs, f.count), nil
}

// members returns the workloads of the suite that the access allows.
func (f *benchFlags) members() []string {
	var names []string
	for _, w := range bench.List() {
		if w.Suite == f.suite && (!w.Mapped || f.access.Value != dsm.Embedded.String()) {
			names = append(names, w.Name)
		}
	}
	return names
}

// benchRunFlags are those of dsm bench run.
type benchRunFlags struct {
	benchFlags
	nodes  int
	races  bool
	format *output.Choice
}

func newBenchRun() *cobra.Command {
	var f benchRunFlags
	cmd := &cobra.Command{
		Use:   "run [WORKLOAD...]",
		Short: "Run workloads and verify their results",
		Long:  benchRunLong,
		Example: `  dsm bench run
  dsm bench run cg sor -n 4 --class W -o json
  dsm bench run --suite npb --class W
  dsm bench run latency --count 10 -o bench | tee new.txt; benchstat old.txt new.txt`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			left := slices.DeleteFunc(workloadNames(), func(n string) bool { return slices.Contains(args, n) })
			return left, cobra.ShellCompDirectiveNoFileComp
		},
	}
	f.register(cmd)
	nodesFlag(cmd, &f.nodes)
	racesFlag(cmd, &f.races)
	f.format = output.Choose(output.Table, output.JSON, output.CSV, output.Bench)
	formatFlag(cmd, f.format)
	_ = cmd.RegisterFlagCompletionFunc("suite", cobra.FixedCompletions(bench.Suites(), cobra.ShellCompDirectiveNoFileComp))          // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("placement", cobra.FixedCompletions(bench.Placements(), cobra.ShellCompDirectiveNoFileComp))  // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("class", cobra.FixedCompletions([]string{"S", "W", "A"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}

func (f *benchRunFlags) run(cmd *cobra.Command, names []string) error {
	if err := checkNodes(f.nodes); err != nil {
		return err
	}
	specs, err := f.specs(names, f.nodes)
	if err != nil {
		return err
	}
	found, err := f.launch(cmd, names, specs)
	if len(found) > 0 || err == nil {
		err = errors.Join(err, f.print(cmd.OutOrStdout(), found))
	}
	if err != nil {
		return err
	}
	if wrong := found.Wrong(); len(wrong) > 0 {
		return fmt.Errorf("the results of %s are wrong: the table says why; please report it", strings.Join(wrong, ", "))
	}
	if len(found) < len(specs) {
		return fmt.Errorf("only %d of %d runs gave a result: please report it", len(found), len(specs))
	}
	return nil
}

func (f *benchRunFlags) print(w io.Writer, r results.Report) error {
	switch f.format.Value {
	case output.JSON:
		return output.WriteJSON(w, r)
	case output.CSV:
		return r.WriteCSV(w)
	case output.Bench:
		return r.WriteBench(w)
	}
	return r.WriteTable(w, hasColour(w))
}

// benchLinger is how long the other workers have to report that one was lost.
const benchLinger = 4 * time.Second

// launch runs the workers and returns their results, which may be some of them if there is an error.
func (f *benchRunFlags) launch(cmd *cobra.Command, names []string, specs []bench.Spec) (results.Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	maps, err := mapped(cmd, f.access)
	if err != nil {
		return nil, err
	}
	nodes, err := localNodes(f.nodes, dsm.Config{JoinTimeout: time.Minute, DetectRaces: f.races})
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	shown := newProgress(cmd.ErrOrStderr())
	defer shown.stop()
	j := job{
		mapped:  maps,
		nodes:   nodes,
		command: append([]string{self, "bench", workerName}, f.arguments(names)...),
		name:    "dsm bench run",
		files:   func(int) []*os.File { return []*os.File{w} },
		linger:  benchLinger,
		stdout:  shown,
		stderr:  shown,
	}
	c := collect(r, specs, shown)
	err = j.run(cmd.Context(), cmd)
	_ = w.Close() // the workers' ends are closed: no result comes any more
	return c.wait(err)
}

// collector receives results while workers run.
type collector struct {
	found results.Report
	err   error
	done  chan struct{} // closed when nothing more comes
}

// collect receives results from r until it ends, and shows how far the specs are.
func collect(r *os.File, specs []bench.Spec, shown *progress) *collector {
	c := &collector{done: make(chan struct{})}
	shown.show(describeProgress(specs, 0))
	go func() {
		defer close(c.done)
		defer r.Close()
		for in := json.NewDecoder(r); ; {
			var res bench.Result
			if err := in.Decode(&res); err != nil {
				if !errors.Is(err, io.EOF) {
					c.err = fmt.Errorf("results of the workers: %w", err)
				}
				return
			}
			c.found = append(c.found, res)
			shown.show(describeProgress(specs, len(c.found)))
		}
	}()
	return c
}

// describeProgress says which of the specs is being run when that many have ended.
func describeProgress(specs []bench.Spec, ended int) string {
	if ended >= len(specs) {
		return fmt.Sprintf("%d of %d runs have ended", ended, len(specs))
	}
	return fmt.Sprintf("run %d of %d: %s", ended+1, len(specs), specs[ended].Workload)
}

// wait returns the results, and why there are no more. err is how the workers ended.
func (c *collector) wait(err error) (results.Report, error) {
	<-c.done
	if err == nil {
		err = c.err // what a worker that fails leaves unfinished is no error of its own
	}
	return c.found, err
}
