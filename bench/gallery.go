package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/report"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// The gallery shows what a report on page traffic is to find: small culprits, each with a twin in which it is cured, and
// programs that are to be accused of nothing. A run is verified if the report names the class, the data and the function
// that are to blame, if it does not complain of the same in the twin, if it predicts what the twin saves or says that it
// can't tell, and if the memory holds what it should.

// exhibit is one program of the gallery.
type exhibit struct {
	name, purpose, sharing string
	size                   int
	// classes are those by which the culprit may go; none of a program that is clean.
	classes []sharing.Class
	names   []string // of data that a finding must name; "" stands for no name
	// function is that in which a line lies that a finding must name.
	function string
	// cure is the kind of the one that the twin has had.
	cure string
	// culprit and cured set a scene at every rank. cured is nil for a clean program.
	culprit, cured func(g *gallery) scene
}

// scene is what a rank does in a program that is set up, and whether what it leaves in memory is right; the last is
// asked of rank 0.
type scene struct {
	act   func()
	right func() bool
}

// gallery is one rank's access to the memory of an exhibit.
type gallery struct {
	*Rank
	ctx   context.Context
	n     int    // size of the problem
	scene string // distinguishes culprit and twin
}

func (e exhibit) register() {
	register(Workload{
		Name: e.name, Suite: "gallery", MinRanks: 2, Size: e.size, Purpose: e.purpose, Sharing: e.sharing, Run: e.run,
	})
}

func (e exhibit) run(ctx context.Context, r *Rank) error {
	g := &gallery{Rank: r, ctx: ctx, n: r.size(), scene: "culprit"}
	bad := e.culprit(g)
	if err := r.Timed(ctx, func() error { bad.act(); return nil }); err != nil {
		return err
	}
	if e.cured != nil {
		return e.compare(g)
	}
	t, err := g.try("clean", e.culprit)
	if err != nil || r.Rank != 0 {
		return err
	}
	r.Result.Report = &t.report
	r.Verify(t.report.Fine, "the report accuses nobody: %s", said(&t.report))
	return nil
}

// trials is how often culprit and twin take turns: how long one takes differs from run to run.
const trials = 7

// trial is one run of a scene, as rank 0 knows it.
type trial struct {
	took   time.Duration
	report report.Report
	// short is the share of the processors that others had right after it.
	short float64
}

// compare lets culprit and twin take turns, and says whether the reports are right on those that took as long as most.
func (e exhibit) compare(g *gallery) (err error) {
	n := trials
	if g.job.Untimed {
		n = 1
	}
	culprits, cured := make([]trial, n), make([]trial, n)
	for i := range n {
		if culprits[i], err = g.try(fmt.Sprint("culprit/", i), e.culprit); err != nil {
			return err
		}
		if cured[i], err = g.try(fmt.Sprint("cured/", i), e.cured); err != nil {
			return err
		}
	}
	if g.Rank.Rank != 0 {
		return nil
	}
	byTime(culprits)
	byTime(cured)
	bad, good := culprits[n/2], cured[n/2]
	g.Result.Report = &bad.report
	g.Metric("culprit", Metric{MedianNs: float64(bad.took), N: n})
	g.Metric("cured", Metric{MedianNs: float64(good.took), N: n})
	f := e.blamed(&bad.report)
	// Programs are asked seldom for their lines, and maybe not at all in a short trial.
	accused := slices.ContainsFunc(culprits, func(t trial) bool { return e.accused(&t.report) })
	g.Verify(f != nil && accused, "the report names %v of %s in %s: %s", e.classes, strings.Join(e.names, " and "), e.function, said(&bad.report))
	if f == nil {
		return nil
	}
	again := e.blamed(&good.report)
	g.Verify(again == nil || again.LostNanos < f.LostNanos/4, "the report on the cured twin does not: %s", said(&good.report))
	e.weigh(g, culprits, cured)
	return nil
}

func byTime(all []trial) {
	slices.SortFunc(all, func(a, b trial) int { return cmp.Compare(a.took, b.took) })
}

const (
	// tolerance is how far a predicted gain may be from the measured one, as a share of it, beside what trials leave in doubt.
	tolerance = 0.25
	// shortage is the share of the processors that others may have when gains are measured (10 % are usual): whoever waits
	// for a page leaves them its own, so there is less to be saved.
	shortage = 0.2
)

// weigh compares what reports have predicted of the cure with what it has saved, over all trials, unless others kept the
// processors busy.
func (e exhibit) weigh(g *gallery, culprits, cured []trial) {
	var without, with, predicted time.Duration
	var short float64
	told := true
	for i := range culprits {
		without += culprits[i].took
		with += cured[i].took
		short += (culprits[i].short + cured[i].short) / float64(2*len(culprits))
		gain := e.gain(&culprits[i].report)
		if told = told && gain != nil; told {
			predicted += time.Duration(gain.Share * float64(culprits[i].took))
		}
	}
	share := func(saved time.Duration) float64 { return float64(saved) / float64(without) }
	doubt := math.Sqrt(spread(culprits)+spread(cured)) / float64(without)
	saves := fmt.Sprintf("%s: the cure saves %.0f ± %.0f %% of the time", g.Spec.Workload, 100*share(without-with), 100*doubt)
	if !told {
		g.Result.Reading = append(g.Result.Reading, saves+"; the report can't tell.")
		return
	}
	predicts := fmt.Sprintf("%s; the report predicts %.0f %%.", saves, 100*share(predicted))
	if short > shortage {
		predicts += fmt.Sprintf(" Not compared: other programs had %.0f %% of the processors.", 100*short)
	}
	g.Result.Reading = append(g.Result.Reading, predicts)
	if !g.job.Untimed && short <= shortage {
		g.Verify(math.Abs(share(predicted-(without-with))) <= tolerance*share(without-with)+doubt, "%s", predicts)
	}
}

// spread returns the square of twice the standard error of the sum of what trials took, in ns².
func spread(all []trial) (sum float64) {
	mean, n := 0.0, float64(len(all))
	for _, t := range all {
		mean += float64(t.took) / n
	}
	for _, t := range all {
		sum += (float64(t.took) - mean) * (float64(t.took) - mean)
	}
	return 4 * sum * n / max(1, n-1)
}

// gain returns what a report predicts of the cure that the twin has had, nil if it can't tell.
func (e exhibit) gain(r *report.Report) *report.Gain {
	f := e.blamed(r)
	if f == nil {
		return nil
	}
	for _, c := range f.Cures {
		if c.Kind == e.cure {
			return c.Gain
		}
	}
	return nil
}

// try sets a scene and has all ranks act at once. Rank 0 looks at what was counted before anything else happens.
func (g *gallery) try(name string, set func(*gallery) scene) (t trial, err error) {
	g.scene = name
	s := set(g)
	check(g.Barrier(g.ctx))
	if g.Rank.Rank == 0 {
		check(g.Space.ResetStats(g.ctx))
	}
	check(g.Barrier(g.ctx))
	start := time.Now()
	s.act()
	check(g.Barrier(g.ctx))
	t.took = time.Since(start)
	if g.Rank.Rank == 0 {
		if t.report, err = report.Of(g.ctx, g.Space); err == nil {
			g.Verify(s.right(), "the memory holds what the ranks have written")
		}
		if !g.job.Untimed {
			t.short = shortOfProcessors()
		}
	}
	check(g.Barrier(g.ctx))
	return t, err
}

// blamed returns the finding that names the data as it should, nil if there is none.
func (e exhibit) blamed(r *report.Report) *report.Finding { return finding(r, e.blames) }

// accused reports whether a finding names the data and a line as it should.
func (e exhibit) accused(r *report.Report) bool {
	return finding(r, func(f *report.Finding) bool { return e.blames(f) && e.located(f) }) != nil
}

func (e exhibit) blames(f *report.Finding) bool {
	return f.Complaint && slices.Contains(e.classes, f.Class) && e.named(f)
}

func finding(r *report.Report, is func(*report.Finding) bool) *report.Finding {
	i := slices.IndexFunc(r.Findings, func(f report.Finding) bool { return is(&f) })
	if i < 0 {
		return nil
	}
	return &r.Findings[i]
}

// named reports whether the finding names all the data.
func (e exhibit) named(f *report.Finding) bool {
	for _, name := range e.names {
		if !slices.ContainsFunc(f.Parts, func(p report.Part) bool {
			return slices.ContainsFunc(p.Uses, func(u report.Use) bool { return like(u.Name, name) })
		}) {
			return false
		}
	}
	return true
}

// like reports whether a name is as it should be; a * stands for an offset in a heap.
func like(name, want string) bool {
	before, after, star := strings.Cut(want, "*")
	if !star {
		return name == want
	}
	return strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}

// located reports whether the finding names a line of the function.
func (e exhibit) located(f *report.Finding) bool {
	is := func(l report.Line) bool {
		return strings.Contains(l.Function+".", "."+e.function+".") && strings.Contains(l.Line, "/gallery")
	}
	return e.function == "" || slices.ContainsFunc(f.Parts, func(p report.Part) bool {
		return slices.ContainsFunc(p.Lines, is) || slices.ContainsFunc(p.Uses, func(u report.Use) bool { return slices.ContainsFunc(u.Lines, is) })
	})
}

// said shortens what a report has said, for people who want to know why it is wrong.
func said(r *report.Report) string {
	list := []string{r.Verdict}
	for _, f := range r.Findings[:min(3, len(r.Findings))] {
		s := fmt.Sprintf("%v of %s[%d] %s", f.Class, f.Region, f.Pages[0], f.Subject)
		for _, p := range f.Parts {
			for _, u := range p.Uses {
				s += fmt.Sprintf(", %v %s %s", p.Node, u.Access, u.Name)
				for _, l := range u.Lines {
					s += " at " + l.Function
				}
			}
			for _, l := range p.Lines {
				s += fmt.Sprintf(", %v at %s", p.Node, l.Function)
			}
		}
		list = append(list, s)
	}
	return strings.Join(list, "; ")
}

// region opens a region of the scene that holds n elements of T, in equal parts homed at the ranks' nodes.
func region[T any](g *gallery, name string, n int) *dsm.Region {
	r := g.open(name, n*int(reflect.TypeFor[T]().Size()), 0)
	check(dsm.Declare[T](r))
	return r
}

// open opens a region of the scene of that many bytes, each of whose equal parts is homed at the node of the rank that
// many ranks on.
func (g *gallery) open(name string, size, on int) *dsm.Region {
	name = g.name + "/" + g.scene + "/" + name
	if g.Rank.Rank == 0 {
		nodes := homes(g.Rank, pagetable.Blocked)
		_, err := g.Space.Region(g.ctx, name, dsm.RegionOptions{
			Size: uint64(size), Placement: dsm.Placement{Kind: pagetable.Blocked, Nodes: slices.Concat(nodes[on:], nodes[:on])},
		})
		check(err)
	}
	check(g.Barrier(g.ctx))
	r, err := g.Space.Region(g.ctx, name, dsm.RegionOptions{})
	check(err)
	return r
}

// actors returns how many ranks act where the report predicts what a cure saves: no more than there are processors, since
// one that waits for a page would leave its processor to another one.
func (g *gallery) actors() int { return min(g.Ranks, max(2, runtime.GOMAXPROCS(0))) }

// each calls f that many times, each time after all ranks have met.
func (g *gallery) each(rounds int, f func(round int)) {
	for i := range rounds {
		check(g.Barrier(g.ctx))
		f(i)
	}
}

// holds reports whether the word at off is want.
func (g *gallery) holds(r *dsm.Region, off int64, want int) bool {
	v, err := r.Load(g.ctx, off)
	check(err)
	return v == uint64(want)
}

// shortOfProcessors returns the share of all processors that other programs have, while nobody else in the space does
// anything: for how long one doesn't get on that only asks for the time.
func shortOfProcessors() float64 {
	const long, gap = 10 * time.Millisecond, 200 * time.Microsecond
	var lost, took atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			start := time.Now()
			last := start
			for last.Sub(start) < long {
				now := time.Now()
				if now.Sub(last) > gap {
					lost.Add(int64(now.Sub(last)))
				}
				last = now
			}
			took.Add(int64(last.Sub(start)))
		})
	}
	all.Wait()
	return float64(lost.Load()) / float64(took.Load())
}

// busy is what a rank does beside.
func busy(long time.Duration) {
	for start := time.Now(); time.Since(start) < long; {
	}
}

// rest leaves the processor to others, of which there may be more than processors.
func rest(long time.Duration) { time.Sleep(long) }
