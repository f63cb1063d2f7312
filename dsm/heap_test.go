package dsm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"pagemesh/dsm"
)

// object is an allocation that a test holds.
type object struct {
	a     dsm.Array[uint64]
	owner int
}

// bytesOf returns the bytes of an object in r.
func (o object) bytesOf(r *dsm.Region) (start, end int64) {
	start = o.a.Index(0).Offset(r)
	return start, start + int64(o.a.Len())*8
}

// TestHeapsHandOutDisjointObjects allocates and frees on three nodes at random; objects are also freed
// by heaps that did not allocate them.
func TestHeapsHandOutDisjointObjects(t *testing.T) {
	seed := seedOf(t)
	nodes := openNodes(t, 3, dsm.Config{})
	regions := openRegions(t, nodes, "heap", dsm.RegionOptions{Size: 64 << 20})
	ctx := patient(t)
	pool := make(chan object, 1000)
	live := make([][]object, len(nodes))
	var wg sync.WaitGroup
	for i, s := range nodes {
		h, err := dsm.NewHeap(s, regions[i])
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 400 {
				n := 1 + rng.IntN(100)
				if rng.IntN(20) == 0 {
					n = 1 + rng.IntN(40_000)
				}
				a, err := dsm.MakeSlice[uint64](ctx, h, n)
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				if rng.IntN(3) > 0 {
					live[i] = append(live[i], object{a, i})
					continue
				}
				select {
				case pool <- object{a, i}:
				default:
				}
				if rng.IntN(2) == 0 {
					if err := dsm.FreeSlice(ctx, h, (<-pool).a); err != nil {
						t.Errorf("%v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	checkDisjoint(t, regions[0], append(append(live[0], live[1]...), live[2]...))
}

// checkDisjoint fails if two objects overlap, or share a page though they have different owners.
func checkDisjoint(t *testing.T, r *dsm.Region, objects []object) {
	t.Helper()
	words := map[int64]bool{}
	pages := map[int64]int{}
	for _, o := range objects {
		start, end := o.bytesOf(r)
		for w := start; w < end; w += 8 {
			if words[w] {
				t.Fatalf("the word at %d was handed out twice", w)
			}
			words[w] = true
			page := w / int64(r.PageSize())
			if owner, ok := pages[page]; ok && owner != o.owner {
				t.Fatalf("page %d holds objects of nodes %d and %d", page, owner, o.owner)
			}
			pages[page] = o.owner
		}
	}
}

func TestHeapUsesFreedMemoryAgain(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "heap", dsm.RegionOptions{Size: 1 << 20})
	ctx := patient(t)
	var heaps []*dsm.Heap
	for i, s := range nodes {
		h, err := dsm.NewHeap(s, regions[i])
		if err != nil {
			t.Fatal(err)
		}
		heaps = append(heaps, h)
	}
	for _, n := range []int{1, 100, 9_000, 60_000} {
		for round := range 40 {
			a, err := dsm.MakeSlice[uint64](ctx, heaps[0], n)
			if err != nil {
				t.Fatalf("round %d of %d words: %v", round, n, err)
			}
			first := a.Index(0).Offset(regions[0])
			if v, err := regions[1].Swap(ctx, first, 77); err != nil || v != 0 {
				t.Fatalf("a new object begins with %d, %v", v, err)
			}
			if err := dsm.FreeSlice(ctx, heaps[(round+1)%2], a); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestHeapRefusesWhatCantBe(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	ctx := patient(t)
	small := openRegions(t, nodes, "small", dsm.RegionOptions{Size: 4096})[0]
	if _, err := dsm.NewHeap(nodes[0], small); err == nil {
		t.Error("a region of one page is taken for a heap")
	}
	r := openRegions(t, nodes, "heap", dsm.RegionOptions{Size: 256 << 10})[0]
	h, err := dsm.NewHeap(nodes[0], r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dsm.New[*int](ctx, h); !errors.Is(err, dsm.ErrPointers) {
		t.Errorf("a Go pointer: %v", err)
	}
	for _, n := range []int{0, -1, 1 << 20, 1 << 60} {
		if _, err := dsm.MakeSlice[uint64](ctx, h, n); !errors.Is(err, dsm.ErrHeapFull) {
			t.Errorf("%d words: %v", n, err)
		}
	}
	a, err := dsm.MakeSlice[uint64](ctx, h, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := dsm.Free(ctx, h, a.Index(1)); !errors.Is(err, dsm.ErrRange) {
		t.Errorf("freeing the middle of an object: %v", err)
	}
}

// list is a linked list in shared memory.
type list struct {
	next  dsm.Ptr[list]
	value int64
}

func init() {
	programs["list"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "list", dsm.RegionOptions{Size: 8 << 20})
		if err != nil {
			return err
		}
		root, err := p.Region(ctx, "root", dsm.RegionOptions{Size: 4096})
		if err != nil {
			return err
		}
		h, err := dsm.NewHeap(p.Space, r)
		if err != nil {
			return err
		}
		head, err := dsm.At[dsm.Ptr[list]](root, 0)
		if err != nil {
			return err
		}
		m := p.Mutex("list")
		for i := range p.n {
			item, err := dsm.New[list](ctx, h)
			if err != nil {
				return err
			}
			if _, err := m.Lock(ctx); err != nil {
				return err
			}
			*item.Get() = list{*head, int64(p.rank*p.n + i)}
			*head = item
			if err := m.Unlock(); err != nil {
				return err
			}
		}
		if err := p.barrier(ctx, "built"); err != nil {
			return err
		}
		items, sum := 0, int64(0)
		for at := *head; !at.IsNil(); at = at.Get().next {
			items, sum = items+1, sum+at.Get().value
		}
		fmt.Println(items, sum)
		return p.barrier(ctx, "read")
	}
}

func TestPointersMeanTheSameInEveryProgram(t *testing.T) {
	const nodes, n = 3, 200
	_, sockets := serving(t, nodes)
	total := nodes * n
	want := fmt.Sprintf("%d %d\n", total, total*(total-1)/2)
	for rank, got := range runPrograms(t, "list", sockets, n) {
		if got != want {
			t.Errorf("program %d found %q, want %q", rank, got, want)
		}
	}
}

// seedOf returns the seed that PAGEMESH_SEED names, or a fresh one, and has a failure print it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("PAGEMESH_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("to repeat: PAGEMESH_SEED=%d go test ./dsm -run %s", seed, t.Name())
	return seed
}
