package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/report"
)

// Workload is one problem that all ranks of a space solve together.
type Workload struct {
	Name    string
	Suite   string // one of suites
	Purpose string // one line: what it shows
	Sharing string // one line: which rank touches what
	// Classes are the problem sizes that Spec.Class may name, the default first. Empty: there are none.
	Classes []string
	// Size is the problem size of a workload without classes unless Spec.Size names another. 0: it has none.
	Size int
	// Mapped: it uses pointers into shared memory, which only attached programs have.
	Mapped bool
	// Elastic: the others can finish it when a rank leaves, as one does that finds Rank.Leaving true.
	Elastic bool
	// Reads: it reads the directory that Spec.Input names.
	Reads bool
	// Default: it is run when the user names no workload.
	Default bool
	// MinRanks is the smallest number of ranks it makes sense with. Default 1.
	MinRanks int
	// PageSize of its arrays in bytes. Default that of regions.
	PageSize int
	// Run is one rank's part. An error ends the whole benchmark; a wrong result is for Rank.Verify.
	Run func(ctx context.Context, r *Rank) error
}

// Metric is one measured quantity of a micro workload: times, or a rate.
type Metric struct {
	MedianNs float64 `json:"median_ns,omitempty"`
	P99Ns    float64 `json:"p99_ns,omitempty"`
	N        int     `json:"n,omitempty"` // samples
	MiBPerS  float64 `json:"mib_per_s,omitempty"`
}

// Result is the outcome of one Spec, as rank 0 knows it.
type Result struct {
	Workload          string            `json:"workload"`
	Params            map[string]any    `json:"params"`
	Nodes             int               `json:"nodes"`
	Access            string            `json:"access"`      // "embedded" or "mapped"
	Consistency       string            `json:"consistency"` // "sequential" or "release"
	Verified          bool              `json:"verified"`
	Detail            string            `json:"detail"` // what was compared with what
	Seconds           float64           `json:"seconds"`
	SequentialSeconds float64           `json:"sequential_seconds"` // one rank alone; 0 if there is none
	ReadFaults        uint64            `json:"read_faults"`        // of all nodes, as the next three
	WriteFaults       uint64            `json:"write_faults"`       // upgrades included
	BytesMoved        uint64            `json:"bytes_moved"`        // page bytes
	Messages          uint64            `json:"messages"`           // packets between nodes
	Metrics           map[string]Metric `json:"metrics,omitempty"`
	Reading           []string          `json:"reading,omitempty"` // what the metrics say, in sentences
	Busiest           []dsm.PageStats   `json:"busiest"`           // the pages that were waited for longest
	Report            *report.Report    `json:"report,omitempty"`  // what page traffic cost; nil unless it was asked for
	Races             []dsm.Race        `json:"races,omitempty"`   // in the timed part, if the space detects them
}

// busiestPages is how many pages a Result names.
const busiestPages = 5

// suites are the kinds of workloads, in the order in which they are listed.
var suites = []string{"micro", "gallery", "npb", "treadmarks", "splash", "ycsb", "graph", "app"}

// Suites returns the names of all suites.
func Suites() []string { return slices.Clone(suites) }

var workloads = map[string]Workload{}

// register adds a workload to the list. It is called from init functions of this package.
func register(w Workload) {
	if w.MinRanks == 0 {
		w.MinRanks = 1
	}
	workloads[w.Name] = w
}

// List returns all workloads by suite and name.
func List() []Workload {
	return slices.SortedFunc(maps.Values(workloads), func(a, b Workload) int {
		return cmp.Or(slices.Index(suites, a.Suite)-slices.Index(suites, b.Suite), strings.Compare(a.Name, b.Name))
	})
}

// Rank is one rank's side of a running workload.
type Rank struct {
	Space       *dsm.Space
	Rank, Ranks int
	Spec        Spec
	Result      Result // filled in on rank 0
	name        string // distinguishes the regions and barriers of this run
	job         *Job
	barrier     *dsm.Barrier
	leaving     atomic.Bool
	departed    *dsm.Region // counts the ranks that have left; nil if none can
	// spoil, if a test sets it, damages what rank 0 is about to check.
	spoil func()
}

func newRank(j *Job, run int) *Rank {
	s, ranks, spec := j.Space, j.Ranks, j.Specs[run]
	w := workloads[spec.Workload]
	if spec.Class == "" && len(w.Classes) > 0 {
		spec.Class = w.Classes[0]
	}
	spec.PageSize = cmp.Or(spec.PageSize, w.PageSize)
	r := &Rank{Space: s, Rank: s.Rank(), Ranks: ranks, Spec: spec, job: j, name: fmt.Sprintf("%s.%d", spec.Workload, run)}
	r.barrier = s.Barrier("bench/"+r.name, ranks)
	r.Result = Result{
		Workload: spec.Workload, Params: map[string]any{}, Nodes: ranks, Access: s.Access().String(),
		Consistency: cmp.Or(spec.Consistency, Consistencies()[0]), Busiest: []dsm.PageStats{},
	}
	if spec.Class != "" {
		r.Result.Params["class"] = spec.Class
	}
	if spec.Placement != "" {
		r.Result.Params["placement"] = spec.Placement
	}
	if spec.PageSize != 0 {
		r.Result.Params["page_size"] = spec.PageSize
	}
	return r
}

// run does this rank's part of the workload. All ranks take part in the barrier from the start, so that
// the loss of one ends the wait of the others.
func (r *Rank) run(ctx context.Context) error {
	if err := r.Spec.Check(r.Ranks); err != nil {
		return err
	}
	if workloads[r.Spec.Workload].Mapped && r.Space.Access() != dsm.Mapped {
		return errors.New("it follows pointers into shared memory: run it with --access mapped")
	}
	if err := r.Barrier(ctx); err != nil {
		return err
	}
	return r.Space.Guard(func() error { return guard(func() error { return r.part(ctx) }) })
}

func (r *Rank) part(ctx context.Context) error {
	w := workloads[r.Spec.Workload]
	if w.Elastic {
		r.departed = NewCounter(ctx, r, "departed")
		if r.Rank == 0 {
			defer r.deputize(ctx)()
		}
	}
	if err := w.Run(ctx, r); err != nil {
		return err
	}
	return r.Barrier(ctx)
}

// size returns the problem size and notes it in the result.
func (r *Rank) size() int {
	n := cmp.Or(r.Spec.Size, workloads[r.Spec.Workload].Size)
	r.Result.Params["size"] = n
	return n
}

// Barrier returns when all ranks have called it.
func (r *Rank) Barrier(ctx context.Context) error { return r.barrier.Wait(ctx) }

// Mutex returns a mutex of this run.
func (r *Rank) Mutex(name string) *dsm.Mutex { return r.Space.Mutex("bench/" + r.name + "/" + name) }

// Share returns the half-open range of n items that is this rank's when all ranks get equal shares.
func (r *Rank) Share(n int) (lo, hi int) { return share(n, r.Rank, r.Ranks) }

func share(n, rank, ranks int) (lo, hi int) { return n * rank / ranks, n * (rank + 1) / ranks }

// Verify records whether the outcome is right, and what it was compared with. Called more than once,
// all must be right.
func (r *Rank) Verify(ok bool, format string, args ...any) {
	if r.Result.Detail == "" || r.Result.Verified && !ok {
		r.Result.Detail = fmt.Sprintf(format, args...)
		r.Result.Verified = ok
	}
}

// Metric records a measured quantity under its name.
func (r *Rank) Metric(name string, m Metric) {
	if r.Result.Metrics == nil {
		r.Result.Metrics = map[string]Metric{}
	}
	r.Result.Metrics[name] = m
}

// Sequential runs the reference solution on rank 0 alone, and times it.
func (r *Rank) Sequential(solve func()) {
	if r.Rank != 0 {
		return
	}
	start := time.Now()
	solve()
	r.Result.SequentialSeconds = time.Since(start).Seconds()
}

// Timed runs solve on all ranks at once and records on rank 0 how long it took and what page traffic it
// caused. What happens before and after is not counted.
func (r *Rank) Timed(ctx context.Context, solve func() error) error {
	if err := r.Barrier(ctx); err != nil {
		return err
	}
	if r.Rank == 0 {
		if err := r.Space.ResetStats(ctx); err != nil {
			return err
		}
	}
	if err := r.Barrier(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := r.solve(ctx, solve); err != nil {
		return err
	}
	if err := r.Barrier(ctx); err != nil {
		return err
	}
	r.Result.Seconds = time.Since(start).Seconds()
	if r.Rank == 0 {
		if err := r.collect(ctx); err != nil {
			return err
		}
	}
	if r.spoil != nil {
		r.spoil()
	}
	return r.Barrier(ctx)
}

// collect sums up what all nodes have counted.
func (r *Rank) collect(ctx context.Context) error {
	nodes, err := r.Space.ClusterStats(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		r.Result.ReadFaults += n.ReadFaults
		r.Result.WriteFaults += n.WriteFaults + n.Upgrades
		r.Result.BytesMoved += n.BytesIn
		r.Result.Messages += n.MessagesOut
	}
	if r.Result.Busiest, err = r.Space.Pages(ctx, dsm.PageQuery{Page: -1, Top: busiestPages}); err != nil {
		return err
	}
	if r.job.DetectRaces {
		if err := r.races(ctx); err != nil {
			return err
		}
	}
	if !r.job.Report {
		return nil
	}
	return r.report(ctx)
}

// races has the result name the races in regions of this run.
func (r *Rank) races(ctx context.Context) error {
	found, err := r.Space.Races(ctx)
	r.Result.Races = slices.DeleteFunc(found, func(o dsm.Race) bool { return !strings.HasPrefix(o.Region, r.name+"/") })
	return err
}

// report has the result say what page traffic has cost.
func (r *Rank) report(ctx context.Context) error {
	found, err := report.Of(ctx, r.Space)
	r.Result.Report = &found
	return err
}
