package shared_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/shared"
	"pagemesh/pagetable"
)

// A writer puts keys in, in order, until somebody kills it.

func writerKey(writer, i uint64) uint64 { return writer<<32 | i }

func writerOptions(c pagetable.Consistency) shared.MapOptions {
	return shared.MapOptions{Stripes: 2, Capacity: 50_000, Consistency: c}
}

func init() {
	for _, c := range consistencies {
		programs["writer "+c.String()] = func(ctx context.Context, p *program) error {
			m, err := shared.OpenMap[uint64, wide](ctx, p.Space, c.String(), writerOptions(c))
			if err != nil {
				return err
			}
			fmt.Println("started")
			for i := uint64(0); ; i++ {
				if err := m.Put(ctx, writerKey(p.arg, i), wideOf(i)); err != nil {
					return err
				}
			}
		}
	}
}

// checkWriter checks that what a writer has put in is whole and without a gap, and returns how much it is.
func checkWriter(ctx context.Context, m *shared.Map[uint64, wide], writer uint64) (uint64, error) {
	n, most := uint64(0), uint64(0)
	err := m.Range(ctx, func(key uint64, v wide) bool {
		if i := key - writerKey(writer, 0); i < 1<<32 && v.value() == i {
			n, most = n+1, max(most, i+1)
		}
		return true
	})
	if err == nil && n != most {
		err = fmt.Errorf("%d keys, of which the last is %d", n, most-1)
	}
	for i := range n {
		v, found, getErr := m.Get(ctx, writerKey(writer, i))
		if getErr != nil || !found || v.value() != i {
			return n, fmt.Errorf("key %d: %d, %v, %w", i, v.value(), found, getErr)
		}
	}
	return n, err
}

// TestProgramDies: wherever a program is when it is killed, the map is whole and goes on.
func TestProgramDies(t *testing.T) {
	nodes, sockets := openServing(t, 2)
	rng := rand.New(rand.NewPCG(seedOf(t), 0))
	for _, c := range consistencies {
		m := openMaps[uint64, wide](t, nodes, c.String(), writerOptions(c))[1]
		for writer := range uint64(6 * long()) {
			cmd := startPrograms(t, "writer "+c.String(), sockets[:1], writer+1)[0]
			time.Sleep(50*time.Millisecond + time.Duration(rng.IntN(50_000))*time.Microsecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // says that it was killed
			n, err := checkWriter(patient(t), m, writer+1)
			if err != nil {
				t.Fatalf("writer %d: %v", writer+1, err)
			}
			t.Logf("%s: killed after %d keys", strings.TrimSpace(cmd.Stdout.(*bytes.Buffer).String()), n)
		}
	}
}

func init() {
	programs["putter"] = func(ctx context.Context, p *program) error {
		q, err := shared.OpenQueue[wide](ctx, p.Space, "queue", shared.QueueOptions{Capacity: 1 << 16})
		for i := uint64(0); err == nil; i++ {
			err = q.Put(ctx, wideOf(p.arg<<32|i))
		}
		return err
	}
	programs["taker"] = func(ctx context.Context, p *program) error {
		q, err := shared.OpenQueue[wide](ctx, p.Space, "queue", shared.QueueOptions{Capacity: 1 << 16})
		for err == nil {
			_, err = q.Take(ctx)
		}
		return err
	}
}

// TestProgramDiesAtQueue: of a program that puts in and one that takes, both of which are killed, a run of items
// without a gap is left.
func TestProgramDiesAtQueue(t *testing.T) {
	nodes, sockets := openServing(t, 2)
	rng := rand.New(rand.NewPCG(seedOf(t), 0))
	q := openQueues[wide](t, nodes, "queue", shared.QueueOptions{Capacity: 1 << 16})[1]
	for round := range uint64(6 * long()) {
		cmds := startPrograms(t, "putter", sockets[:1], round)
		cmds = append(startPrograms(t, "taker", sockets[1:], round), cmds...)
		if round%2 > 0 { // with nothing left for q in most cases
			slices.Reverse(cmds)
		}
		for _, cmd := range cmds {
			time.Sleep(40*time.Millisecond + time.Duration(rng.IntN(30_000))*time.Microsecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // says that it was killed
		}
		n, err := drain(patient(t), q, round<<32)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		t.Logf("%d items were left", n)
	}
}

// drain takes all items and checks that they follow each other, from first or a later one on.
func drain(ctx context.Context, q *shared.Queue[wide], first uint64) (n int, err error) {
	for last := uint64(0); ; n++ {
		v, found, err := q.TryTake(ctx)
		if err != nil || !found {
			return n, err
		}
		if i := v.value(); i < first || i>>32 != first>>32 || n > 0 && i != last+1 {
			return n, fmt.Errorf("item %x follows %x", i, last)
		}
		last = v.value()
	}
}

// TestNodeDies: what is lost with a node is an error, never an entry that is missing or half of one.
func TestNodeDies(t *testing.T) {
	for _, c := range consistencies {
		t.Run(c.String(), func(t *testing.T) {
			nodes := openNodes(t, 3)
			o := shared.MapOptions{Stripes: 8, Capacity: 10_000, Consistency: c}
			all := openMaps[string8, wide](t, nodes, "map", o)
			const n = 1000
			for i := range uint64(n) {
				if err := all[i%3].Put(patient(t), key8(i), wideOf(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := nodes[2].Close(); err != nil {
				t.Fatal(err)
			}
			lost := 0
			for i := range uint64(n) {
				v, found, err := all[0].Get(patient(t), key8(i))
				switch {
				case errors.Is(err, dsm.ErrNodeLost):
					lost++
				case err != nil || !found || v.value() != i:
					t.Errorf("key %d: %d, %v, %v", i, v.value(), found, err)
				}
			}
			if lost == 0 || lost == n {
				t.Errorf("%d of %d keys were lost", lost, n)
			}
		})
	}
}

// string8 is a short text as a key.
type string8 [8]byte

func key8(i uint64) (k string8) {
	copy(k[:], strconv.FormatUint(i, 10))
	return k
}
