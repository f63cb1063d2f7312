package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
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
			if size.bytes == ipc.MaxItem {
				m.MiBPerS = 1e9 / m.MedianNs
			}
			c.r.Metric(size.name+"/"+k.Name, m)
		case 1:
			c.serve(k, link, item, n)
		}
	}
	check(c.r.Barrier(c.ctx))
	if counter, ok := link.(ipc.Counter); ok && c.r.Rank < 2 {
		c.count(k.Name, counter)
	}
	check(c.r.Barrier(c.ctx))
}

func (c *comparison) send(link ipc.Link, item []byte, n int) Metric {
	var s samples
	for i := range n {
		item[0], item[len(item)-1] = byte(i), byte(i)
		s.time(func() { check(link.Send(item)) })
	}
	return s.metric()
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

// count has both ranks add to one word at once.
func (c *comparison) count(name string, counter ipc.Counter) {
	pair := c.r.Space.Barrier("bench/"+c.r.name+"/count", 2)
	check(pair.Wait(c.ctx))
	start := time.Now()
	for range c.n {
		counter.Add(1)
	}
	took := time.Since(start)
	check(pair.Wait(c.ctx))
	if c.r.Rank == 0 {
		c.r.Metric("counter/"+name, Metric{MedianNs: float64(took) / float64(c.n), N: c.n})
		if counter.Add(0) != uint64(2*c.n) {
			c.wrong++
		}
	}
}

// twoDigits returns a ratio as accurate as it is worth.
func twoDigits(f float64) string {
	if f < 10 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// readIPC says what the figures mean.
func (r *Rank) readIPC() []string {
	took := func(size, kind string) float64 { return r.Result.Metrics[size+"/"+kind].MedianNs }
	lines := []string{"Only tcp, rpc, rest and the two of dsm reach another machine."}
	for _, size := range ipcSizes {
		best := min(took(size.name, ipcWords), took(size.name, ipcBarrier))
		line := "To hand over " + size.name + " takes dsm"
		for _, kind := range []string{"tcp", "rpc", "rest", "shared_memory"} {
			if other := took(size.name, kind); other > 0 {
				line += fmt.Sprintf(" %s times as long as %s,", twoDigits(best/other), kind)
			}
		}
		lines = append(lines, strings.TrimSuffix(line, ",")+".")
	}
	lines = append(lines, "What can only send counts by asking the one that has the counter, which takes as long as 64B.")
	return append(lines, "An item that is handed over once and used once is best sent. Memory that is shared pays where data is used "+
		"more often than it changes; among processes of one machine only, where it needs no messages at all.")
}
