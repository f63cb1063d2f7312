package dsm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pagemesh/dsm"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// long is by how much more the random tests do with PAGEMESH_LONG=1.
func long() int {
	if os.Getenv("PAGEMESH_LONG") != "" {
		return 40
	}
	return 1
}

// mirror is a region and what its bytes must be. They are cut into blocks, each of which is used by one
// goroutine at a time, so that at every moment it is known; blocks share pages and lie across them.
type mirror struct {
	regions []*dsm.Region // at each node
	block   int64
	want    []byte
	locks   []chan struct{} // of the blocks; in a bubble, who waits for a sync.Mutex would stop the clock
}

func newMirror(regions []*dsm.Region, block int64) *mirror {
	size := int64(regions[0].Size())
	m := &mirror{regions: regions, block: block, want: make([]byte, size), locks: make([]chan struct{}, size/block)}
	for i := range m.locks {
		m.locks[i] = make(chan struct{}, 1)
	}
	return m
}

// step performs one random access at a node and compares.
func (m *mirror) step(rng *rand.Rand, ctx context.Context) error {
	r := m.regions[rng.IntN(len(m.regions))]
	if rng.IntN(20) == 0 {
		return m.prefetch(rng, ctx, r)
	}
	i := rng.IntN(len(m.locks))
	m.locks[i] <- struct{}{}
	defer func() { <-m.locks[i] }()
	base := int64(i) * m.block
	word := base + 8*rng.Int64N(m.block/8)
	from := base + rng.Int64N(m.block)
	n := 1 + rng.Int64N(base+m.block-from)
	if rng.IntN(2) == 0 {
		return m.read(rng, ctx, r, from, n, word)
	}
	return m.write(rng, ctx, r, from, n, word)
}

// prefetch asks for a piece of the region and gives up now and then, which changes nothing.
func (m *mirror) prefetch(rng *rand.Rand, ctx context.Context, r *dsm.Region) error {
	off := rng.Int64N(int64(len(m.want)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if rng.IntN(2) == 0 {
		time.AfterFunc(time.Duration(rng.IntN(1000))*time.Microsecond, cancel)
	}
	err := r.Prefetch(ctx, off, rng.Int64N(int64(len(m.want))-off), pagetable.Access(1+rng.IntN(2)))
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (m *mirror) read(rng *rand.Rand, ctx context.Context, r *dsm.Region, from, n, word int64) error {
	got, want := make([]byte, n), m.want[from:from+n]
	var err error
	switch rng.IntN(4) {
	case 0:
		_, err = r.ReadAt(got, from)
	case 1:
		var v *dsm.View
		if v, err = r.View(ctx, from, n, read); err == nil {
			copy(got, v.Bytes())
			v.Release()
		}
	case 2:
		var v dsm.TypedView[byte]
		if v, err = dsm.ViewOf[byte](ctx, r, from, n, read); err == nil {
			copy(got, v.Slice())
			v.Release()
		}
	case 3:
		var w uint64
		w, err = r.Load(ctx, word)
		got, want = binary.NativeEndian.AppendUint64(nil, w), m.want[word:word+8]
	}
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%d bytes at %d: read\n%x, want\n%x", len(got), from, got, want)
	}
	return err
}

func (m *mirror) write(rng *rand.Rand, ctx context.Context, r *dsm.Region, from, n, word int64) error {
	old := binary.NativeEndian.Uint64(m.want[word:])
	x := rng.Uint64()
	next, got := old, old
	var ok bool
	var err error
	switch rng.IntN(6) {
	case 0:
		fill(rng, m.want[from:from+n])
		_, err = r.WriteAt(m.want[from:from+n], from)
		return err
	case 1:
		fill(rng, m.want[from:from+n])
		v, err := r.View(ctx, from, n, write)
		if err == nil {
			copy(v.Bytes(), m.want[from:from+n])
			v.Release()
		}
		return err
	case 2:
		next, err = x, r.Store(ctx, word, x)
	case 3:
		next = old + x
		got, err = r.Add(ctx, word, x)
		got -= x
	case 4:
		next = x
		got, err = r.Swap(ctx, word, x)
	case 5:
		if expect := old + uint64(rng.IntN(2)); expect == old {
			next = x
			ok, err = r.CompareAndSwap(ctx, word, expect, x)
		} else {
			ok, err = r.CompareAndSwap(ctx, word, expect, x)
			ok = !ok
		}
		if !ok && err == nil {
			err = fmt.Errorf("word at %d: compare and swap has not seen %x", word, old)
		}
	}
	if err == nil && got != old {
		err = fmt.Errorf("word at %d was %x, want %x", word, got, old)
	}
	binary.NativeEndian.PutUint64(m.want[word:], next)
	return err
}

func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// run has goroutines step through their share of accesses.
func (m *mirror) run(t *testing.T, seed uint64, steps int) {
	t.Helper()
	const goroutines = 6
	var wg sync.WaitGroup
	for g := range uint64(goroutines) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, g))
			for k := range steps {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				err := m.step(rng, ctx)
				cancel()
				if err != nil {
					t.Errorf("step %d of goroutine %d: %v", k, g, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for i, r := range m.regions {
		got := make([]byte, len(m.want))
		if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, m.want) {
			t.Errorf("at the end node %d reads other bytes, %v", i, err)
		}
	}
}

// mirrors opens regions with pages smaller than a block, as large, and larger.
func mirrors(t *testing.T, nodes []*dsm.Space) []*mirror {
	var list []*mirror
	for _, size := range []int{256, 1024, 4096} {
		regions := openRegions(t, nodes, fmt.Sprint(size), dsm.RegionOptions{Size: 24 << 10, PageSize: size})
		list = append(list, newMirror(regions, 1536))
	}
	return list
}

func TestRandomAccesses(t *testing.T) {
	seed := seedOf(t)
	for _, m := range mirrors(t, openNodes(t, 4, dsm.Config{})) {
		m.run(t, seed, 300*long())
	}
}

// TestRandomAccessesOnASlowNetwork lets packets of different pairs of nodes overtake each other by far.
func TestRandomAccessesOnASlowNetwork(t *testing.T) {
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(awaitProbes)
		net := transport.NewMemoryNetwork(seed, transport.Faults{MaxDelay: 5 * time.Millisecond})
		nodes := openNodes(t, 4, dsm.OnMemory(net, dsm.Config{}))
		for _, m := range mirrors(t, nodes) {
			m.run(t, seed, 100*long())
		}
	})
}

// crowd is a changing set of nodes that all do the same: count words up, alone and under a mutex.
type crowd struct {
	t     *testing.T
	seeds []string
	seed  uint64
	rank  int

	wg    sync.WaitGroup
	stop  atomic.Bool
	alone [32]atomic.Uint64 // what was counted for sure
	under atomic.Uint64
}

const crowdSize = 32 * 512

// add opens a node and has it work until it leaves or all stop.
func (c *crowd) add() *dsm.Space {
	s := openNode(c.t, dsm.Config{Seeds: c.seeds, Rank: c.rank})
	c.rank++
	c.seeds = append(c.seeds, s.Addr())
	r := openRegions(c.t, []*dsm.Space{s}, "words", dsm.RegionOptions{Size: crowdSize, PageSize: 1024})[0]
	for g := range uint64(2) {
		rng := rand.New(rand.NewPCG(c.seed, uint64(s.Self())<<8+g))
		c.wg.Go(func() {
			for !c.stop.Load() {
				if err := c.count(rng, s, r); err != nil {
					if !errors.Is(err, dsm.ErrClosed) {
						c.t.Errorf("%v: %v", s.Self(), err)
					}
					return
				}
			}
		})
	}
	return s
}

func (c *crowd) count(rng *rand.Rand, s *dsm.Space, r *dsm.Region) error {
	if rng.IntN(4) > 0 {
		i := rng.IntN(len(c.alone))
		_, err := r.Add(context.Background(), int64(i)*512, 1)
		if err == nil {
			c.alone[i].Add(1)
		}
		return err
	}
	mu := s.Mutex("m")
	if _, err := mu.Lock(context.Background()); err != nil {
		return err
	}
	defer mu.Unlock()
	v, err := r.Load(context.Background(), 8)
	if err == nil {
		err = r.Store(context.Background(), 8, v+1)
	}
	if err == nil {
		c.under.Add(1)
	}
	return err
}

// end stops the work and compares at one of the nodes.
func (c *crowd) end(s *dsm.Space) {
	c.t.Helper()
	c.stop.Store(true)
	c.wg.Wait()
	r := openRegions(c.t, []*dsm.Space{s}, "words", dsm.RegionOptions{})[0]
	for i := range c.alone {
		if v, err := r.Load(patient(c.t), int64(i)*512); v != c.alone[i].Load() || err != nil {
			c.t.Errorf("word %d is %d, %v, but was counted to %d", i, v, err, c.alone[i].Load())
		}
	}
	if v, err := r.Load(patient(c.t), 8); v != c.under.Load() || err != nil || v == 0 {
		c.t.Errorf("under the mutex: %d, %v, but was counted to %d", v, err, c.under.Load())
	}
}

// TestMembersComeAndGoDuringTraffic: nodes join and leave, the one that orders all changes too, several
// at once, while all of them work. Nothing that was written gets lost.
func TestMembersComeAndGoDuringTraffic(t *testing.T) {
	c := &crowd{t: t, seed: seedOf(t)}
	rng := rand.New(rand.NewPCG(c.seed, 0))
	nodes := []*dsm.Space{c.add(), c.add(), c.add()}
	t.Cleanup(func() { closeNodes(t, nodes) })
	for range 6 * long() {
		leave := 1 + rng.IntN(2)
		var left sync.WaitGroup
		for range leave {
			at := rng.IntN(len(nodes)) // often the coordinator
			s := nodes[at]
			nodes = append(nodes[:at:at], nodes[at+1:]...)
			left.Go(func() {
				if err := s.Leave(patient(t)); err != nil {
					t.Errorf("%v leaves: %v", s.Self(), err)
				}
			})
		}
		if rng.IntN(2) == 0 {
			left.Wait()
		}
		c.seeds = nil
		for _, s := range nodes {
			c.seeds = append(c.seeds, s.Addr())
		}
		for range leave {
			nodes = append(nodes, c.add())
		}
		left.Wait()
	}
	c.end(nodes[rng.IntN(len(nodes))])
	if got := nodes[0].Members(); len(got) != len(nodes) {
		t.Errorf("%d members, want %d", len(got), len(nodes))
	}
}
