package bench

import (
	"context"
	"sync/atomic"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "latency", Suite: "micro", MinRanks: 2, Default: true, Size: 2048,
		Purpose: "what one access costs: in place, and for each way to fetch a page",
		Sharing: "rank 0 touches pages homed at rank 1; dirty ones are owned by rank 2 if there is one",
		Run:     measureLatency,
	})
}

const (
	latencyPages = 64 // of each region, prepared together
	latencyBatch = 16 // of each kind in a row, so that drift meets all kinds alike
	// latencyStride is how far apart pages are that are touched one after the other: neighbours would be
	// read ahead where memory is mapped. It has no divisor in common with latencyPages.
	latencyStride = 29
)

// latency is what the ranks share, and what rank 0 finds out.
type latency struct {
	*Rank
	ctx   context.Context
	wire  *wire
	owner int // rank that owns the dirty pages

	// Each page's words hold the round in which its owner wrote it. Rank 0 reads clean and dirty, writes
	// missed without having it, and writes upgraded after reading it.
	clean, dirty, missed, upgraded *pages
	local                          *pages      // homed at rank 0, which alone uses it
	turn                           int         // which kind is first
	wrong                          *dsm.Region // one word: how many values were not the expected ones

	echo, hit  samples
	idle, busy fetches // while the home's program waits, and while it computes

	mapped *mappedLatency // nil if memory is not mapped
}

// fetches are the samples of each way to fetch a page.
type fetches struct{ cleanRead, dirtyRead, writeMiss, upgrade samples }

func (f *fetches) report(r *Rank, suffix string) {
	for name, s := range map[string]samples{
		"clean_read": f.cleanRead, "dirty_read": f.dirtyRead, "write_miss": f.writeMiss, "upgrade": f.upgrade,
	} {
		r.Metric(name+suffix, s.metric())
	}
}

func measureLatency(ctx context.Context, r *Rank) error {
	rounds := max(1, r.size()/latencyPages)
	l := &latency{Rank: r, ctx: ctx, wire: openWire(ctx, r), owner: min(2, r.Ranks-1)}
	defer l.wire.close()
	r.Result.Params["dirty_owner"] = l.owner
	for name, p := range map[string]**pages{
		"clean": &l.clean, "dirty": &l.dirty, "missed": &l.missed, "upgraded": &l.upgraded,
	} {
		*p = newPages(r, r.homedAt(ctx, name, latencyPages, 1))
	}
	l.wrong = r.homedAt(ctx, "wrong", 1, 1)
	l.local = newPages(r, r.homedAt(ctx, "local", 1, 0))
	if r.Space.Access() == dsm.Mapped {
		l.mapped = newMappedLatency(ctx, r, rounds)
	}
	err := r.Timed(ctx, func() error {
		for round := range rounds {
			l.round(uint64(4*round+1), &l.idle)
			l.round(uint64(4*round+3), &l.busy)
		}
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	l.report()
	return nil
}

// round has rank 0 fetch every page once in each way. If the samples are for a busy home, rank 1 computes
// meanwhile, in a loop that nobody can stop.
func (l *latency) round(round uint64, f *fetches) {
	l.prepare(round)
	stop := func() {}
	if f == &l.busy && l.Rank.Rank == 1 {
		stop = compute()
	}
	if l.Rank.Rank == 0 {
		l.measure(round, f)
	}
	check(l.Barrier(l.ctx))
	stop()
	l.inspect(round + 1)
}

// compute has one processor compute flat out until stop is called.
func compute() (stop func()) {
	var stopped atomic.Bool
	ended := make(chan uint64)
	go func() {
		x := uint64(1)
		for !stopped.Load() {
			for range 1 << 10 {
				x = x*6364136223846793005 + 1442695040888963407
			}
		}
		ended <- x
	}()
	return func() {
		stopped.Store(true)
		<-ended
	}
}

// prepare brings every page into the state in which rank 0 shall meet it.
func (l *latency) prepare(round uint64) {
	for page := range latencyPages {
		if l.Rank.Rank == 1 {
			l.write(l.clean, page, round)
			l.write(l.missed, page, round)
			l.write(l.upgraded, page, round)
		}
		if l.Rank.Rank == l.owner {
			l.write(l.dirty, page, round)
		}
	}
	check(l.Barrier(l.ctx))
	if l.Rank.Rank == 2 { // its read makes the home's copy a clean one
		for page := range latencyPages {
			l.read(l.clean, page, round)
		}
	}
	if l.Rank.Rank == 0 {
		for page := range latencyPages {
			l.read(l.upgraded, page, round)
		}
	}
	check(l.Barrier(l.ctx))
}

// measure takes a batch of each kind at a time. Each kind is first in turn: what came before has its effect,
// as the monitor of Go's runtime looks around more often for a millisecond after system calls.
func (l *latency) measure(round uint64, f *fetches) {
	for first := 0; first < latencyPages; first += latencyBatch {
		each := func(s *samples, op func(*pages, int, uint64), p *pages, value uint64) func() {
			return func() {
				for i := first; i < first+latencyBatch; i++ {
					page := i * latencyStride % latencyPages
					s.time(func() { op(p, page, value) })
				}
			}
		}
		kinds := []func(){
			each(&f.cleanRead, l.read, l.clean, round), each(&f.dirtyRead, l.read, l.dirty, round),
			each(&f.writeMiss, l.write, l.missed, round+1), each(&f.upgrade, l.write, l.upgraded, round+1),
		}
		if f == &l.idle {
			kinds = append(kinds, func() { l.measureRest(round) })
		}
		for i := range kinds {
			kinds[(i+l.turn)%len(kinds)]()
		}
		l.turn++
	}
}

// measureRest takes one batch of what no home has a part in, or rank 1 itself.
func (l *latency) measureRest(round uint64) {
	for range latencyBatch {
		l.echo.time(func() { l.wire.fetch(l.clean.region.PageSize()) })
	}
	l.write(l.local, 0, round)
	l.hit.timeEach(1000, func() { l.read(l.local, 0, round) })
	if l.mapped != nil {
		l.mapped.measure(l.ctx, l.Space)
	}
}

// inspect has rank 1 look at what rank 0 wrote.
func (l *latency) inspect(round uint64) {
	if l.Rank.Rank != 1 {
		return
	}
	for page := range latencyPages {
		l.read(l.missed, page, round)
		l.read(l.upgraded, page, round)
	}
}

// pages is a region whose pages are touched one by one: by plain loads and stores if it is mapped, else
// through views.
type pages struct {
	region *dsm.Region
	words  int      // of a page
	plain  []uint64 // the whole region; nil if it is not mapped
}

func newPages(r *Rank, region *dsm.Region) *pages {
	p := &pages{region: region, words: region.PageSize() / 8}
	if r.Space.Access() == dsm.Mapped {
		var err error
		p.plain, err = dsm.Slice[uint64](region)
		check(err)
	}
	return p
}

// use calls f with the words of a page.
func (p *pages) use(ctx context.Context, page int, a pagetable.Access, f func([]uint64)) {
	if p.plain != nil {
		f(p.plain[page*p.words : (page+1)*p.words])
		return
	}
	v, err := dsm.ViewOf[uint64](ctx, p.region, int64(page*p.words), int64(p.words), a)
	check(err)
	f(v.Slice())
	v.Release()
}

// write sets the first and the last word of a page.
func (l *latency) write(p *pages, page int, value uint64) {
	p.use(l.ctx, page, pagetable.WriteAccess, func(s []uint64) { s[0], s[len(s)-1] = value, value })
}

// read compares the first and the last word of a page with what they should be.
func (l *latency) read(p *pages, page int, value uint64) {
	var right bool
	p.use(l.ctx, page, pagetable.ReadAccess, func(s []uint64) { right = s[0] == value && s[len(s)-1] == value })
	if !right {
		_, err := l.wrong.Add(l.ctx, 0, 1)
		check(err)
	}
}

func (l *latency) report() {
	l.Metric("raw_echo", l.echo.metric())
	l.Metric("local_hit", l.hit.metric())
	l.idle.report(l.Rank, "")
	l.busy.report(l.Rank, "_busy_home")
	if l.mapped != nil {
		l.Metric("mapped_clean_read", l.idle.cleanRead.metric())
		l.mapped.report(l.Rank)
	}
	wrong, err := l.wrong.Load(l.ctx, 0)
	check(err)
	l.Verify(wrong == 0, "%d pages did not hold what was written to them last", wrong)
}
