package dsm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history is what attached programs did to a few words and when: it must be one of memory that does one
// access after the other. (Herlihy and Wing: Linearizability, TOPLAS 12(3), 1990.)

// historyOp is one access.
type historyOp struct {
	Word         int
	Kind         historyKind
	In, Old, Out uint64 // Old is what a compare-and-swap expects
	Call, Return int64  // wall clock of the machine that all programs share, in ns
}

type historyKind int

const (
	historyLoad historyKind = iota
	historyStore
	historyAdd  // returns the sum
	historySwap // returns the old value
	historyCAS  // returns 1 if it has swapped
	historyKinds
)

// apply is what memory should do.
func (o historyOp) apply(word uint64) (out, next uint64) {
	switch o.Kind {
	case historyStore:
		return 0, o.In
	case historyAdd:
		return word + o.In, word + o.In
	case historySwap:
		return word, o.In
	case historyCAS:
		if word == o.Old {
			return 1, o.In
		}
		return 0, word
	}
	return word, word
}

// perform is what memory does. Without plain, only atomic instructions are used: those of threads that run
// on one node take effect before the clock is read, which is not so for a store that the processor holds back.
func (o *historyOp) perform(rng *rand.Rand, b []byte, plain bool) {
	p, means := &words(b)[0], 1
	if plain {
		means = []int{0, 1, 3}[rng.IntN(3)]
	}
	o.Call = time.Now().UnixNano()
	switch o.Kind {
	case historyLoad:
		o.Out = loadBits(means, b)
	case historyStore:
		storeWord(means, b, o.In)
	case historyAdd:
		o.Out = atomic.AddUint64(p, o.In)
	case historySwap:
		o.Out = atomic.SwapUint64(p, o.In)
	case historyCAS:
		if atomic.CompareAndSwapUint64(p, o.Old, o.In) {
			o.Out = 1
		}
	}
	o.Return = time.Now().UnixNano()
}

var historyModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, historyWords)
		for _, op := range history {
			w := op.Input.(historyOp).Word
			parts[w] = append(parts[w], op)
		}
		return parts
	},
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		out, next := input.(historyOp).apply(state.(uint64))
		return out == output.(uint64), next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v", input) },
}

// The words of a history lie on two pages, so that neighbours get into each other's way.
const historyWords = 6

const (
	historyEnv = "TEST_HISTORY_SEED"
	sharersEnv = "TEST_HISTORY_SHARERS" // programs of a rank below share their node with another
)

func init() {
	programs["history"] = func(ctx context.Context, p *testProgram) error {
		seed, err := strconv.ParseUint(os.Getenv(historyEnv), 10, 64)
		if err != nil {
			return err
		}
		sharers, err := strconv.Atoi(os.Getenv(sharersEnv))
		if err != nil {
			return err
		}
		defer collectGarbage()()
		const rounds = 5
		b, err := p.bytes(ctx, fmt.Sprint("history ", seed), 2*pageSize*rounds)
		if err != nil {
			return err
		}
		rng := rand.New(rand.NewPCG(seed, uint64(p.rank)))
		for round := range rounds {
			if err := p.barrier(ctx, "round"); err != nil {
				return err
			}
			ops := p.history(rng, b[2*pageSize*round:][:2*pageSize], p.rank >= sharers && p.rank < p.ranks-sharers)
			if err := json.NewEncoder(os.Stdout).Encode(ops); err != nil {
				return err
			}
		}
		return nil
	}
}

// history performs random accesses and returns them.
func (p *testProgram) history(rng *rand.Rand, b []byte, plain bool) []historyOp {
	ops := make([]historyOp, p.n)
	last := make([]uint64, historyWords) // what was loaded last, for a compare-and-swap to have a chance
	for i := range ops {
		w := rng.IntN(historyWords)
		o := historyOp{Word: w, Kind: historyKind(rng.IntN(int(historyKinds))), In: uint64(p.rank+1)<<32 | uint64(i), Old: last[w]}
		dawdle(rng)
		off := w%2*pageSize + 8*w
		o.perform(rng, b[off:off+8], plain)
		switch o.Kind {
		case historyLoad, historyAdd:
			last[w] = o.Out
		case historyStore, historySwap:
			last[w] = o.In
		}
		ops[i] = o
	}
	return ops
}

// TestMappedHistories: programs on 4 nodes, of which two share theirs with another program each.
func TestMappedHistories(t *testing.T) {
	seed := seedOf(t)
	_, sockets := serving(t, 4)
	sockets = append(sockets, sockets[:2]...)
	for range long() {
		for _, procs := range []int{1, 2, 4} {
			seed++
			outputs := runPrograms(t, "history", sockets, 40, "GOMAXPROCS="+strconv.Itoa(procs), sharersEnv+"=2",
				fmt.Sprintf("%s=%d", historyEnv, seed))
			if t.Failed() {
				return
			}
			checkHistories(t, outputs)
		}
	}
}

// checkHistories checks what all programs did, round by round.
func checkHistories(t *testing.T, outputs []string) {
	t.Helper()
	var decoders []*json.Decoder
	for _, out := range outputs {
		decoders = append(decoders, json.NewDecoder(strings.NewReader(out)))
	}
	for round := 0; decoders[0].More(); round++ {
		histories := make([][]historyOp, len(decoders))
		for client, d := range decoders {
			if err := d.Decode(&histories[client]); err != nil {
				t.Fatal(err)
			}
		}
		checkHistory(t, round, histories)
	}
}

// checkHistory checks what all clients did in one round.
func checkHistory(t *testing.T, round int, histories [][]historyOp) {
	t.Helper()
	var all []porcupine.Operation
	for client, ops := range histories {
		for _, o := range ops {
			all = append(all, porcupine.Operation{ClientId: client, Input: o, Call: o.Call, Output: o.Out, Return: o.Return})
		}
	}
	if !porcupine.CheckOperations(historyModel, all) {
		t.Errorf("round %d: the accesses can't have been made one after the other", round)
		for _, op := range all {
			t.Log(op.ClientId, op.Input)
		}
	}
}
