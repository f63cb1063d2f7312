package bench

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pagemesh/bench/ipc"
)

func init() {
	register(Workload{
		Name: "ipc", Suite: "micro", MinRanks: 2, Size: 1000,
		Purpose: "the same exchange by distributed shared memory and by all else that a machine offers",
		Sharing: "rank 0 hands items to rank 1, which acknowledges each; the others watch",
		Run:     compareIPC,
	})
}

// ipcSizes are the items that are handed over. Of the largest there are fewer.
var ipcSizes = []struct {
	name         string
	bytes, fewer int
}{{"64B", 64, 1}, {"4KiB", 4 << 10, 1}, {"1MiB", ipc.MaxItem, 20}}

// compareIPC hands size items of each size from rank 0 to rank 1 in every way that there is.
func compareIPC(ctx context.Context, r *Rank) error {
	c := &comparison{ctx: ctx, r: r, n: r.size(), failed: NewSum(ctx, r, "failed")}
	kinds := append(sharedKinds(ctx, r), ipc.Kinds()...)
	base := r.homedAt(ctx, "directory", 1, 1)
	if r.Rank == 1 {
		dir, err := os.MkdirTemp("", "dsm-ipc-")
		check(err)
		defer os.RemoveAll(dir)
		publish(base, dir)
	}
	check(r.Barrier(ctx))
	c.dir = lookUp(base)
	err := r.Timed(ctx, func() error {
		for _, k := range kinds {
			c.try(k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	wrong := c.failed.Of(ctx, float64(c.wrong))
	if r.Rank == 0 {
		r.Verify(wrong == 0, "%v items or counts were not what they should be", wrong)
		r.Result.Reading = append(r.readIPC(), c.skipped...)
	}
	return nil
}

// comparison is one rank's side of all exchanges.
type comparison struct {
	ctx     context.Context
	r       *Rank
	dir     string
	n       int
	failed  *Sum
	wrong   int      // items and counts
	skipped []string // kinds that don't work here, and why
}

// try measures one kind, unless one of the two ends can't be opened.
func (c *comparison) try(k ipc.Kind) {
	dir := c.dir + "/" + k.Name
	var link ipc.Link
	var err error
	if c.r.Rank == 1 {
		if err = os.Mkdir(dir, 0o700); err == nil {
			link, err = k.Listen(dir)
		}
	}
	check(c.r.Barrier(c.ctx))
	if c.r.Rank == 0 {
		link, err = k.Dial(dir)
	}
	failed := 0.0
	if err != nil {
		failed = 1
		c.skipped = append(c.skipped, fmt.Sprintf("%s was left out: %v.", k.Name, err))
	}
	if c.failed.Of(c.ctx, failed) == 0 {
		c.measure(k, link)
	}
	if link != nil {
		check(link.Close())
	}
}

func (c *comparison) measure(k ipc.Kind, link ipc.Link) {
	for _, size := range ipcSizes {
		if k.Bare && size.bytes > ipcSizes[0].bytes {
			break
		}
		check(c.r.Barrier(c.ctx))
		item, n := make([]byte, size.bytes), max(1, c.n/size.fewer)
		switch c.r.Rank {
		case 0:
			m := c.send(link, item, n)
			if k.Bare {
				m.MiBPerS = 0 // nothing came with it
			}
			c.r.Metric(size.name+"/"+k.Name, m)
		case 1:
			c.serve(k, link, item, n)
		}
	}
	check(c.r.Barrier(c.ctx))
	if c.r.Rank < 2 {
		c.count(k.Name, link)
	}
	check(c.r.Barrier(c.ctx))
}

// send hands over n items. The rate is that of all together.
func (c *comparison) send(link ipc.Link, item []byte, n int) Metric {
	var s samples
	start := time.Now()
	for i := range n {
		item[0], item[len(item)-1] = byte(i), byte(i)
		s.time(func() { check(link.Send(item)) })
	}
	took := time.Since(start).Seconds()
	m := s.metric()
	m.MiBPerS = float64(n*len(item)) / (1 << 20) / took
	return m
}

func (c *comparison) serve(k ipc.Kind, link ipc.Link, item []byte, n int) {
	i := 0
	check(link.Serve(n, item, func(item []byte) {
		if !k.Bare && (item[0] != byte(i) || item[len(item)-1] != byte(i)) {
			c.wrong++
		}
		i++
	}))
}

// count has both ranks add to one counter at once.
func (c *comparison) count(name string, link ipc.Link) {
	add, sum := c.counter(link)
	pair := c.r.Space.Barrier("bench/"+c.r.name+"/count", 2)
	check(pair.Wait(c.ctx))
	start := time.Now()
	for range c.n {
		add()
	}
	took := time.Since(start)
	check(pair.Wait(c.ctx))
	if sum() != 2*uint64(c.n) {
		c.wrong++
	}
	if c.r.Rank == 0 {
		c.r.Metric("counter/"+name, Metric{MedianNs: float64(took) / float64(c.n), N: c.n})
	}
}

// counter returns how a rank adds 1, and the sum once both have added all: in memory that both have, if the link has
// any. Else rank 1 has the counter, and rank 0 sends it an item to have it count.
func (c *comparison) counter(link ipc.Link) (add func(), sum func() uint64) {
	if counter, ok := link.(ipc.Counter); ok {
		return func() { counter.Add(1) }, func() uint64 { return counter.Add(0) }
	}
	item := make([]byte, 8)
	if c.r.Rank == 0 {
		return func() { check(link.Send(item)) }, func() uint64 { return 2 * uint64(c.n) } // rank 1 knows better
	}
	var count atomic.Uint64
	served := make(chan error, 1)
	go func() { served <- link.Serve(c.n, item, func([]byte) { count.Add(1) }) }()
	return func() { count.Add(1) }, func() uint64 {
		check(<-served)
		return count.Load()
	}
}

// twoDigits returns a ratio as accurate as it is worth.
func twoDigits(f float64) string {
	switch {
	case f < 0.1:
		return strconv.FormatFloat(f, 'g', 2, 64)
	case f < 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// readIPC says what the figures mean.
func (r *Rank) readIPC() []string {
	took := func(what, kind string) float64 { return r.Result.Metrics[what+"/"+kind].MedianNs }
	lines := []string{
		"Only tcp, rpc, rest and those of dsm reach another machine.",
	}
	for _, size := range ipcSizes {
		lines = append(lines, compareWith("To hand over "+size.name, func(kind string) float64 { return took(size.name, kind) }))
	}
	lines = append(lines, compareWith("To add to a counter", func(kind string) float64 { return took("counter", kind) }))
	return append(lines,
		"Where both have the counter in memory, or in a file, each adds by itself; else one has it, and the other asks it for every addition.",
		"An item that is handed over once and used once is best sent. Memory that is shared pays where data is used "+
			"more often than it changes, as a counter does that one node adds to many times in a row; among processes of one machine only, "+
			"where it needs no messages at all.")
}

// compareWith says how many times as long as others the fastest way of the space takes.
func compareWith(what string, took func(kind string) float64) string {
	best := slices.MinFunc(ipcShared, func(a, b string) int { return cmp.Compare(took(a), took(b)) })
	line := what + " takes " + best
	for _, kind := range []string{"tcp", "rpc", "rest", "shared_memory"} {
		if other := took(kind); other > 0 {
			line += fmt.Sprintf(" %s times as long as %s,", twoDigits(took(best)/other), kind)
		}
	}
	return strings.TrimSuffix(line, ",") + "."
}
