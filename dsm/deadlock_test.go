package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pagemesh/dsm"
)

// locker is a lock that a goroutine locks for itself, or for reading.
type locker struct {
	lock   func(context.Context) error
	unlock func() error
}

func mutexOf(s *dsm.Space, name string) locker {
	mu := s.Mutex(name)
	return locker{func(ctx context.Context) error { _, err := mu.Lock(ctx); return err }, mu.Unlock}
}

func writerOf(s *dsm.Space, name string) locker {
	mu := s.RWMutex(name)
	return locker{func(ctx context.Context) error { _, err := mu.Lock(ctx); return err }, mu.Unlock}
}

func readerOf(s *dsm.Space, name string) locker {
	mu := s.RWMutex(name)
	return locker{func(ctx context.Context) error { err := mu.RLock(ctx); return err }, mu.RUnlock}
}

// cycle has each goroutine i lock one thing, and then, when all have, a second one of pairs[i]: it returns how these
// second locks ended, in the order in which they did. A second lock begins a second after the one before it.
func cycle(t *testing.T, pairs [][2]locker) (errs []error) {
	t.Helper()
	var mu sync.Mutex // guards errs
	var wg sync.WaitGroup
	for i, pair := range pairs {
		wg.Go(func() {
			if err := pair[0].lock(t.Context()); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Duration(1+i) * time.Second)
			err := pair[1].lock(t.Context())
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
			unlocked := pair[0].unlock()
			if err == nil {
				unlocked = errors.Join(unlocked, pair[1].unlock())
			}
			if unlocked != nil {
				t.Error(unlocked)
			}
		})
	}
	wg.Wait()
	return errs
}

// goroutineNumber is replaced in messages, since numbers differ from run to run.
var goroutineNumber = regexp.MustCompile(`goroutine \d+`)

func TestDeadlocksEndAndAreNamed(t *testing.T) {
	tests := []struct {
		name  string
		pairs func(n []*dsm.Space) [][2]locker
		says  string
	}{
		{"mutexes", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{mutexOf(n[0], "a"), mutexOf(n[0], "b")}, {mutexOf(n[1], "b"), mutexOf(n[1], "a")}}
		}, `deadlock: goroutine N on n2 waits at L for mutex "a", locked at L by goroutine N on n1, ` +
			`which waits at L for mutex "b", locked at L by goroutine N on n2`},
		{"one node", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{mutexOf(n[2], "a"), mutexOf(n[2], "b")}, {mutexOf(n[2], "b"), mutexOf(n[2], "a")}}
		}, `deadlock: goroutine N on n3 waits at L for mutex "a", locked at L by goroutine N on n3, ` +
			`which waits at L for mutex "b", locked at L by goroutine N on n3`},
		{"itself", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{mutexOf(n[1], "a"), mutexOf(n[1], "a")}}
		}, `deadlock: goroutine N on n2 waits at L for mutex "a", which it has locked itself at L`},
		{"itself, to write what it reads", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{readerOf(n[1], "a"), writerOf(n[1], "a")}}
		}, `deadlock: goroutine N on n2 waits at L for rwmutex "a", which it has locked itself at L`},
		{"three nodes", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{mutexOf(n[0], "a"), mutexOf(n[0], "b")}, {mutexOf(n[1], "b"), mutexOf(n[1], "c")}, {mutexOf(n[2], "c"), mutexOf(n[2], "a")}}
		}, `deadlock: goroutine N on n3 waits at L for mutex "a", locked at L by goroutine N on n1, ` +
			`which waits at L for mutex "b", locked at L by goroutine N on n2, which waits at L for mutex "c", locked at L by goroutine N on n3`},
		{"mutex and writer", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{mutexOf(n[0], "a"), writerOf(n[0], "r")}, {writerOf(n[1], "r"), mutexOf(n[1], "a")}}
		}, `deadlock: goroutine N on n2 waits at L for mutex "a", locked at L by goroutine N on n1, ` +
			`which waits at L for rwmutex "r", locked at L by goroutine N on n2`},
		{"mutex and reader", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{readerOf(n[0], "r"), mutexOf(n[0], "a")}, {mutexOf(n[1], "a"), writerOf(n[1], "r")}}
		}, `deadlock: goroutine N on n2 waits at L for rwmutex "r", locked at L by goroutine N on n1, ` +
			`which waits at L for mutex "a", locked at L by goroutine N on n2`},
		{"behind a writer", func(n []*dsm.Space) [][2]locker {
			return [][2]locker{{mutexOf(n[0], "of its own"), writerOf(n[0], "r")}, {readerOf(n[1], "r"), readerOf(n[1], "r")}}
		}, `deadlock: goroutine N on n2 waits at L for rwmutex "r", behind goroutine N on n1, ` +
			`which waits at L for rwmutex "r", locked at L by goroutine N on n2`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := dsm.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
			inMemory(t, 3, cfg, func(t *testing.T, nodes []*dsm.Space) {
				pairs := test.pairs(nodes)
				start := time.Now()
				errs := cycle(t, pairs)
				if took := time.Since(start) - time.Duration(len(pairs))*time.Second; took > 2*time.Second {
					t.Errorf("it took %v to end", took)
				}
				checkDeadlock(t, errs, test.says)
			})
			if n := strings.Count(log.String(), "a wait for a lock ends"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, log.String())
			}
		})
	}
}

// checkDeadlock wants the first error to be a deadlock and no other.
func checkDeadlock(t *testing.T, errs []error, says string) {
	t.Helper()
	for i, err := range errs {
		if errors.Is(err, dsm.ErrDeadlock) != (i == 0) || i > 0 && err != nil {
			t.Errorf("wait %d ended with %v", i, err)
		}
	}
	d, ok := errors.AsType[*dsm.DeadlockError](errs[0])
	if !ok {
		t.Fatalf("%T: %v", errs[0], errs[0])
	}
	got := goroutineNumber.ReplaceAllString(d.Error(), "goroutine N")
	got = regexp.MustCompile(`\bdeadlock_test\.go:\d+`).ReplaceAllString(got, "L")
	if got != says {
		t.Errorf("%v\nwant\n%s", d, says)
	}
}

// TestDeadlocksOutliveMembers: a node that keeps the queues of the locks goes while others wait.
func TestDeadlocksOutliveMembers(t *testing.T) {
	for name, end := range map[string]func(s *dsm.Space) error{
		"Close": (*dsm.Space).Close,
		"Leave": func(s *dsm.Space) error { return s.Leave(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
				time.AfterFunc(2500*time.Millisecond, func() {
					if err := end(nodes[2]); err != nil {
						t.Error(err)
					}
				})
				for _, err := range cycle(t, [][2]locker{
					{readerOf(nodes[0], "r"), mutexOf(nodes[0], "m")}, {mutexOf(nodes[1], "m"), writerOf(nodes[1], "r")},
				})[:1] {
					wantError(t, "the youngest wait", err, dsm.ErrDeadlock)
				}
			})
		})
	}
}

// TestLocksShowTheirUsers, and a deadlock that nobody ends.
func TestLocksShowTheirUsers(t *testing.T) {
	inMemory(t, 2, dsm.Config{DeadlockAfter: -1}, func(t *testing.T, nodes []*dsm.Space) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := finished(func() {
			cycle(t, [][2]locker{
				{readerOf(nodes[0], "r"), within(ctx, mutexOf(nodes[0], "m"))},
				{mutexOf(nodes[1], "m"), within(ctx, writerOf(nodes[1], "r"))},
			})
		})
		time.Sleep(3 * time.Second)
		all, err := nodes[1].Locks(t.Context())
		if err != nil || len(all) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		for i, want := range []struct{ has, waits dsm.LockUser }{
			{dsm.LockUser{LockCall: dsm.LockCall{Node: 2}}, dsm.LockUser{LockCall: dsm.LockCall{Node: 1}, Waits: true}},
			{dsm.LockUser{LockCall: dsm.LockCall{Node: 1}, Reads: true}, dsm.LockUser{LockCall: dsm.LockCall{Node: 2}, Waits: true}},
		} {
			users := all[i].Users
			for j := range users {
				if u := &users[j]; u.Goroutine == 0 || !strings.Contains(u.Line, "/deadlock_test.go:") || u.Waits != (u.Waited >= int64(500*time.Millisecond)) {
					t.Errorf("%s: %+v", all[i].Name, *u)
				}
				users[j].Goroutine, users[j].Line, users[j].Waited = 0, "", 0
			}
			if !slices.Equal(users, []dsm.LockUser{want.has, want.waits}) {
				t.Errorf("%s: %+v, want %+v", all[i].Name, users, want)
			}
			if !strings.HasPrefix(all[i].Deadlock, "deadlock: goroutine ") {
				t.Errorf("%s: deadlock %q", all[i].Name, all[i].Deadlock)
			}
		}
		if ended() {
			t.Error("somebody has ended it")
		}
		cancel()
		if !ended() {
			t.Error("it does not end")
		}
	})
}

// within returns a lock whose wait ends with ctx.
func within(ctx context.Context, l locker) locker {
	return locker{func(context.Context) error { return l.lock(ctx) }, l.unlock}
}

// attachedPairs are what attached programs lock, each the pair of its rank, in the second one's turn when all
// have their first.
var attachedPairs = []struct {
	name  string
	pairs func(s *dsm.Space) [][2]locker
	says  string
}{
	{"mutexes", func(s *dsm.Space) [][2]locker {
		return [][2]locker{{mutexOf(s, "a"), mutexOf(s, "b")}, {mutexOf(s, "b"), mutexOf(s, "a")}}
	}, `deadlock: goroutine N of process N on nN waits at L for mutex "M", locked at L by goroutine N of process N on nN, ` +
		`which waits at L for mutex "M", locked at L by goroutine N of process N on nN`},
	{"mutex and reader", func(s *dsm.Space) [][2]locker {
		return [][2]locker{{mutexOf(s, "a"), writerOf(s, "b")}, {readerOf(s, "b"), mutexOf(s, "a")}}
	}, `deadlock: goroutine N of process N on nN waits at L for (mutex|rwmutex) "M", locked at L by goroutine N of process N on nN, ` +
		`which waits at L for (mutex|rwmutex) "M", locked at L by goroutine N of process N on nN`},
	{"itself", func(s *dsm.Space) [][2]locker {
		return [][2]locker{{mutexOf(s, "a"), mutexOf(s, "a")}}
	}, `deadlock: goroutine N of process N on n1 waits at L for mutex "M", which it has locked itself at L`},
}

func init() {
	programs["deadlock"] = func(ctx context.Context, p *testProgram) error {
		pair := attachedPairs[p.n].pairs(p.Space)[p.rank]
		for range 3 { // it is on loan by then
			if err := errors.Join(pair[0].lock(ctx), pair[0].unlock()); err != nil {
				return err
			}
		}
		if err := pair[0].lock(ctx); err != nil {
			return err
		}
		if err := p.Barrier("begin", p.ranks+1).Wait(ctx); err != nil {
			return err
		}
		err := pair[1].lock(ctx)
		if err == nil {
			return errors.Join(pair[1].unlock(), pair[0].unlock())
		}
		d, ok := errors.AsType[*dsm.DeadlockError](err)
		if !ok || !errors.Is(err, dsm.ErrDeadlock) || d.Cycle[0].Process != os.Getpid() || d.Cycle[0].Node != p.Self() {
			return fmt.Errorf("it ended with %w", err)
		}
		fmt.Println(d)
		return pair[0].unlock()
	}
}

func TestDeadlocksOfPrograms(t *testing.T) {
	for n, test := range attachedPairs {
		t.Run(test.name, func(t *testing.T) {
			cfg := quickly
			spaces, sockets := servingWith(t, 2, cfg)
			sockets = sockets[:len(test.pairs(spaces[0]))]
			cmds := startPrograms(t, "deadlock", sockets, n)
			for i := range sockets { // their lines can be told then
				await(t, "the program's symbols", func() bool { _, ok := dsm.Samplers(spaces[i]); return ok })
			}
			if err := spaces[0].Barrier("begin", len(sockets)+1).Wait(patient(t)); err != nil {
				t.Error(err)
			}
			var said string
			for rank, cmd := range cmds {
				if err := cmd.Wait(); err != nil {
					t.Errorf("program %d: %v\n%s", rank, err, cmd.Stderr)
				}
				said += cmd.Stdout.(*bytes.Buffer).String()
			}
			says := strings.NewReplacer(" N", ` \d+`, "nN", `n\d`, "M", "[ab]", "L", `deadlock_test\.go:\d+`).Replace(test.says)
			if !regexp.MustCompile("^" + says + "\n$").MatchString(said) {
				t.Errorf("the programs say\n%s\nwant one line\n%s", said, test.says)
			}
		})
	}
}

// quickly looks for deadlocks as soon as a wait lasts 1 ms.
var quickly = dsm.Config{DeadlockAfter: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
