package dsm_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"pagemesh/dsm"
	"pagemesh/dsm/layout"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

var ctx = context.Background()

// threeNodes opens a space of three nodes in this process. They talk over TCP as they would from three
// machines.
func threeNodes() []*dsm.Space {
	first := must(dsm.Open(ctx, dsm.Config{}))
	nodes := []*dsm.Space{first}
	for rank := 1; rank < 3; rank++ {
		nodes = append(nodes, must(dsm.Open(ctx, dsm.Config{Seeds: []string{first.Addr()}, Rank: rank})))
	}
	return nodes
}

// everywhere opens a region at every node.
func everywhere(nodes []*dsm.Space, name string, options dsm.RegionOptions) []*dsm.Region {
	var regions []*dsm.Region
	for _, node := range nodes {
		regions = append(regions, must(node.Region(ctx, name, options)))
	}
	return regions
}

// onEach runs a program at every node at once.
func onEach(nodes []*dsm.Space, program func(rank int)) {
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() { program(node.Rank()) })
	}
	wg.Wait()
}

func closeAll(nodes []*dsm.Space) {
	for _, node := range nodes {
		check(node.Close())
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Three nodes fill their thirds of one array, meet, and each sums up all of it.
func Example() {
	nodes := threeNodes()
	defer closeAll(nodes)
	const each = 10_000
	regions := everywhere(nodes, "squares", dsm.RegionOptions{Size: 3 * each * 8})

	sums := make([]int64, len(nodes))
	onEach(nodes, func(rank int) {
		mine := must(dsm.ViewOf[int64](ctx, regions[rank], int64(rank*each), each, pagetable.WriteAccess))
		for i := range mine.Slice() {
			n := int64(rank*each + i)
			mine.Slice()[i] = n * n
		}
		mine.Release()

		check(nodes[rank].Barrier("filled", len(nodes)).Wait(ctx))

		all := must(dsm.ViewOf[int64](ctx, regions[rank], 0, 3*each, pagetable.ReadAccess))
		for _, square := range all.Slice() {
			sums[rank] += square
		}
		all.Release()
	})
	fmt.Println(sums)
	// Output: [8999550005000 8999550005000 8999550005000]
}

// A founder and a node that joins it. On two machines the second one would be given the first one's
// address on its command line, or by dsm run in its environment (ConfigFromEnv).
func ExampleOpen() {
	founder := must(dsm.Open(ctx, dsm.Config{Cluster: "example", Secret: "s3cret"}))
	joiner, err := dsm.Open(ctx, dsm.Config{Cluster: "example", Secret: "s3cret", Seeds: []string{founder.Addr()}})
	check(err)
	fmt.Println(founder.Self(), joiner.Self(), len(joiner.Members()), "members")

	_, err = dsm.Open(ctx, dsm.Config{Cluster: "example", Secret: "guess", Seeds: []string{founder.Addr()}})
	fmt.Println("without the secret:", errors.Is(err, dsm.ErrJoin))
	check(joiner.Close())
	check(founder.Close())
	// Output:
	// n1 n2 2 members
	// without the secret: true
}

// The first call creates a region, the others open it. All nodes must mean the same thing.
func ExampleSpace_Region() {
	nodes := threeNodes()
	defer closeAll(nodes)
	must(nodes[0].Region(ctx, "grid", dsm.RegionOptions{Size: 1 << 26, PageSize: 16384}))

	grid := must(nodes[1].Region(ctx, "grid", dsm.RegionOptions{}))
	fmt.Println(grid.Size()>>20, "MiB in pages of", grid.PageSize())

	_, err := nodes[2].Region(ctx, "grid", dsm.RegionOptions{Size: 1 << 20})
	fmt.Println(errors.Is(err, dsm.ErrMismatch))
	_, err = nodes[2].Region(ctx, "gird", dsm.RegionOptions{})
	fmt.Println(errors.Is(err, dsm.ErrNotExist))
	// Output:
	// 64 MiB in pages of 16384
	// true
	// true
}

func ExampleRegion_WriteAt() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "text", dsm.RegionOptions{Size: 1 << 20})

	must(regions[0].WriteAt([]byte("written by one node"), 5000))
	p := make([]byte, 19)
	must(regions[2].ReadAt(p, 5000))
	fmt.Printf("%s, read by another\n", p)
	// Output: written by one node, read by another
}

// A region as an array of structs. The view is the memory itself: nothing is copied or encoded.
func ExampleViewOf() {
	type particle struct {
		Mass     float32
		Position [3]float32
	}
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "particles", dsm.RegionOptions{Size: 1000 * 16})

	w := must(dsm.ViewOf[particle](ctx, regions[1], 500, 2, pagetable.WriteAccess))
	w.Slice()[0] = particle{Mass: 1.5, Position: [3]float32{1, 2, 3}}
	w.Slice()[1].Mass = 2.5
	w.Release()

	r := must(dsm.ViewOf[particle](ctx, regions[2], 500, 2, pagetable.ReadAccess))
	defer r.Release()
	fmt.Println(r.Slice())
	// Output: [{1.5 [1 2 3]} {2.5 [0 0 0]}]
}

// Types with Go pointers are refused: the garbage collector of another node knows nothing of them.
func ExampleViewOf_pointers() {
	type user struct {
		ID   uint64
		Name string
	}
	node := must(dsm.Open(ctx, dsm.Config{}))
	defer node.Close()
	users := must(node.Region(ctx, "users", dsm.RegionOptions{Size: 4096}))

	_, err := dsm.ViewOf[user](ctx, users, 0, 1, pagetable.WriteAccess)
	fmt.Println(errors.Is(err, dsm.ErrPointers))
	fmt.Println(err)
	// Output:
	// true
	// type holds Go pointers: user.Name: string; shared memory holds plain data only
}

// One word is counted up by all nodes at once, without a lock.
func ExampleRegion_Add() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "hits", dsm.RegionOptions{Size: 8, PageSize: 256})

	onEach(nodes, func(rank int) {
		for range 1000 {
			must(regions[rank].Add(ctx, 0, 1))
		}
	})
	fmt.Println(must(regions[0].Load(ctx, 0)))
	// Output: 3000
}

// The first node that comes sets the word; the others see that they are late.
func ExampleRegion_CompareAndSwap() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "leader", dsm.RegionOptions{Size: 8})

	var winners atomic.Uint64
	onEach(nodes, func(rank int) {
		me := uint64(nodes[rank].Self())
		if must(regions[rank].CompareAndSwap(ctx, 0, 0, me)) {
			winners.Add(me)
		}
	})
	fmt.Println(winners.Load() == must(regions[0].Load(ctx, 0)))
	// Output: true
}

// A mutex makes several accesses one. Whoever locks it next sees what was written before.
func ExampleMutex() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "account", dsm.RegionOptions{Size: 4096})

	onEach(nodes, func(rank int) {
		mu := nodes[rank].Mutex("account")
		for range 100 {
			must(mu.Lock(ctx))
			balance := must(regions[rank].Load(ctx, 0))
			check(regions[rank].Store(ctx, 0, balance+10))
			check(mu.Unlock())
		}
	})
	fmt.Println(must(regions[0].Load(ctx, 0)))
	// Output: 3000
}

// A mutex is bound to what it guards: the queue is here when Lock returns.
func ExampleMutex_Guards() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "queue", dsm.RegionOptions{Size: 64 << 10, Consistency: pagetable.Release})

	onEach(nodes, func(rank int) {
		mu, queue := nodes[rank].Mutex("queue"), regions[rank]
		check(mu.Guards(queue, 0, 64<<10))
		for range 100 {
			must(mu.Lock(ctx))
			length := must(queue.Load(ctx, 0)) + 1
			check(queue.Store(ctx, int64(8*length), uint64(rank)))
			check(queue.Store(ctx, 0, length))
			check(mu.Unlock())
		}
	})
	mu := nodes[0].Mutex("queue")
	must(mu.Lock(ctx))
	fmt.Println(must(regions[0].Load(ctx, 0)))
	check(mu.Unlock())
	// Output: 300
}

// A node crashes with the mutex locked. The one that gets it next hears of it, holds it, and brings in order what
// it guards; those after it notice nothing.
func ExampleMutex_ownerDied() {
	nodes := threeNodes()
	defer closeAll(nodes[:2])
	homes := dsm.Placement{Nodes: []pagetable.NodeID{1, 2}} // who is lost takes the pages along that it is home of
	balances := everywhere(nodes[:2], "balances", dsm.RegionOptions{Size: 4096, Placement: homes})
	must(nodes[2].Mutex("balances").Lock(ctx))
	check(nodes[2].Close()) // without Leave this is a crash to the others

	for rank, node := range nodes[:2] {
		mu := node.Mutex("balances")
		_, err := mu.Lock(ctx)
		if errors.Is(err, dsm.ErrOwnerDied) {
			err = balances[rank].Store(ctx, 0, 100) // as the books have it
		}
		check(err)
		fmt.Println(must(balances[rank].Load(ctx, 0)))
		check(mu.Unlock())
	}
	// Output:
	// 100
	// 100
}

// Any number of readers, or one writer: a node that reads again and again asks nobody until somebody writes.
func ExampleDeadlockError() {
	nodes := threeNodes()
	defer closeAll(nodes)

	onEach(nodes[:2], func(rank int) {
		mine, other := nodes[rank].Mutex(fmt.Sprint(rank)), nodes[rank].Mutex(fmt.Sprint(1-rank))
		must(mine.Lock(ctx))
		check(nodes[rank].Barrier("both have theirs", 2).Wait(ctx))
		_, err := other.Lock(ctx)
		if d, ok := errors.AsType[*dsm.DeadlockError](err); ok {
			fmt.Println(len(d.Cycle), "wait for each other") // and d says at which lines
			check(mine.Unlock())
			return
		}
		check(err)
		check(other.Unlock())
		check(mine.Unlock())
	})
	// Output: 2 wait for each other
}

func ExampleRWMutex() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "limits", dsm.RegionOptions{Size: 4096})

	onEach(nodes, func(rank int) {
		mu := nodes[rank].RWMutex("limits")
		if rank == 0 {
			must(mu.Lock(ctx))
			check(regions[0].Store(ctx, 0, 10))
			check(regions[0].Store(ctx, 8, 20))
			check(mu.Unlock())
			return
		}
		for range 100 {
			check(mu.RLock(ctx))
			low, high := must(regions[rank].Load(ctx, 0)), must(regions[rank].Load(ctx, 8))
			if high != 2*low {
				fmt.Println("half written:", low, high)
			}
			check(mu.RUnlock())
		}
	})
	fmt.Println(must(regions[1].Load(ctx, 0)), must(regions[2].Load(ctx, 8)))
	// Output: 10 20
}

// A semaphore bounds how much of something all nodes together have at a time.
func ExampleSemaphore() {
	nodes := threeNodes()
	defer closeAll(nodes)
	var open, most atomic.Int64

	onEach(nodes, func(rank int) {
		downloads := nodes[rank].Semaphore("downloads", 2)
		for range 20 {
			check(downloads.Acquire(ctx, 1))
			most.Store(max(most.Load(), open.Add(1)))
			open.Add(-1)
			check(downloads.Release(1))
		}
	})
	fmt.Println(most.Load() <= 2)
	// Output: true
}

// A barrier keeps the nodes in step: in each round all of them read what was written in the round
// before.
func ExampleBarrier() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "ring", dsm.RegionOptions{Size: 3 * 256, PageSize: 256})

	onEach(nodes, func(rank int) {
		step := nodes[rank].Barrier("step", len(nodes))
		mine, left := int64(rank*256), int64((rank+2)%3*256)
		check(regions[rank].Store(ctx, mine, uint64(rank)))
		for range 3 {
			check(step.Wait(ctx))
			v := must(regions[rank].Load(ctx, left))
			check(step.Wait(ctx))
			check(regions[rank].Store(ctx, mine, v+10))
		}
	})
	for rank := range nodes {
		fmt.Println(must(regions[0].Load(ctx, int64(rank*256))))
	}
	// Output:
	// 30
	// 31
	// 32
}

// Prefetch brings many pages at once; what follows finds them here.
func ExampleRegion_Prefetch() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "table", dsm.RegionOptions{Size: 1 << 20})
	must(regions[0].WriteAt(make([]byte, 1<<20), 0))

	check(regions[1].Prefetch(ctx, 0, 1<<20, pagetable.ReadAccess))
	fmt.Println("fetched", nodes[1].Stats().BytesIn>>10, "KiB")
	must(regions[1].ReadAt(make([]byte, 1<<20), 0))
	fmt.Println("and no more:", nodes[1].Stats().BytesIn>>10, "KiB")
	// Output:
	// fetched 1024 KiB
	// and no more: 1024 KiB
}

// A node that is not needed any more leaves: what it owned is with the others afterwards.
func ExampleSpace_Leave() {
	nodes := threeNodes()
	defer closeAll(nodes[1:])
	regions := everywhere(nodes, "kept", dsm.RegionOptions{Size: 1 << 16})
	must(regions[0].WriteAt([]byte("from the founder"), 0))

	check(nodes[0].Leave(ctx))
	p := make([]byte, 16)
	must(regions[2].ReadAt(p, 0))
	fmt.Printf("%s, %d members\n", p, len(nodes[2].Members()))
	// Output: from the founder, 2 members
}

// Whoever looks at the pages of a region that is declared can name what lies in them.
func ExampleDeclare() {
	nodes := threeNodes()
	defer closeAll(nodes)
	type worker struct{ Hits, Misses uint64 }
	regions := everywhere(nodes, "workers", dsm.RegionOptions{Size: 1 << 12, Placement: dsm.Placement{Nodes: []pagetable.NodeID{1}}})
	check(dsm.Declare[worker](regions[1]))
	check(regions[1].Store(ctx, 17*16+8, 1))

	page := must(nodes[0].Pages(ctx, dsm.PageQuery{Page: -1}))[0]
	for _, written := range page.Writers[0].Spans {
		fmt.Println(layout.NamesOf(page.Types).Span(page.Offset+uint64(written.Start), page.Offset+uint64(written.End)))
	}
	// Output: []worker[17].Misses
}

// Two counters that have nothing to do with each other share a page, and the page travels.
func ExampleSpace_Pages() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "counters", dsm.RegionOptions{Size: 4096})
	for range 10 {
		must(regions[1].Add(ctx, 0, 1))
		must(regions[2].Add(ctx, 64, 1))
	}

	for _, page := range must(nodes[0].Pages(ctx, dsm.PageQuery{Page: -1, Top: 10})) {
		fmt.Printf("%s page %d moved %d times\n", page.Region, page.Page, page.Moves)
		for _, w := range page.Writers {
			fmt.Printf("%v writes %v\n", w.Node, w.Spans)
		}
	}
	// Output:
	// counters page 0 moved 19 times
	// n2 writes [{0 8}]
	// n3 writes [{64 72}]
}

// Two nodes write one word of a release region, and no lock says who comes first.
func ExampleSpace_Races() {
	founder := must(dsm.Open(ctx, dsm.Config{DetectRaces: true}))
	nodes := []*dsm.Space{founder, must(dsm.Open(ctx, dsm.Config{DetectRaces: true, Seeds: []string{founder.Addr()}, Rank: 1}))}
	defer closeAll(nodes)
	regions := everywhere(nodes, "hits", dsm.RegionOptions{Size: 4096, Consistency: pagetable.Release})
	check(dsm.Declare[int64](regions[0]))
	onEach(nodes, func(rank int) {
		check(regions[rank].Store(ctx, 8*17, uint64(rank+1)))
		check(nodes[rank].Barrier("hit", len(nodes)).Wait(ctx))
	})

	for _, r := range must(founder.Races(ctx)) {
		fmt.Println(r.Field, "at the same line:", r.First.Line == r.Second.Line)
	}
	// Output: []int64[17] at the same line: true
}

func ExampleSpace_Trace() {
	nodes := threeNodes()
	defer closeAll(nodes)
	regions := everywhere(nodes, "counters", dsm.RegionOptions{Size: 4096})
	for range 2 {
		must(regions[1].Add(ctx, 0, 1))
		must(regions[2].Add(ctx, 64, 1))
	}

	chunk := must(nodes[0].Trace(dsm.TraceQuery{Page: -1, Held: true, Kinds: []trace.Kind{trace.Served}}).Next(ctx))
	var names trace.Names
	names.Add(&chunk)
	var merger trace.Merger
	for _, e := range append(merger.Add(&chunk), merger.Rest()...) {
		fmt.Printf("%v waited to %v %s", e.Node, e.Access, names.Of(&e))
		if e.Cause.Node != 0 {
			fmt.Printf(", which was taken by a %v of %v", e.Cause.Access, e.Cause.Node)
		}
		fmt.Println()
	}
	// Output:
	// n2 waited to write counters[0]
	// n3 waited to write counters[0]
	// n2 waited to write counters[0], which was taken by a write of n3
	// n3 waited to write counters[0], which was taken by a write of n2
}
