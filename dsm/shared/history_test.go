package shared_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pagemesh/dsm/shared"
	"pagemesh/pagetable"
)

// A history is what several programs did to a structure and when: it must be one of a structure that does one
// call after the other. (Herlihy and Wing: Linearizability, TOPLAS 12(3), 1990.)

// call is one call of a history.
type call struct {
	Kind         string
	Key          uint64 // of a map
	In, Out      uint64
	Found        bool
	Start, Ended int64 // wall clock of the machine that all programs share, in ns
}

// checkHistory checks what each client did.
func checkHistory(t *testing.T, model porcupine.Model, clients [][]call) {
	t.Helper()
	var all []porcupine.Operation
	for client, calls := range clients {
		for _, c := range calls {
			all = append(all, porcupine.Operation{ClientId: client, Input: c, Call: c.Start, Output: c, Return: c.Ended})
		}
	}
	if !porcupine.CheckOperations(model, all) {
		t.Errorf("the calls can't have been made one after the other")
		for _, op := range all {
			t.Logf("%d %+v", op.ClientId, op.Input)
		}
	}
}

// decode returns the calls that programs have printed.
func decode(t *testing.T, outputs []string) (clients [][]call) {
	t.Helper()
	for _, out := range outputs {
		var calls []call
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&calls); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, calls)
	}
	return clients
}

// entry is the value of one key of a map.
type entry struct {
	v     uint64
	found bool
}

var mapModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[uint64][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(call).Key
			parts[key] = append(parts[key], op)
		}
		var all [][]porcupine.Operation
		for _, part := range parts {
			all = append(all, part)
		}
		return all
	},
	Init: func() any { return entry{} },
	Step: func(state, input, output any) (bool, any) {
		e, c := state.(entry), output.(call)
		switch seen := c.Found == e.found && c.Out == e.v; c.Kind {
		case "put":
			return true, entry{c.In, true}
		case "delete":
			return c.Found == e.found, entry{}
		case "add":
			return seen, entry{e.v + c.In, true}
		default:
			return seen, e
		}
	},
}

const historyKeys = 40 // in two stripes of small capacity, so that buckets are split meanwhile

// wide is a value that takes a while to copy and shows if it is torn.
type wide [24]uint64

func wideOf(v uint64) (w wide) {
	for i := range w {
		w[i] = v
	}
	return w
}

func (w wide) value() uint64 {
	if w != wideOf(w[0]) {
		return 1<<64 - 1
	}
	return w[0]
}

// callMap makes random calls and returns them.
func callMap(ctx context.Context, m *shared.Map[uint64, wide], rng *rand.Rand, n int) ([]call, error) {
	var calls []call
	for range n {
		c := call{Key: rng.Uint64N(historyKeys), In: rng.Uint64N(1 << 40), Start: time.Now().UnixNano()}
		var err error
		var v wide
		switch rng.IntN(7) {
		case 0, 1:
			c.Kind, err = "put", m.Put(ctx, c.Key, wideOf(c.In))
		case 2:
			c.Kind = "delete"
			c.Found, err = m.Delete(ctx, c.Key)
		case 3:
			c.Kind = "add"
			err = m.Update(ctx, c.Key, func(old *wide, found bool) bool {
				v, c.Found = *old, found
				*old = wideOf(old.value() + c.In)
				return true
			})
		default:
			c.Kind = "get"
			v, c.Found, err = m.Get(ctx, c.Key)
		}
		c.Ended, c.Out = time.Now().UnixNano(), v.value()
		if err != nil {
			return nil, err
		}
		calls = append(calls, c)
	}
	return calls, nil
}

var historyMap = shared.MapOptions{Stripes: 2, Capacity: 100}

// TestMapHistory: two goroutines a node.
func TestMapHistory(t *testing.T) {
	nodes := openNodes(t, 3)
	for _, c := range consistencies {
		t.Run(c.String(), func(t *testing.T) {
			seed := seedOf(t)
			o := historyMap
			o.Consistency = c
			for round := range 10 * long() {
				maps := openMaps[uint64, wide](t, nodes, fmt.Sprint(c, round), o)
				clients := make([][]call, 2*len(nodes))
				onEach(len(clients), func(i int) {
					rng := rand.New(rand.NewPCG(seed+uint64(round), uint64(i)))
					var err error
					if clients[i], err = callMap(patient(t), maps[i%len(maps)], rng, 150); err != nil {
						t.Error(err)
					}
				})
				checkHistory(t, mapModel, clients)
			}
		})
	}
}

func init() {
	for _, c := range consistencies {
		programs["map history "+c.String()] = func(ctx context.Context, p *program) error { return historyProgram(ctx, p, c) }
	}
}

func historyProgram(ctx context.Context, p *program, c pagetable.Consistency) error {
	o := historyMap
	o.Consistency = c
	m, err := shared.OpenMap[uint64, wide](ctx, p.Space, fmt.Sprint("history ", p.arg), o)
	if err != nil {
		return err
	}
	if err := p.Barrier("open", 4).Wait(ctx); err != nil {
		return err
	}
	calls, err := callMap(ctx, m, rand.New(rand.NewPCG(p.arg, uint64(p.rank))), 400)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(calls)
}

// TestAttachedMapHistory: four programs on three nodes.
func TestAttachedMapHistory(t *testing.T) {
	_, sockets := openServing(t, 3)
	sockets = append(sockets, sockets[0])
	seed := seedOf(t)
	for i, c := range consistencies {
		for round := range long() {
			outputs := runPrograms(t, "map history "+c.String(), sockets, seed+uint64(2*round+i))
			checkHistory(t, mapModel, decode(t, outputs))
		}
	}
}
