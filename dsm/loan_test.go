package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func init() {
	for _, c := range []pagetable.Consistency{pagetable.Sequential, pagetable.Release} {
		programs["mutex "+c.String()] = func(ctx context.Context, p *testProgram) error { return useMutexes(ctx, p, c) }
	}
	// This one dies with a mutex that it has locked and one that it keeps.
	programs["mutex holder"] = func(ctx context.Context, p *testProgram) error {
		kept := p.Mutex("kept")
		if _, err := kept.Lock(ctx); err != nil {
			return err
		}
		if err := kept.Unlock(); err != nil {
			return err
		}
		if _, err := p.Mutex("locked").Lock(ctx); err != nil {
			return err
		}
		os.Exit(3)
		return nil
	}
}

// useMutexes locks mutexes that only this program wants, and one that all want, which guards a counter.
func useMutexes(ctx context.Context, p *testProgram, c pagetable.Consistency) error {
	r, err := p.Region(ctx, "mutex", dsm.RegionOptions{Size: pageSize, Consistency: c})
	if err != nil {
		return err
	}
	words, err := dsm.Slice[uint64](r)
	if err != nil {
		return err
	}
	if err := keepMutex(ctx, p, fmt.Sprintf("of %d", p.rank)); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 3)
	mine := p.Mutex("everybody's")
	for i, m := range []*dsm.Mutex{mine, mine, p.Mutex("everybody's")} {
		wg.Go(func() { errs[i] = countUnderMutex(ctx, p, m, words) })
	}
	wg.Wait()
	if err := errors.Join(append(errs, p.barrier(ctx, "done"))...); err != nil {
		return err
	}
	if want := uint64(p.ranks * len(errs) * p.n); words[0] != want {
		return fmt.Errorf("%d counts under a mutex, want %d", words[0], want)
	}
	return p.barrier(ctx, "checked")
}

// keepMutex locks a mutex that nobody else wants, and then again without a word to the node.
func keepMutex(ctx context.Context, p *testProgram, name string) error {
	m := p.Mutex(name)
	last := uint64(0)
	asked := uint64(0)
	for i := range 100 {
		token, err := m.Lock(ctx)
		if err != nil {
			return err
		}
		if token <= last {
			return fmt.Errorf("token %d after %d", token, last)
		}
		last = token
		if err := m.Unlock(); err != nil {
			return err
		}
		if err := m.Unlock(); i == 0 && !errors.Is(err, dsm.ErrNotHeld) {
			return fmt.Errorf("second unlock: %v", err)
		}
		if i == 0 {
			asked = dsm.Questions(p.Space)
		}
	}
	if now := dsm.Questions(p.Space) - 99; now != asked { // of the second unlocks
		return fmt.Errorf("%d questions to lock a mutex 99 times again", now-asked)
	}
	return nil
}

// countUnderMutex counts in words[0] and checks that tokens grow, which words[1] remembers.
func countUnderMutex(ctx context.Context, p *testProgram, m *dsm.Mutex, words []uint64) error {
	for range p.n {
		token, err := m.Lock(ctx)
		if err != nil {
			return err
		}
		before := words[1]
		words[0], words[1] = words[0]+1, token
		if err := m.Unlock(); err != nil {
			return err
		}
		if token <= before {
			return fmt.Errorf("token %d after %d", token, before)
		}
	}
	return nil
}

func TestMutexesOnLoan(t *testing.T) {
	for _, c := range []pagetable.Consistency{pagetable.Sequential, pagetable.Release} {
		t.Run(c.String(), func(t *testing.T) {
			_, sockets := serving(t, 2)
			runPrograms(t, "mutex "+c.String(), append(sockets, sockets[0]), 200*long())
		})
	}
}

func TestMutexesOfAProgramThatDies(t *testing.T) {
	var log bytes.Buffer
	spaces, sockets := servingWith(t, 2, dsm.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, cmd := range startPrograms(t, "mutex holder", sockets[:1], 0) {
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
			t.Fatalf("%v\n%s", err, cmd.Stderr)
		}
	}
	for name, want := range map[string]error{"kept": nil, "locked": dsm.ErrOwnerDied} {
		for i, s := range []*dsm.Space{spaces[1], spaces[0], spaces[1]} {
			mu := s.Mutex(name)
			if token, err := mu.Lock(patient(t)); !errors.Is(err, want) || token == 0 {
				t.Errorf("lock %d of %q: token %d, error %v, want %v", i, name, token, err, want)
			}
			unlock(t, mu)
			want = nil
		}
	}
	for _, s := range spaces {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	const abandoned = "a program ended with a lock held: it is given back"
	if got := log.String(); strings.Count(got, abandoned) != 1 || !strings.Contains(got, "lock=locked") {
		t.Errorf("the log does not name the one mutex that was locked:\n%s", got)
	}
}
