package shared_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pagemesh/dsm"
	"pagemesh/dsm/shared"
)

func openQueues[T any](t testing.TB, nodes []*dsm.Space, name string, o shared.QueueOptions) []*shared.Queue[T] {
	t.Helper()
	var all []*shared.Queue[T]
	for _, s := range nodes {
		q, err := shared.OpenQueue[T](patient(t), s, name, o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, q)
	}
	return all
}

// TestQueueMirrored: random calls at random nodes, one after the other, give what they would on a slice.
func TestQueueMirrored(t *testing.T) {
	rng := rand.New(rand.NewPCG(seedOf(t), 0))
	for _, capacity := range []int{1, 7, 200} {
		all := openQueues[wide](t, openNodes(t, 3), "queue", shared.QueueOptions{Capacity: capacity})
		var want []uint64
		ctx := patient(t)
		for i := range uint64(1500 * long()) {
			q := all[rng.IntN(len(all))]
			switch full := len(want) == capacity; {
			case rng.IntN(10) == 0:
				if n, err := q.Len(ctx); n != len(want) || err != nil {
					t.Fatalf("step %d: length %d, want %d, %v", i, n, len(want), err)
				}
			case !full && rng.IntN(2) == 0:
				want = append(want, i)
				if err := q.Put(ctx, wideOf(i)); err != nil {
					t.Fatal(err)
				}
			default:
				v, found, err := q.TryTake(ctx)
				if err != nil || found != (len(want) > 0) || found && v.value() != want[0] {
					t.Fatalf("step %d: %d, %v, %v, want the first of %d", i, v.value(), found, err, len(want))
				}
				want = want[min(1, len(want)):]
			}
		}
	}
}

// queueModel is a queue of numbers: its state is those in it.
var queueModel = porcupine.Model{
	Init: func() any { return []uint64(nil) },
	Step: func(state, input, output any) (bool, any) {
		items, c := state.([]uint64), output.(call)
		switch {
		case c.Kind == "put":
			return true, append(items[:len(items):len(items)], c.In)
		case !c.Found:
			return len(items) == 0, items
		}
		return len(items) > 0 && items[0] == c.Out, items[min(1, len(items)):]
	},
	Equal: func(a, b any) bool { return slices.Equal(a.([]uint64), b.([]uint64)) },
}

// callQueue makes random calls and returns them. With as many puts as takes, none waits for ever. Many clients or
// calls would take the check too long: it has to try orders of puts until takes refute them.
func callQueue(ctx context.Context, q *shared.Queue[wide], rng *rand.Rand, client, n int) ([]call, error) {
	var calls []call
	for i := range n {
		c := call{In: uint64(client)<<32 | uint64(i), Start: time.Now().UnixNano()}
		var v wide
		var err error
		switch {
		case i%2 == 0:
			c.Kind, err = "put", q.Put(ctx, wideOf(c.In))
		case rng.IntN(2) == 0:
			c.Kind, c.Found = "take", true
			v, err = q.Take(ctx)
		default:
			c.Kind = "take"
			v, c.Found, err = q.TryTake(ctx)
		}
		c.Ended, c.Out = time.Now().UnixNano(), v.value()
		if err != nil {
			return nil, err
		}
		calls = append(calls, c)
	}
	return calls, nil
}

var historyQueue = shared.QueueOptions{Capacity: 500}

func TestQueueHistory(t *testing.T) {
	nodes := openNodes(t, 3)
	seed := seedOf(t)
	for round := range 30 * long() {
		all := openQueues[wide](t, nodes, fmt.Sprint("queue ", round), historyQueue)
		clients := make([][]call, len(nodes)+1)
		onEach(len(clients), func(i int) {
			rng := rand.New(rand.NewPCG(seed+uint64(round), uint64(i)))
			var err error
			if clients[i], err = callQueue(patient(t), all[i%len(all)], rng, i, 16); err != nil {
				t.Error(err)
			}
		})
		checkHistory(t, queueModel, clients)
	}
}

func init() {
	programs["queue history"] = func(ctx context.Context, p *program) error {
		q, err := shared.OpenQueue[wide](ctx, p.Space, fmt.Sprint("history ", p.arg), historyQueue)
		if err != nil {
			return err
		}
		if err := p.Barrier("open", 4).Wait(ctx); err != nil {
			return err
		}
		calls, err := callQueue(ctx, q, rand.New(rand.NewPCG(p.arg, uint64(p.rank))), p.rank, 16)
		if err != nil {
			return err
		}
		return errors.Join(json.NewEncoder(os.Stdout).Encode(calls), p.Barrier("done", 4).Wait(ctx))
	}
}

// TestAttachedQueueHistory: four programs on three nodes.
func TestAttachedQueueHistory(t *testing.T) {
	_, sockets := openServing(t, 3)
	seed := seedOf(t)
	for round := range uint64(3 * long()) {
		outputs := runPrograms(t, "queue history", append(sockets, sockets[0]), seed+round)
		checkHistory(t, queueModel, decode(t, outputs))
	}
}

// TestQueueKeepsOrder: through a queue that is nearly always full, every item of each of several producers goes
// to one of several consumers, in order.
func TestQueueKeepsOrder(t *testing.T) {
	const producers, consumers, n = 3, 2, 300
	all := openQueues[[2]int](t, openNodes(t, producers+consumers), "queue", shared.QueueOptions{Capacity: 3})
	var got [consumers][][2]int
	onEach(producers+consumers, func(i int) {
		if i < producers {
			for k := range n {
				if err := all[i].Put(patient(t), [2]int{i, k}); err != nil {
					t.Error(err)
				}
			}
			return
		}
		mine := &got[i-producers]
		for range producers * n / consumers {
			v, err := all[i].Take(patient(t))
			if err != nil {
				t.Error(err)
			}
			*mine = append(*mine, v)
		}
	})
	seen := map[[2]int]bool{}
	for _, items := range got {
		last := map[int]int{}
		for _, v := range items {
			if seen[v] || v[1] < last[v[0]] {
				t.Fatalf("item %v comes twice or too late", v)
			}
			seen[v], last[v[0]] = true, v[1]
		}
	}
	if len(seen) != producers*n {
		t.Errorf("%d items arrived of %d", len(seen), producers*n)
	}
}

// TestQueueWaits: what ends the wait of Put and Take.
func TestQueueWaits(t *testing.T) {
	nodes := openNodes(t, 3)
	for name, c := range map[string]struct {
		full bool
		end  func(q *shared.Queue[int], cancel context.CancelCauseFunc) error
		want error
	}{
		"an empty queue is closed": {false, func(q *shared.Queue[int], _ context.CancelCauseFunc) error { return q.Close(patient(t)) }, shared.ErrQueueClosed},
		"a full queue is closed":   {true, func(q *shared.Queue[int], _ context.CancelCauseFunc) error { return q.Close(patient(t)) }, shared.ErrQueueClosed},
		"its context ends":         {false, func(_ *shared.Queue[int], cancel context.CancelCauseFunc) error { cancel(errEnough); return nil }, errEnough},
		"its context ends, full":   {true, func(_ *shared.Queue[int], cancel context.CancelCauseFunc) error { cancel(errEnough); return nil }, errEnough},
		"an item comes":            {false, func(q *shared.Queue[int], _ context.CancelCauseFunc) error { return q.Put(patient(t), 7) }, nil},
		"an item goes":             {true, func(q *shared.Queue[int], _ context.CancelCauseFunc) error { _, err := q.Take(patient(t)); return err }, nil},
		"an item goes, without wait": {true, func(q *shared.Queue[int], _ context.CancelCauseFunc) error {
			_, _, err := q.TryTake(patient(t))
			return err
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			all := openQueues[int](t, nodes, name, shared.QueueOptions{Capacity: 1})
			ctx, cancel := context.WithCancelCause(patient(t))
			waited := make(chan error, 1)
			if c.full {
				if err := all[0].Put(ctx, 1); err != nil {
					t.Fatal(err)
				}
				go func() { waited <- all[1].Put(ctx, 2) }()
			} else {
				go func() { _, err := all[1].Take(ctx); waited <- err }()
			}
			if err := c.end(all[2], cancel); err != nil {
				t.Error(err)
			}
			if err := <-waited; !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
		})
	}
}

var errEnough = errors.New("enough")

// TestQueueClosed: what is in a queue that is closed can be taken, and nothing can be put in.
func TestQueueClosed(t *testing.T) {
	all := openQueues[int](t, openNodes(t, 2), "queue", shared.QueueOptions{})
	for i := range 3 {
		if err := all[0].Put(patient(t), i); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := all[1].Close(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := all[0].Put(patient(t), 3); !errors.Is(err, shared.ErrQueueClosed) {
		t.Errorf("put: %v", err)
	}
	for i := range 3 {
		if v, err := all[1].Take(patient(t)); v != i || err != nil {
			t.Errorf("take: %d, %v, want %d", v, err, i)
		}
	}
	if _, err := all[0].Take(patient(t)); !errors.Is(err, shared.ErrQueueClosed) {
		t.Errorf("take from an empty one: %v", err)
	}
	if _, found, err := all[0].TryTake(patient(t)); found || !errors.Is(err, shared.ErrQueueClosed) {
		t.Errorf("try to take from an empty one: %v, %v", found, err)
	}
}
