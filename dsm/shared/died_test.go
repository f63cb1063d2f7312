package shared_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
