package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"pagemesh/dsm"
)

// mix is a workload of the Yahoo cloud serving benchmark: the chances of operations in percent, and which
// records they choose (Cooper et al., SoCC 10, table 2). What is left are reads of the others.
type mix struct {
	name, purpose                 string
	update, insert, scan, combine int // combine reads, changes, and writes in one
	latest                        bool
	operations                    int // by default
}

var mixes = []mix{
	{name: "ycsb-a", purpose: "a store of records, half of the operations update one", update: 50, operations: 4000},
	{name: "ycsb-b", purpose: "a store of records that are mostly read", update: 5, operations: 4000},
	{name: "ycsb-c", purpose: "a store of records that are only read", operations: 4000},
	{name: "ycsb-d", purpose: "a store of records, of which the newest are wanted", insert: 5, latest: true, operations: 4000},
	{name: "ycsb-e", purpose: "a store of records that are read in runs, through a tree", insert: 5, scan: 95, operations: 400},
	{name: "ycsb-f", purpose: "a store of records that are read, changed and written back", combine: 50, operations: 4000},
}

func init() {
	for _, m := range mixes {
		register(Workload{
			Name: m.name, Suite: "ycsb", Size: m.operations, Mapped: m.scan > 0,
			Purpose: m.purpose,
			Sharing: "all ranks read and write all records, some far more often than others, under locks",
			Run:     func(ctx context.Context, r *Rank) error { return ycsb(ctx, r, m) },
		})
	}
}

const (
	ycsbSeed    = 3
	ycsbRecords = 1000
	ycsbSkew    = 0.99 // the i-th most popular record has the weight 1/i^skew
	ycsbScan    = 100  // records that are scanned at most
)

// ycsb runs size operations on a store. Afterwards no update may be lost, no record torn or missing.
func ycsb(ctx context.Context, r *Rank, m mix) error {
	m.operations = r.size()
	heaps := map[bool]*dsm.Heap{} // by whether they are for one alone
	if m.scan > 0 {
		heaps[true] = newHeap(ctx, r, "alone", (m.operations+ycsbRecords)*treeBytes)
		heaps[false] = newHeap(ctx, r, "heap", (m.operations+ycsbRecords)*treeBytes)
	}
	all, one, err := solveBoth(ctx, r, func(t team) *client { return newClient(t, m, heaps[t.alone]) })
	if err != nil {
		return err
	}
	for kind, s := range all.took {
		r.Metric(kind, s.metric())
	}
	changes, faults := all.total(float64(all.changes)), all.total(float64(all.faults))
	if r.Rank != 0 {
		return nil
	}
	records, updates := all.store.audit()
	inserted := int(all.newest.Get(0)) - ycsbRecords
	r.Verify(updates == int(changes) && one.faults == 0 && faults == 0,
		"%d of %v updates are in the records, %v operations met a record that was torn, missing or out of order", updates, changes, faults)
	r.Verify(records == ycsbRecords+inserted, "%d records of %d", records, ycsbRecords+inserted)
	return nil
}

// client is one member's side of ycsb.
type client struct {
	team
	mix
	store   *store
	newest  *Array[uint64] // one: how many records there are, or are about to be
	index   *tree          // of their keys; nil if nobody scans
	exclude func(func())   // guards index
	rng     *rand.Rand
	popular []float64 // by popularity: the sum of the weights up to that record
	total   func(float64) float64
	took    map[string]samples
	changes int // updates that this member has made
	faults  int // records that were not as they should be
}

func newClient(t team, m mix, h *dsm.Heap) *client {
	c := &client{
		team: t, mix: m, rng: rand.New(rand.NewPCG(ycsbSeed, uint64(t.r.Rank))), took: map[string]samples{},
		store: newStore(t, ycsbRecords+m.operations), newest: teamArray[uint64](t, "newest", 1, layout{words: true}),
		exclude: t.exclude("index"), total: t.adder("total"),
	}
	if h != nil {
		c.index = newTree(t, h)
	}
	sum := 0.0
	for i := range ycsbRecords {
		sum += math.Pow(float64(i+1), -ycsbSkew)
		c.popular = append(c.popular, sum)
	}
	lo, hi := t.share(ycsbRecords)
	for i := lo; i < hi; i++ {
		c.add(i)
	}
	if t.r.Rank == 0 {
		c.newest.Set(0, ycsbRecords)
	}
	return c
}

// add puts in the record of that number.
func (c *client) add(number int) {
	c.store.insert(treeKey(number))
	if c.index != nil {
		c.exclude(func() { c.index.insert(treeKey(number), uint64(number)) })
	}
}

func (c *client) solve() {
	c.meet()
	lo, hi := c.share(c.operations)
	for range hi - lo {
		kind, operation := c.choose(c.rng.IntN(100))
		s := c.took[kind]
		s.time(operation)
		c.took[kind] = s
	}
	c.meet()
}

// choose returns the operation for a number below 100.
func (c *client) choose(percent int) (kind string, operation func()) {
	for _, o := range []struct {
		share     int
		kind      string
		operation func()
	}{
		{c.update, "update", func() { c.change(false) }},
		{c.combine, "read_modify_write", func() { c.change(true) }},
		{c.insert, "insert", func() { c.add(int(addWord(c.newest, 0, 1)) - 1) }},
		{c.scan, "scan", c.scanSome},
	} {
		if percent < o.share {
			return o.kind, o.operation
		}
		percent -= o.share
	}
	return "read", c.read
}

// pick returns the number of a record.
func (c *client) pick() int {
	i, _ := slices.BinarySearch(c.popular, c.rng.Float64()*c.popular[ycsbRecords-1])
	if c.latest {
		return int(addWord(c.newest, 0, 0)) - 1 - i
	}
	return i
}

func (c *client) read() {
	number := c.pick()
	r, found := c.store.read(treeKey(number))
	if found && !r.whole(treeKey(number)) || !found && number < ycsbRecords { // a newer one may be about to come
		c.faults++
	}
}

// change changes a field of a record; it looks at all others first if it is to.
func (c *client) change(look bool) {
	key, field := treeKey(c.pick()), c.rng.IntN(recordFields)
	c.store.update(key, func(r *record, found bool) {
		if !found || look && !r.whole(key) {
			c.faults++
		}
		r.change(key, field)
	})
	c.changes++
}

// scanSome reads some records in the order of their keys.
func (c *client) scanSome() {
	var keys []uint64
	limit := 1 + c.rng.IntN(ycsbScan)
	c.exclude(func() {
		c.index.scan(treeKey(c.pick()), limit, func(key, _ uint64) { keys = append(keys, key) })
	})
	fine := slices.IsSorted(keys)
	for _, key := range keys {
		r, found := c.store.read(key)
		fine = fine && found && r.whole(key)
	}
	if !fine {
		c.faults++
	}
}
