package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pagemesh/dsm"
)

// Attached programs are processes: this test binary, started again with the name of one of the programs
// below in its environment. The nodes that they attach to run in the test's own process.

const programEnv = "PAGEMESH_TEST_PROGRAM"

// programs are the bodies of the test programs. A program is told its rank, the number of programs and
// one number of the test's choice, and may print what the test wants to know.
var programs = map[string]func(ctx context.Context, p *testProgram) error{}

type testProgram struct {
	*dsm.Space
	rank, ranks, n int
}

// barrier returns when all programs are there.
func (p *testProgram) barrier(ctx context.Context, name string) error {
	return p.Barrier(name, p.ranks).Wait(ctx)
}

func runProgram(name string) int {
	ctx, cancel := context.WithTimeout(context.Background(), patience*time.Duration(long()))
	defer cancel()
	if err := startProgram(ctx, name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func startProgram(ctx context.Context, name string) error {
	cfg, err := dsm.ConfigFromEnv()
	if err != nil {
		return err
	}
	s, err := dsm.Open(ctx, cfg)
	if err != nil {
		return err
	}
	p := &testProgram{Space: s}
	for env, into := range map[string]*int{"TEST_RANK": &p.rank, "TEST_RANKS": &p.ranks, "TEST_N": &p.n} {
		if *into, err = strconv.Atoi(os.Getenv(env)); err != nil {
			return err
		}
	}
	if err := programs[name](ctx, p); err != nil {
		return err
	}
	return s.Close()
}

// serving opens a space of n nodes that serve programs, and returns their sockets.
func serving(t testing.TB, n int) (spaces []*dsm.Space, sockets []string) {
	t.Helper()
	return servingWith(t, n, dsm.Config{})
}

func servingWith(t testing.TB, n int, cfg dsm.Config) (spaces []*dsm.Space, sockets []string) {
	t.Helper()
	dir := t.TempDir()
	cfg.Cluster = t.Name()
	for i := range n {
		cfg.Rank, cfg.Serve = i, filepath.Join(dir, fmt.Sprintf("node%d", i))
		if i > 0 {
			cfg.Seeds = []string{spaces[0].Addr()}
		}
		s, err := dsm.Open(t.Context(), cfg)
		if err != nil {
			t.Skip("nodes can't serve programs here:", err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		spaces, sockets = append(spaces, s), append(sockets, cfg.Serve)
	}
	return spaces, sockets
}

// startPrograms starts one program a socket and returns their commands, whose output is collected.
func startPrograms(t testing.TB, name string, sockets []string, n int, env ...string) []*exec.Cmd {
	t.Helper()
	cmds := newPrograms(t, name, sockets, n, env...)
	for _, cmd := range cmds {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	return cmds
}

// newPrograms returns the commands that start one program a socket. One that hangs is killed.
func newPrograms(t testing.TB, name string, sockets []string, n int, env ...string) []*exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience*time.Duration(long()))
	t.Cleanup(cancel)
	var cmds []*exec.Cmd
	for rank, socket := range sockets {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), programEnv+"="+name, dsm.EnvAttach+"="+socket, "GORACE=atexit_sleep_ms=0",
			fmt.Sprintf("TEST_RANK=%d", rank), fmt.Sprintf("TEST_RANKS=%d", len(sockets)), fmt.Sprintf("TEST_N=%d", n))
		cmd.Env = append(cmd.Env, env...)
		cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		cmds = append(cmds, cmd)
	}
	return cmds
}

// runPrograms runs one program a socket to its end and returns what each printed.
func runPrograms(t *testing.T, name string, sockets []string, n int, env ...string) []string {
	t.Helper()
	var outputs []string
	for rank, cmd := range startPrograms(t, name, sockets, n, env...) {
		if err := cmd.Wait(); err != nil {
			t.Errorf("program %d: %v\n%s", rank, err, cmd.Stderr)
		}
		outputs = append(outputs, cmd.Stdout.(*bytes.Buffer).String())
	}
	return outputs
}

func init() {
	programs["count"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, os.Getenv("TEST_REGION"), dsm.RegionOptions{Size: 1 << 16})
		if err != nil {
			return err
		}
		words, err := dsm.Slice[int64](r)
		if err != nil {
			return err
		}
		if err := p.barrier(ctx, "count"); err != nil {
			return err
		}
		defer collectGarbage()()
		var wg sync.WaitGroup
		for g := range 2 {
			wg.Go(func() {
				for i := range p.n {
					atomic.AddInt64(&words[0], 1)
					atomic.AddInt64(&words[1+i%7], 1)
					atomic.AddInt64(&words[512+(i+g)%64], 1)
				}
			})
		}
		wg.Wait()
		if err := p.barrier(ctx, "counted"); err != nil {
			return err
		}
		sum := int64(0)
		for _, w := range words[1:] {
			sum += w
		}
		fmt.Println(words[0], sum)
		return p.barrier(ctx, "read")
	}
}

// TestAttachedProgramsCountExactly: on one word, and on words of one page and of others.
func TestAttachedProgramsCountExactly(t *testing.T) {
	n := 50_000 * long()
	_, sockets := serving(t, 4)
	for name, of := range map[string][]string{
		"a node each":     sockets,
		"two on one node": {sockets[0], sockets[0], sockets[1], sockets[1]},
	} {
		t.Run(name, func(t *testing.T) {
			want := fmt.Sprintf("%d %d\n", 2*len(of)*n, 2*2*len(of)*n)
			for rank, got := range runPrograms(t, "count", of, n, "TEST_REGION="+name) {
				if got != want {
					t.Errorf("program %d counted %q, want %q", rank, got, want)
				}
			}
		})
	}
}

func init() {
	programs["sites"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "sites", dsm.RegionOptions{Size: 1 << 20})
		if err != nil {
			return err
		}
		b, err := r.Bytes()
		if err != nil {
			return err
		}
		buf := make([]byte, 4096)
		for deadline := time.Now().Add(time.Duration(p.n) * time.Millisecond); time.Now().Before(deadline); {
			for i := 0; i < len(b); i += 16384 {
				b[i]++ // stored here
			}
			for i := 4096; i < len(b); i += 8192 {
				copy(b[i:i+len(buf)], buf) // copied here
			}
			for i := 8192; i < len(b); i += 16384 {
				if _, err := r.Add(ctx, int64(i), 1); err != nil { // added here
					return err
				}
			}
		}
		return p.barrier(ctx, "done")
	}
}

func TestPagesNameTheLinesThatWait(t *testing.T) {
	spaces, sockets := serving(t, 2)
	source, err := os.ReadFile("attach_test.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(source, []byte("\n"))
	want := map[uint64]string{0: "// stored here", 1: "// copied here", 2: "// added here", 3: "// copied here"}
	found := map[string]int{}
	for run := 0; run < 20 && len(found) < 3; run++ { // where processors are slow, few lines are sampled
		runPrograms(t, "sites", sockets, 200)
		pages, err := spaces[0].Pages(t.Context(), dsm.PageQuery{Page: -1})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pages {
			for _, s := range p.Sites {
				if raceEnabled && (s.Function == "racecallatomic" || strings.HasPrefix(s.Function, "__tsan")) {
					found[want[p.Page%4]]++ // the race detector makes atomic accesses in C, on a stack of its own
					continue
				}
				_, number, _ := strings.Cut(s.Line, ".go:")
				n, err := strconv.Atoi(number)
				if err != nil || !strings.HasSuffix(s.Line, "attach_test.go:"+number) || !bytes.Contains(lines[n-1], []byte(want[p.Page%4])) {
					t.Errorf("page %d waits at %s in %s", p.Page, s.Line, s.Function)
				}
				found[want[p.Page%4]]++
			}
		}
	}
	if len(found) != 3 {
		t.Errorf("pages with sites: %v, want some of all three kinds", found)
	}
}

// TestLeaveIsNoLoss: a program that leaves together with its node has closed its space, however soon the
// node ends the connection.
func TestLeaveIsNoLoss(t *testing.T) {
	for range 20 {
		_, sockets := serving(t, 1)
		s, err := dsm.Open(t.Context(), dsm.Config{Attach: sockets[0]}) // it maps nothing
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Err(); !errors.Is(err, dsm.ErrClosed) {
			t.Fatalf("the space has ended because of %v, want %v", err, dsm.ErrClosed)
		}
	}
}
