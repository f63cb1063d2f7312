package dsm_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pagemesh/dsm"
)

func init() {
	// sparse has the programs touch pages that lie far apart: each writes some words, all read them.
	programs["sparse"] = func(ctx context.Context, p *testProgram) error {
		const size, touched = 1 << 40, 128
		b, err := p.bytes(ctx, "sparse", size)
		if err != nil {
			return err
		}
		at := func(i int) []uint64 { return words(b[i*(size/touched)+i*pageSize:][:2*pageSize]) }
		for i := p.rank; i < touched; i += p.ranks {
			at(i)[i] = uint64(i) + 1
		}
		b[size-1-p.rank] = 7
		if err := p.barrier(ctx, "written"); err != nil {
			return err
		}
		for i := range touched {
			if w := at(i); w[i] != uint64(i)+1 || w[i+1] != 0 || w[i+pageSize/8] != 0 {
				return failure(fmt.Sprint("page ", i), []uint64{w[i], w[i+1], w[i+pageSize/8]}, i+1)
			}
		}
		if tail := b[size-p.ranks:]; !bytes.Equal(tail, bytes.Repeat([]byte{7}, p.ranks)) {
			return failure("the end", tail, 7)
		}
		return p.barrier(ctx, "read")
	}
	// dirty has program 0 write every page of a region, the others read them, again and again.
	programs["dirty"] = func(ctx context.Context, p *testProgram) error {
		b, err := p.bytes(ctx, "dirty", p.n*pageSize)
		if err != nil {
			return err
		}
		for round := range uint64(2) {
			for page := range p.n {
				w := words(b[page*pageSize:][:pageSize])
				if p.rank == 0 {
					w[page%512] += uint64(page) + round
				}
			}
			if err := p.barrier(ctx, "written"); err != nil {
				return err
			}
			for page := range p.n {
				want := (round+1)*uint64(page) + round
				if got := words(b[page*pageSize:][:pageSize])[page%512]; got != want {
					return failure(fmt.Sprintf("page %d in round %d", page, round), got, want)
				}
			}
			if err := p.barrier(ctx, "read"); err != nil {
				return err
			}
		}
		return nil
	}
	// parent starts other programs, with and without a use for shared memory, while it uses it itself.
	programs["parent"] = func(ctx context.Context, p *testProgram) error {
		b, err := p.bytes(ctx, "r", 1<<20) // as large as "sum" wants it
		if err != nil {
			return err
		}
		w := words(b)
		defer collectGarbage()()
		var stopped atomic.Bool
		var counting sync.WaitGroup
		counting.Go(func() {
			for i := 0; !stopped.Load(); i++ {
				atomic.AddUint64(&w[i%128*1024], 1)
			}
		})
		for range p.n {
			out, err := exec.CommandContext(ctx, "/bin/sh", "-c", "readlink /proc/self/fd/*").Output()
			if err != nil && len(out) == 0 {
				return err
			}
			if kept := string(out); strings.Contains(kept, "userfaultfd") || strings.Contains(kept, "pagemesh") {
				return failure("descriptors of a child", kept, "none of ours")
			}
		}
		stopped.Store(true)
		counting.Wait()
		sum := uint64(0)
		for i := range w {
			sum += w[i]
		}
		child := exec.CommandContext(ctx, os.Args[0])
		child.Env = append(os.Environ(), programEnv+"=sum")
		out, err := child.Output()
		if err != nil {
			return fmt.Errorf("the child: %w", err)
		}
		if got, want := string(out), fmt.Sprintln(sum); got != want || sum == 0 {
			return failure("the child's sum", got, want)
		}
		return nil
	}
}

func TestATerabyteIsTouchedHereAndThere(t *testing.T) {
	_, sockets := serving(t, 2)
	runPrograms(t, "sparse", sockets, 0)
}

func TestManyPagesAreDirtyOnOneNode(t *testing.T) {
	pages := 20_000
	if raceEnabled {
		pages /= 10 // a fault takes as much longer
	}
	spaces, sockets := serving(t, 4)
	runPrograms(t, "dirty", sockets, pages)
	list, err := spaces[0].Pages(t.Context(), dsm.PageQuery{Page: -1})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != pages {
		t.Errorf("%d pages are known, want %d", len(list), pages)
	}
}

func TestProgramsStartOthers(t *testing.T) {
	_, sockets := serving(t, 2)
	for _, socket := range sockets {
		runPrograms(t, "parent", []string{socket}, 10)
	}
}
