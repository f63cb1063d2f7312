package shared_test

import (
	"context"
	"errors"
	"fmt"

	"pagemesh/dsm"
	"pagemesh/dsm/shared"
)

// twoNodes opens a space of two nodes in this process, as if they were on two machines.
func twoNodes() (first, second *dsm.Space) {
	first = must(dsm.Open(context.Background(), dsm.Config{}))
	return first, must(dsm.Open(context.Background(), dsm.Config{Seeds: []string{first.Addr()}}))
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

// One node puts a user in, another one changes it.
func ExampleMap() {
	type user struct {
		Age    int32
		Logins uint32
	}
	ctx := context.Background()
	first, second := twoNodes()
	defer first.Close()
	defer second.Close()

	users := must(shared.OpenMap[[8]byte, user](ctx, first, "users", shared.MapOptions{}))
	check(users.Put(ctx, [8]byte{'a', 'd', 'a'}, user{Age: 36}))

	there := must(shared.OpenMap[[8]byte, user](ctx, second, "users", shared.MapOptions{}))
	check(there.Update(ctx, [8]byte{'a', 'd', 'a'}, func(u *user, found bool) bool {
		u.Logins++
		return found
	}))

	ada, found, err := users.Get(ctx, [8]byte{'a', 'd', 'a'})
	fmt.Printf("%+v %v %v, %d in all\n", ada, found, err, must(users.Len(ctx)))
	// Output: {Age:36 Logins:1} true <nil>, 1 in all
}

// What has no fixed size goes on a heap, and the map leads to it.
func ExampleMap_heap() {
	ctx := context.Background()
	first, second := twoNodes()
	defer first.Close()
	defer second.Close()

	region := must(first.Region(ctx, "texts", dsm.RegionOptions{Size: 1 << 20}))
	heap := must(dsm.NewHeap(first, region))
	texts := must(shared.OpenMap[uint64, dsm.Array[byte]](ctx, first, "by number", shared.MapOptions{}))
	text := "any number of bytes"
	a := must(dsm.MakeSlice[byte](ctx, heap, len(text)))
	must(region.WriteAt([]byte(text), a.Index(0).Offset(region)))
	check(texts.Put(ctx, 7, a))

	there := must(shared.OpenMap[uint64, dsm.Array[byte]](ctx, second, "by number", shared.MapOptions{}))
	b, _, err := there.Get(ctx, 7)
	check(err)
	p := make([]byte, b.Len())
	same := must(second.Region(ctx, "texts", dsm.RegionOptions{}))
	must(same.ReadAt(p, b.Index(0).Offset(same))) // an attached program has it as b.Get()
	fmt.Printf("%s\n", p)
	// Output: any number of bytes
}

// One node hands work to another.
func ExampleQueue() {
	type job struct{ From, To int }
	ctx := context.Background()
	first, second := twoNodes()
	defer first.Close()
	defer second.Close()

	jobs := must(shared.OpenQueue[job](ctx, first, "jobs", shared.QueueOptions{Capacity: 2}))
	go func() {
		for i := range 4 {
			check(jobs.Put(ctx, job{10 * i, 10*i + 10})) // waits while two are in it
		}
		check(jobs.Close(ctx))
	}()

	mine := must(shared.OpenQueue[job](ctx, second, "jobs", shared.QueueOptions{Capacity: 2}))
	for {
		j, err := mine.Take(ctx)
		if errors.Is(err, shared.ErrQueueClosed) {
			break
		}
		check(err)
		fmt.Println(j)
	}
	// Output:
	// {0 10}
	// {10 20}
	// {20 30}
	// {30 40}
}

// Both nodes count, each in memory that stays with it.
func ExampleCounters() {
	const hits, misses = 0, 1
	ctx := context.Background()
	first, second := twoNodes()
	defer first.Close()
	defer second.Close()

	here := must(shared.OpenCounters(ctx, first, "cache", 2, shared.CountersOptions{}))
	there := must(shared.OpenCounters(ctx, second, "cache", 2, shared.CountersOptions{}))
	for range 1000 {
		check(here.Add(ctx, hits, 1))
		check(there.Add(ctx, hits, 1))
	}
	check(there.Add(ctx, misses, 3))
	fmt.Println(must(here.Sums(ctx)))
	// Output: [2000 3]
}
