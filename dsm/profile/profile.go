// Package profile makes profiles of page traffic for go tool pprof: which lines of a program wait for pages, how
// often, for how long, and for how many bytes.
//
// A sample is all waits of one line of one node for one field of one page. Its values are faults, bytes that came,
// and the time waited. Its labels are
//
//	region  name of the region
//	page    "region[index]"
//	field   what lies there, "[]Worker[17].hits", if programs have said of what types the region is
//	access  read or write
//	class   how nodes share the page, see package sharing
//	node    that waited
//	peer    from where the page came
//
// Values are exact as far as nodes remember their events: what was overwritten before it was collected is told in
// a comment of the profile. The lines of attached programs are those at which they were last seen, see trace.Event, or,
// before they were seen, that which has waited longest for the same page.
package profile

import (
	"context"
	"fmt"
	"time"

	pprof "github.com/google/pprof/profile"

	"pagemesh/dsm"
	"pagemesh/dsm/layout"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// Source is a space, seen from within or from outside: a dsm.Space or a dsm.Inspector.
type Source interface {
	Trace(dsm.TraceQuery) *dsm.Tracer
	Pages(context.Context, dsm.PageQuery) ([]dsm.PageStats, error)
}

const (
	// collectEvery is how often events are fetched: soon enough for nodes that record a million a second.
	collectEvery = 20 * time.Millisecond
	// lookEvery is how often the nodes are asked how they share the pages.
	lookEvery = time.Second
	// classified bounds the pages of which the class and the fields are told, the busiest first.
	classified = 1000
	// grace is how long the last questions may take.
	grace = 10 * time.Second
)

// Collect returns a profile of the waits that end from now on, for as long as d or until ctx ends; if d is 0, of
// those that the nodes still remember. Region limits it to the region of that name; "" stands for all. Its errors
// are those of Tracer.Next and Space.Pages.
func Collect(ctx context.Context, from Source, region string, d time.Duration) (*pprof.Profile, error) {
	b := newBuilder()
	start := time.Now()
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), d+grace) // what was collected is not to be lost
	defer cancel()
	tr := from.Trace(dsm.TraceQuery{Region: region, Page: -1, Kinds: []trace.Kind{trace.Served, trace.Failed}, Held: d == 0})
	look := func() error {
		pages, err := from.Pages(asking, dsm.PageQuery{Region: region, Page: -1, Top: classified})
		b.look(pages)
		return err
	}
	if err := b.collect(asking, tr, d, ctx.Done(), look); err != nil {
		return nil, err
	}
	p := b.profile()
	p.TimeNanos, p.DurationNanos = start.UnixNano(), int64(time.Since(start))
	return p, p.CheckValid()
}

// collect adds the events of tr until d has passed or stop is closed, and looks at the pages now and then.
func (b *builder) collect(ctx context.Context, tr *dsm.Tracer, d time.Duration, stop <-chan struct{}, look func() error) error {
	end := time.After(d)
	tick, looks := time.NewTicker(collectEvery), time.NewTicker(lookEvery)
	defer tick.Stop()
	defer looks.Stop()
	for last := d == 0; ; {
		ch, err := tr.Next(ctx)
		if err != nil {
			return err
		}
		b.add(&ch)
		if last {
			return look()
		}
		select {
		case <-tick.C:
		case <-looks.C:
			err = look()
		case <-end:
			last = true
		case <-stop:
			last = true
		}
		if err != nil {
			return err
		}
	}
}

// builder sums up events.
type builder struct {
	names trace.Names
	lost  map[pagetable.NodeID]uint64
	sums  map[key]*values
	order []key
	pages map[string]*described
}

// key is what the events of one sample have in common.
type key struct {
	page       pagetable.PageID
	node, peer pagetable.NodeID
	site       uint32
	offset     uint32
	access     pagetable.Access
}

type values struct{ faults, bytes, wait int64 }

func newBuilder() *builder {
	return &builder{lost: map[pagetable.NodeID]uint64{}, sums: map[key]*values{}, pages: map[string]*described{}}
}

func (b *builder) add(ch *trace.Chunk) {
	b.names.Add(ch)
	for _, l := range ch.Lost {
		b.lost[l.Node] += l.Events
	}
	for _, e := range ch.Events {
		k := key{e.Page, e.Node, e.Other, e.Site, e.Offset, e.Access}
		v := b.sums[k]
		if v == nil {
			v = &values{}
			b.sums[k] = v
			b.order = append(b.order, k)
		}
		v.faults++
		v.bytes += int64(e.Bytes)
		v.wait += e.Wait
	}
}

// described is a page of which more is known than its events say.
type described struct {
	stall, most uint64 // waited when it was looked at last, and the most that came between two looks
	class       string // at the later one of these
	names       layout.Names
}

// look notes how nodes share the pages. A page keeps the class that it had when it was waited for most: at the end
// of a program somebody reads what all have written, and pages are classified by what happens of late.
func (b *builder) look(pages []dsm.PageStats) {
	for _, p := range pages {
		d := b.pages[pageName(p.Region, p.Page)]
		if d == nil {
			d = &described{}
			b.pages[pageName(p.Region, p.Page)] = d
		}
		more := p.StallNanos - d.stall
		if p.StallNanos < d.stall { // the counts were reset
			more = p.StallNanos
		}
		if d.stall = p.StallNanos; more >= d.most {
			d.most, d.class = more, p.Verdict.Class.String()
		}
		d.names = layout.NamesOf(p.Types)
	}
}

// profile returns what was summed up.
func (b *builder) profile() *pprof.Profile {
	w := writer{
		places: map[trace.Site]*pprof.Location{}, functions: map[pprof.Function]*pprof.Function{},
		Profile: &pprof.Profile{
			SampleType:        []*pprof.ValueType{{Type: "faults", Unit: "count"}, {Type: "bytes", Unit: "bytes"}, {Type: "wait", Unit: "nanoseconds"}},
			DefaultSampleType: "wait",
			PeriodType:        &pprof.ValueType{Type: "faults", Unit: "count"},
			Period:            1,
		},
	}
	likely := b.likely()
	merged := map[string]*pprof.Sample{}
	for _, k := range b.order {
		labels, v := b.labels(k), b.sums[k]
		if k.site == 0 {
			k.site = likely[k.use()]
		}
		id := fmt.Sprint(k.site, labels)
		s := merged[id]
		if s == nil {
			s = &pprof.Sample{Value: make([]int64, 3), Location: []*pprof.Location{w.location(b.site(k))}, Label: labels}
			merged[id] = s
			w.Sample = append(w.Sample, s)
		}
		s.Value[0] += v.faults
		s.Value[1] += v.bytes
		s.Value[2] += v.wait
	}
	for n, events := range b.lost {
		w.Comments = append(w.Comments, fmt.Sprintf("%v: %d events were overwritten before they were collected", n, events))
	}
	return w.Profile
}

// use is what a node does with a page.
type use struct {
	page   pagetable.PageID
	node   pagetable.NodeID
	access pagetable.Access
}

func (k key) use() use { return use{k.page, k.node, k.access} }

// likely returns the line that has waited longest for each use. It stands in for waits before the first of which a
// line is known: those of attached programs are looked at now and then.
func (b *builder) likely() map[use]uint32 {
	most, site := map[use]int64{}, map[use]uint32{}
	for _, k := range b.order {
		if v := b.sums[k]; k.site != 0 && v.wait >= most[k.use()] {
			most[k.use()], site[k.use()] = v.wait, k.site
		}
	}
	return site
}

func pageName(region string, index uint64) string { return fmt.Sprintf("%s[%d]", region, index) }

func (b *builder) labels(k key) map[string][]string {
	region, _ := b.names.Region(k.page.Region())
	page := pageName(region.Name, k.page.Index())
	l := map[string][]string{
		"region": {region.Name}, "page": {page}, "access": {k.access.String()}, "node": {k.node.String()},
	}
	if k.peer != 0 {
		l["peer"] = []string{k.peer.String()}
	}
	if p := b.pages[page]; p != nil {
		l["class"] = []string{p.class}
		if field := p.names.At(k.page.Index()*uint64(region.PageSize) + uint64(k.offset)); field != "" {
			l["field"] = []string{field}
		}
	}
	return l
}

func (b *builder) site(k key) trace.Site {
	if s, ok := b.names.Site(k.node, k.site); ok {
		return trace.Site{Line: s.Line, Function: s.Function} // the same at all nodes
	}
	return trace.Site{Function: "unknown"}
}
