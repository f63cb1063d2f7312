package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pagemesh/dsm"
)

// failure is an error of a test program that says what it was about.
func failure(what string, got, want any) error { return fmt.Errorf("%s: %v, want %v", what, got, want) }

func init() {
	// remap maps a region, ends that and maps it again, through two values of it.
	programs["remap"] = func(ctx context.Context, p *testProgram) error {
		options := dsm.RegionOptions{Size: 1 << 20}
		r, err := p.Region(ctx, "r", options)
		if err != nil {
			return err
		}
		twin, err := p.Region(ctx, "r", options)
		if err != nil {
			return err
		}
		other, err := p.Region(ctx, "other", options)
		if err != nil {
			return err
		}
		kept, err := dsm.Slice[uint64](other)
		if err != nil {
			return err
		}
		kept[7] = 77
		for round := range uint64(p.n) {
			words, err := dsm.Slice[uint64](r)
			if err != nil {
				return err
			}
			for i := 0; i < len(words); i += 512 {
				if words[i] != round {
					return failure(fmt.Sprintf("word %d in round %d", i, round), words[i], round)
				}
				words[i]++
			}
			if err := twin.Unmap(); err != nil {
				return err
			}
			for name, err := range map[string]error{
				"bytes":        second(r.Bytes()),
				"second unmap": r.Unmap(),
				"a word":       second(r.Load(ctx, 8)),
				"a copy":       second(twin.WriteAt(make([]byte, 8192), 0)),
				"a view":       second(r.View(ctx, 0, 8, read)),
			} {
				if !errors.Is(err, dsm.ErrNotMapped) {
					return failure(name+" of an unmapped region", err, dsm.ErrNotMapped)
				}
			}
			if kept[7] != 77 {
				return failure("another region", kept[7], 77)
			}
			if r, err = p.Region(ctx, "r", options); err != nil {
				return err
			}
			if v, err := twin.Load(ctx, 0); v != round+1 || err != nil {
				return fmt.Errorf("through the old value: %d, %w", v, err)
			}
		}
		return nil
	}
}

// second returns an error that comes behind a value.
func second[T any](_ T, err error) error { return err }

func TestRegionsAreMappedAgain(t *testing.T) {
	_, sockets := serving(t, 2)
	runPrograms(t, "remap", sockets[:1], 20)
	// A second program, on the other node, begins with what the first has left.
	outputs := runPrograms(t, "sum", sockets[1:], 0)
	if want := fmt.Sprint(256*20, "\n"); outputs[0] != want {
		t.Errorf("the words sum up to %q, want %q", outputs[0], want)
	}
}

func init() {
	programs["sum"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "r", dsm.RegionOptions{Size: 1 << 20})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[uint64](r)
		if err != nil {
			return err
		}
		sum := uint64(0)
		for _, w := range words {
			sum += w
		}
		fmt.Println(sum)
		return nil
	}
	// wait reads a word that another node keeps to itself.
	programs["wait"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "r", dsm.RegionOptions{Size: 1 << 16})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[uint64](r)
		if err != nil {
			return err
		}
		fmt.Println(atomic.LoadUint64(&words[0]))
		return nil
	}
}

func TestUnmapIsForAttachedPrograms(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	wantError(t, "unmap", openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096})[0].Unmap(), dsm.ErrNotMapped)
}

func init() {
	// taken maps a region where another of this process lies already.
	programs["taken"] = func(ctx context.Context, p *testProgram) error {
		if _, err := p.bytes(ctx, "r", 1<<16); err != nil {
			return err
		}
		cfg, err := dsm.ConfigFromEnv()
		if err != nil {
			return err
		}
		other, err := dsm.Open(ctx, cfg)
		if err != nil {
			return err
		}
		_, err = other.Region(ctx, "r", dsm.RegionOptions{Size: 1 << 16})
		if err == nil || !contains(err, `region "r": map `) || !contains(err, "something else in this process lies there") {
			return failure("a region at a place that is taken", err, "one line")
		}
		return other.Close()
	}
}

func TestTheWindowIsTaken(t *testing.T) {
	_, sockets := serving(t, 1)
	runPrograms(t, "taken", sockets, 0)
}

// TestAFaultCountsOnce: a thread that waits is interrupted over and over, to have it preempted, and touches
// its page again each time.
func TestAFaultCountsOnce(t *testing.T) {
	spaces, sockets := serving(t, 2)
	r := openRegions(t, spaces, "r", dsm.RegionOptions{Size: 1 << 16})[0]
	if _, err := r.Add(patient(t), 0, 4711); err != nil {
		t.Fatal(err)
	}
	v, err := r.View(patient(t), 0, 8, write)
	if err != nil {
		t.Fatal(err)
	}
	cmd := startPrograms(t, "wait", sockets[1:], 0)[0]
	await(t, "the program's fault", func() bool { return spaces[1].Stats().ReadFaults > 0 })
	time.Sleep(300 * time.Millisecond) // some dozens of interruptions
	v.Release()
	if err := cmd.Wait(); err != nil {
		t.Error(err, cmd.Stderr)
	}
	if got := cmd.Stdout.(*bytes.Buffer).String(); got != "4711\n" {
		t.Errorf("the program read %q", got)
	}
	if st := spaces[1].Stats(); st.ReadFaults != 1 {
		t.Errorf("%d read faults were counted, want 1", st.ReadFaults)
	}
}

// await returns when ok does, and fails if that takes for ever.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting for ", what)
		}
	}
}

// TestANodeLeavesWithWhatProgramsTouched: the pages are kept for the programs' threads for a moment, and no
// longer than that.
func TestANodeLeavesWithWhatProgramsTouched(t *testing.T) {
	spaces, sockets := serving(t, 2)
	options := dsm.RegionOptions{Size: 1 << 20, Placement: homed(spaces[1])}
	regions := openRegions(t, spaces, "r", options)
	runPrograms(t, "remap", sockets[1:], 3)
	left := make(chan error, 1)
	go func() { left <- spaces[1].Leave(patient(t)) }()
	select {
	case err := <-left:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the node can't leave")
	}
	for off := int64(0); off < 1<<20; off += 4096 {
		if v, err := regions[0].Load(patient(t), off); v != 3 || err != nil {
			t.Fatalf("the word at %d is %d, %v", off, v, err)
		}
	}
}
