package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/nearest"
	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

const traceLong = `Follow what happens to the pages and locks of a running space: faults and how long they
waited, at which line, and whose write at which line had taken the page away; who sent
which page to whom; which copies were given up, and why. It ends when it is interrupted,
after --for, or with the space.

Nodes record events all the time and keep the latest. With --held it shows these, and ends.
What was overwritten before it could be read is counted and said.

--write keeps the events in a file, --read shows what such a file holds, and --chrome writes
JSON for ui.perfetto.dev: a row for each node, a slice for each wait, an arrow for each page
that moves. The clocks of nodes are compared while their events are fetched; whatever they
show, nothing comes before what caused it.

The kinds of events:
  fault       an access waits         served, failed    how it ended, and after what time
  ahead       asked for before use    forward           the home has the owner send the page
  grant       a right is sent         receive           it has come
  invalidate  a right is lost         downgrade, evict  to a reader; because memory is short
  flush       changes go home         merge, flushed    are there; the home says so
  update      changes go to readers   handoff           a page moves because its node leaves
  delay       a view kept others      lock, barrier     somebody waited for one

-o json writes one JSON object a line: {time, node, kind} and those of {region, page, lock,
access, held, other, offset, length, bytes, wait_ns, txn, changed, words, line, function,
guessed, cause} that mean something for the kind. Times are nanoseconds since 1970, cause is
{node, access, line, function}, words has a bit for each 64th of the page that was written.
Lost events are {time, node, "kind": "lost", "events"}, and those that went with a node
{time, node, "kind": "gone"}.`

const traceWhich = `

Which space: see dsm status --help.`

// pollEvery is how often nodes are asked for new events.
const pollEvery = 50 * time.Millisecond

// traceFlags are those of dsm trace.
type traceFlags struct {
	inspectFlags
	nodes               []string
	kinds               []string
	query               dsm.TraceQuery
	length              time.Duration
	read, write, chrome string
}

func newTrace() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Follow what happens to pages and locks, and why",
		Long:  traceLong + traceWhich,
		Example: `  dsm trace --region grid --kind served,invalidate
  dsm trace --for 2s --chrome trace.json
  dsm trace --write run.trace; dsm trace --read run.trace --node n2`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.space.register(cmd)
	f.space.registerInsecure(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.nodes, "node", nil, "only events of `n2`; or, as host:port, the node to ask")
	flags.StringVar(&f.query.Region, "region", "", "only pages of the region of this `name`")
	flags.Int64Var(&f.query.Page, "page", -1, "only the page with this `index`")
	flags.Lookup("page").DefValue = "all" // -1 is nothing to type
	flags.StringSliceVar(&f.kinds, "kind", nil, "only events of these `kinds`, separated by commas")
	flags.BoolVar(&f.query.Held, "held", false, "show what the nodes have kept, and end")
	flags.DurationVar(&f.length, "for", 0, "end after this `time`")
	flags.StringVar(&f.write, "write", "", "write the events to this `file`")
	flags.StringVar(&f.read, "read", "", "read the events from this `file`")
	flags.StringVar(&f.chrome, "chrome", "", "write JSON for Perfetto to this `file`")
	f.format = output.Choose(output.Table, output.JSON)
	formatFlag(cmd, f.format)
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(trace.KindNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("region", f.completeRegion)
	return cmd
}

// check takes the flags apart.
func (f *traceFlags) check() error {
	for _, n := range f.nodes {
		if strings.Contains(n, ":") {
			f.node = n
			continue
		}
		id, ok := nodeNamed(n)
		if !ok {
			return usagef("--node %s: give n2 to see the events of a node, or host:port to ask one", n)
		}
		f.query.Node = id
	}
	for _, name := range f.kinds {
		k := trace.KindNamed(name)
		if k == 0 {
			return usagef("--kind %s: %s", name, nearest.Suggest(name, trace.KindNames(), "", "choose of "+strings.Join(trace.KindNames(), ", ")))
		}
		f.query.Kinds = append(f.query.Kinds, k)
	}
	switch {
	case f.query.Page < -1:
		return usagef("--page %d: give the index of a page, from 0", f.query.Page)
	case f.query.Page >= 0 && f.query.Region == "":
		return usagef("--page %d: say of which region with --region", f.query.Page)
	case f.length < 0:
		return usagef("--for %v: give a time such as 2s", f.length)
	case f.read != "" && f.read == f.write:
		return usagef("--write %s: it is the file to read: give another", f.write)
	case f.read != "" && (f.node != "" || f.query.Held || f.length > 0):
		return usagef("--read shows a file: leave out --held, --for and the address of a node")
	}
	return nil
}

// nodeNamed returns the node that is called "n2", or "2".
func nodeNamed(name string) (pagetable.NodeID, bool) {
	var id uint32
	n, err := fmt.Sscanf(strings.TrimPrefix(name, "n")+"\n", "%d\n", &id)
	return pagetable.NodeID(id), n == 1 && err == nil && id > 0
}

func (f *traceFlags) run(cmd *cobra.Command) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := traceSink{query: &f.query, json: f.format.Value == output.JSON}
	if f.write == "" && f.chrome == "" || cmd.Flags().Changed("output") {
		s.out = cmd.OutOrStdout()
	}
	if f.read != "" {
		err = f.readFile(ctx, &s)
	} else {
		err = f.follow(ctx, cmd, &s)
	}
	if err = errors.Join(err, s.close()); err == nil && (s.out == nil || s.lost > 0) {
		cmd.PrintErrln("dsm: " + s.summary(f))
	}
	return err
}

// follow gives the events of a running space to s.
func (f *traceFlags) follow(ctx context.Context, cmd *cobra.Command, s *traceSink) error {
	in, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := s.open(f); err != nil {
		return err
	}
	if f.query.Region != "" {
		if err := checkRegion(ctx, in, f.query.Region, f.query.Page); err != nil {
			cmd.PrintErrf("dsm: %v\n", err) // it may be about to come
		}
	}
	end := ctx
	if f.length > 0 {
		var cancel context.CancelFunc
		end, cancel = context.WithTimeout(ctx, f.length)
		defer cancel()
	}
	tracer := in.Trace(f.query)
	for first := true; ; first = false {
		ch, err := tracer.Next(context.WithoutCancel(ctx))
		if err != nil && !first {
			cmd.PrintErrf("dsm: the trace ends with its node: %v\n", err)
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.add(&ch); err != nil || f.query.Held || end.Err() != nil {
			return err
		}
		select {
		case <-end.Done():
		case <-time.After(pollEvery):
		}
	}
}

// readFile gives the events of a file to s.
func (f *traceFlags) readFile(ctx context.Context, s *traceSink) error {
	file, err := os.Open(f.read)
	if err != nil {
		return fmt.Errorf("--read: %w", err)
	}
	defer file.Close()
	r, err := trace.NewReader(file)
	if err != nil {
		return fmt.Errorf("--read %s: %w", f.read, err)
	}
	if err := s.open(f); err != nil {
		return err
	}
	for ctx.Err() == nil {
		ch, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("--read %s: %w", f.read, err)
		}
		s.names.Add(&ch)
		ch.Events = slices.DeleteFunc(ch.Events, func(e trace.Event) bool { return !s.wants(&e) })
		if err := s.add(&ch); err != nil {
			return err
		}
	}
	return nil
}

// traceSink is where events go.
type traceSink struct {
	query  *dsm.TraceQuery
	out    io.Writer // nil if they are not printed
	json   bool
	merger trace.Merger
	names  trace.Names
	nodes  map[pagetable.NodeID]bool // that have events
	events uint64
	lost   uint64
	file   *os.File
	writer *trace.Writer
	chrome *os.File
	all    []trace.Event // for chrome
}

// open makes the files that f names.
func (s *traceSink) open(f *traceFlags) (err error) {
	s.nodes = map[pagetable.NodeID]bool{}
	if f.write != "" {
		if s.file, err = os.Create(f.write); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
		if s.writer, err = trace.NewWriter(s.file); err != nil {
			return err
		}
	}
	if f.chrome != "" {
		if s.chrome, err = os.Create(f.chrome); err != nil {
			return fmt.Errorf("--chrome: %w", err)
		}
	}
	return nil
}

// wants reports whether an event is one of those that were asked for, as nodes do.
func (s *traceSink) wants(e *trace.Event) bool {
	q := s.query
	r, _ := s.names.Region(e.Page.Region())
	switch {
	case q.Node != 0 && e.Node != q.Node:
		return false
	case len(q.Kinds) > 0 && !slices.Contains(q.Kinds, e.Kind):
		return false
	case q.Region == "":
		return true
	}
	return !e.Kind.OfLock() && r.Name == q.Region && (q.Page < 0 || e.Page.Index() == uint64(q.Page))
}

// add takes a chunk.
func (s *traceSink) add(ch *trace.Chunk) error {
	s.names.Add(ch)
	if s.writer != nil {
		if err := s.writer.Write(ch); err != nil {
			return err
		}
	}
	for _, l := range ch.Lost {
		s.lost += l.Events
		if err := s.printLoss(ch.Until, l); err != nil {
			return err
		}
	}
	return s.take(s.merger.Add(ch))
}

// take takes events that are in their order.
func (s *traceSink) take(events []trace.Event) error {
	s.events += uint64(len(events))
	for i := range events {
		s.nodes[events[i].Node] = true
	}
	if s.chrome != nil {
		s.all = append(s.all, events...)
	}
	return s.print(events)
}

// close ends what was begun.
func (s *traceSink) close() error {
	err := s.take(s.merger.Rest())
	if s.writer != nil {
		err = errors.Join(err, s.writer.Close(), s.file.Close())
	}
	if s.chrome != nil {
		err = errors.Join(err, trace.WriteChrome(s.chrome, &s.names, s.all), s.chrome.Close())
	}
	return err
}

// summary says what was traced.
func (s *traceSink) summary(f *traceFlags) string {
	text := fmt.Sprintf("%s of %s", output.Number(s.events, "event"), output.Number(uint64(len(s.nodes)), "node"))
	if to := strings.Trim(f.write+" "+f.chrome, " "); to != "" {
		text += " written to " + strings.ReplaceAll(to, " ", " and ")
	}
	switch {
	case s.lost > 0 && f.query.Held:
		text += fmt.Sprintf("; %s before them, which nodes have not kept", output.Number(s.lost, "event"))
	case s.lost > 0:
		text += fmt.Sprintf("; %s lost: nodes recorded them faster than they were read (Config.Events says how many they keep)",
			output.Number(s.lost, "event"))
	}
	return text
}

// siteOf returns a line and its function, "" if they are not known.
func (s *traceSink) siteOf(n pagetable.NodeID, id uint32) (line, function string) {
	site, _ := s.names.Site(n, id)
	return site.Line, site.Function
}

// at returns " at " with the last part of a line's file and its number, "" if it is not known.
func at(line string) string {
	if line == "" {
		return ""
	}
	return " at " + line[strings.LastIndexByte(line, '/')+1:]
}
