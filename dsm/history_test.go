package dsm_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pagemesh/dsm"
)

// These are the litmus shapes and histories of mapped_litmus_test.go and mapped_history_test.go, by the
// calls of embedded nodes.

// call makes one access to the word at off by one of the calls that can.
func (o *historyOp) call(rng *rand.Rand, r *dsm.Region, off int64) (err error) {
	ctx := context.Background()
	o.Call = time.Now().UnixNano()
	switch o.Kind {
	case historyLoad:
		o.Out, err = callLoad(rng.IntN(3), r, off)
	case historyStore:
		err = callStore(rng.IntN(3), r, off, o.In)
	case historyAdd:
		o.Out, err = r.Add(ctx, off, o.In)
	case historySwap:
		o.Out, err = r.Swap(ctx, off, o.In)
	case historyCAS:
		var ok bool
		if ok, err = r.CompareAndSwap(ctx, off, o.Old, o.In); ok {
			o.Out = 1
		}
	}
	o.Return = time.Now().UnixNano()
	return err
}

func callLoad(means int, r *dsm.Region, off int64) (v uint64, err error) {
	switch means {
	case 0:
		return r.Load(context.Background(), off)
	case 1:
		var b [8]byte
		_, err = r.ReadAt(b[:], off)
		return binary.NativeEndian.Uint64(b[:]), err
	}
	view, err := dsm.ViewOf[uint64](context.Background(), r, off/8, 1, read)
	if err != nil {
		return 0, err
	}
	defer view.Release()
	return view.Slice()[0], nil
}

func callStore(means int, r *dsm.Region, off int64, v uint64) error {
	switch means {
	case 0:
		return r.Store(context.Background(), off, v)
	case 1:
		_, err := r.WriteAt(binary.NativeEndian.AppendUint64(nil, v), off)
		return err
	}
	view, err := dsm.ViewOf[uint64](context.Background(), r, off/8, 1, write)
	if err != nil {
		return err
	}
	defer view.Release()
	view.Slice()[0] = v
	return nil
}

// TestHistories: one goroutine a node, since views of one node exclude nobody there.
func TestHistories(t *testing.T) {
	seed := seedOf(t)
	nodes := openNodes(t, 4, dsm.Config{})
	for round := range 20 * long() {
		regions := openRegions(t, nodes, fmt.Sprint("history ", round), dsm.RegionOptions{Size: 2 * pageSize})
		histories := make([][]historyOp, len(nodes))
		each(nodes, func(i int, _ *dsm.Space) {
			rng := rand.New(rand.NewPCG(seed+uint64(round), uint64(i)))
			last := make([]uint64, historyWords) // what was loaded last, for a compare-and-swap to have a chance
			for n := range 60 {
				w := rng.IntN(historyWords)
				o := historyOp{Word: w, Kind: historyKind(rng.IntN(int(historyKinds))), In: uint64(i+1)<<32 | uint64(n), Old: last[w]}
				dawdle(rng)
				if err := o.call(rng, regions[i], int64(w%2*pageSize+8*w)); err != nil {
					t.Error(err)
				}
				last[w] = o.Out
				histories[i] = append(histories[i], o)
			}
		})
		checkHistory(t, round, histories)
	}
}

func TestLitmusShapes(t *testing.T) {
	seed := seedOf(t)
	nodes := openNodes(t, 4, dsm.Config{})
	times := 60 * long()
	for i, shape := range litmusShapes {
		for _, together := range []bool{true, false} {
			distance := int64(pageSize) // of the two words of one time
			if together {
				distance = 8
			}
			name := fmt.Sprintf("%s, together: %v", shape.name, together)
			regions := openRegions(t, nodes, name, dsm.RegionOptions{Size: uint64(2 * times * pageSize)})
			outcomes := shape.outcomes()
			var wg sync.WaitGroup
			loaded := make([][]byte, len(shape.threads)*times)
			for thread, ops := range shape.threads {
				rng := rand.New(rand.NewPCG(seed, uint64(i*len(nodes)+thread)))
				wg.Go(func() {
					b := nodes[thread].Barrier(name, len(shape.threads))
					for time := range times {
						if err := b.Wait(patient(t)); err != nil {
							t.Error(err)
							return
						}
						base := int64(2 * time * pageSize)
						loaded[time*len(shape.threads)+thread] = runLitmus(t, rng, regions[thread], ops, base, distance)
					}
				})
			}
			wg.Wait()
			for time := range times {
				var words [litmusWords]byte
				for w := range words {
					v, err := regions[0].Load(patient(t), int64(2*time*pageSize)+int64(w)*distance)
					if err != nil {
						t.Fatal(err)
					}
					words[w] = byte(v)
				}
				if got := fmt.Sprint(loaded[time*len(shape.threads):][:len(shape.threads)], words); !outcomes[got] {
					t.Errorf("%s: %s is what no interleaving gives", name, got)
				}
			}
		}
	}
}

// runLitmus runs one thread of a shape once and returns what it has loaded.
func runLitmus(t *testing.T, rng *rand.Rand, r *dsm.Region, ops []litmusOp, base, distance int64) (loaded []byte) {
	for _, op := range ops {
		dawdle(rng)
		off := base + int64(op.word)*distance
		if op.store > 0 {
			if err := callStore(rng.IntN(3), r, off, uint64(op.store)); err != nil {
				t.Error(err)
			}
			continue
		}
		v, err := callLoad(rng.IntN(3), r, off)
		if err != nil {
			t.Error(err)
		}
		loaded = append(loaded, byte(v))
	}
	return loaded
}
