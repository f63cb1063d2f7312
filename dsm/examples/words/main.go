// Words counts the words of a file with all copies of the program: the first one hands out pieces of it through a
// queue, and all count into one map:
// dsm run -n 4 -- go run ./dsm/examples/words README.md
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"pagemesh/dsm"
	"pagemesh/dsm/shared"
)

// word is a word as a key: shared memory holds no strings.
type word [24]byte

// piece is a part of the file.
type piece struct{ From, To int }

func main() {
	ctx := context.Background()
	cfg := must(dsm.ConfigFromEnv())
	space := must(dsm.Open(ctx, cfg))
	defer space.Close()
	pieces := must(shared.OpenQueue[piece](ctx, space, "pieces", shared.QueueOptions{}))
	counts := must(shared.OpenMap[word, int](ctx, space, "counts", shared.MapOptions{}))
	total := must(shared.OpenCounters(ctx, space, "total", 1, shared.CountersOptions{}))
	text := must(os.ReadFile(os.Args[1]))

	if cfg.Rank == 0 {
		for from := 0; from < len(text); {
			to := from + min(2000, len(text)-from)
			to += bytes.IndexByte(append(text[to:len(text):len(text)], '\n'), '\n') // to the end of a line
			check(pieces.Put(ctx, piece{from, to}))
			from = to + 1
		}
		check(pieces.Close(ctx))
	}
	for {
		p, err := pieces.Take(ctx)
		if errors.Is(err, shared.ErrQueueClosed) {
			break
		}
		check(err)
		for _, w := range strings.Fields(string(text[p.From:p.To])) {
			var key word
			copy(key[:], w)
			check(counts.Update(ctx, key, func(n *int, _ bool) bool { *n++; return true }))
			check(total.Add(ctx, 0, 1))
		}
	}
	check(space.Barrier("counted", cfg.Members).Wait(ctx))
	if cfg.Rank == 0 {
		fmt.Printf("%d words, %d different ones\n", must(total.Sum(ctx, 0)), must(counts.Len(ctx)))
		the, _, err := counts.Get(ctx, word{'t', 'h', 'e'})
		check(err)
		fmt.Printf("the: %d\n", the)
	}
	check(space.Barrier("read", cfg.Members).Wait(ctx))
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
