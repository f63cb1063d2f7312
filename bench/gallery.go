package bench

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/report"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// The gallery shows what a report on page traffic is to find: small culprits, each with a twin in which it is cured, and
// programs that are to be accused of nothing. A run is verified if the report names the class, the data and the function
// that are to blame, if it does not complain of the same in the twin, and if the memory holds what it should.

// exhibit is one program of the gallery.
type exhibit struct {
	name, purpose, sharing string
	size                   int
	// classes are those by which the culprit may go; none of a program that is clean.
	classes []sharing.Class
	names   []string // of data that a finding must name; "" stands for no name
	// function is that in which a line lies that a finding must name.
	function string
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
	if r.Rank == 0 {
		if err := r.report(ctx); err != nil {
			return err
		}
		r.Verify(bad.right(), "the memory holds what the ranks have written")
	}
	if e.cured != nil {
		return e.compare(g)
	}
	if r.Rank == 0 {
		r.Verify(r.Result.Report.Fine, "the report accuses nobody: %s", said(r.Result.Report))
	}
	return nil
}

// compare runs the cured twin and says whether the reports on both are right.
func (e exhibit) compare(g *gallery) error {
	g.scene = "cured"
	good := e.cured(g)
	var found report.Report
	took, err := g.observe(good.act, func() (err error) {
		found, err = report.Of(g.ctx, g.Space)
		return err
	})
	if err != nil || g.Rank.Rank != 0 {
		return err
	}
	g.Metric("culprit", Metric{MedianNs: g.Result.Seconds * 1e9, N: 1})
	g.Metric("cured", Metric{MedianNs: float64(took), N: 1})
	g.Verify(good.right(), "the memory holds what the ranks of the cured twin have written")
	f := e.accused(g.Result.Report)
	g.Verify(f != nil, "the report names %v of %s in %s: %s", e.classes, strings.Join(e.names, " and "), e.function, said(g.Result.Report))
	again := e.accused(&found)
	g.Verify(again == nil || f == nil || again.LostNanos < f.LostNanos/4, "the report on the cured twin does not: %s", said(&found))
	return nil
}

// observe has all ranks act at once, and rank 0 look at what was counted before anything else happens.
func (g *gallery) observe(act func(), look func() error) (took time.Duration, err error) {
	check(g.Barrier(g.ctx))
	if g.Rank.Rank == 0 {
		check(g.Space.ResetStats(g.ctx))
	}
	check(g.Barrier(g.ctx))
	start := time.Now()
	act()
	check(g.Barrier(g.ctx))
	took = time.Since(start)
	if g.Rank.Rank == 0 {
		err = look()
	}
	check(g.Barrier(g.ctx))
	return took, err
}

// accused returns the finding that names the culprit as it should, nil if there is none.
func (e exhibit) accused(r *report.Report) *report.Finding {
	i := slices.IndexFunc(r.Findings, func(f report.Finding) bool {
		return f.Complaint && slices.Contains(e.classes, f.Class) && e.named(&f) && e.located(&f)
	})
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

// think is what a rank does beside. It leaves the processor to others, of which there may be more than processors.
func think(long time.Duration) { time.Sleep(long) }
