package shared_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"pagemesh/dsm"
)

// patience turns a hang into a failure. Nothing in these tests takes a tenth of it.
const patience = 60 * time.Second

// Attached programs are this test binary, started again: with programEnv set it runs that program on the node
// that its environment names.
const (
	programEnv = "PAGEMESH_TEST_PROGRAM"
	rankEnv    = "PAGEMESH_TEST_RANK"
	argEnv     = "PAGEMESH_TEST_ARG" // a seed or size, whatever the program wants
)

var programs = map[string]func(ctx context.Context, p *program) error{}

// program is what an attached program is given.
type program struct {
	*dsm.Space
	rank int
	arg  uint64
}

// TestMain keeps the nodes' log out of the way unless -v asks for it.
func TestMain(m *testing.M) {
	if name := os.Getenv(programEnv); name != "" {
		if err := runProgram(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if !testing.Verbose() {
		slog.SetDefault(slog.New(slog.DiscardHandler))
	}
	os.Exit(m.Run())
}

func runProgram(name string) error {
	cfg, err := dsm.ConfigFromEnv()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience*time.Duration(long()))
	defer cancel()
	p := &program{}
	if p.rank, err = strconv.Atoi(os.Getenv(rankEnv)); err != nil {
		return err
	}
	if p.arg, err = strconv.ParseUint(os.Getenv(argEnv), 10, 64); err != nil {
		return err
	}
	if p.Space, err = dsm.Open(ctx, cfg); err != nil {
		return err
	}
	defer p.Close()
	return programs[name](ctx, p)
}

// long is by how much more the random tests do with PAGEMESH_LONG=1.
func long() int {
	if os.Getenv("PAGEMESH_LONG") != "" {
		return 20
	}
	return 1
}

// seedOf returns the seed that PAGEMESH_SEED names, or a fresh one, and has a failure print it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("PAGEMESH_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("to repeat: PAGEMESH_SEED=%d go test ./dsm/shared -run '%s'", seed, t.Name())
	return seed
}

// patient returns a context that ends with the test's patience.
func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience*time.Duration(long()))
	t.Cleanup(cancel)
	return ctx
}

// openNodes opens a space of n nodes in this process, and closes them after the test.
func openNodes(t testing.TB, n int) []*dsm.Space {
	t.Helper()
	var nodes []*dsm.Space
	var seeds []string
	for rank := range n {
		s, err := dsm.Open(patient(t), dsm.Config{Cluster: t.Name(), Rank: rank, Seeds: seeds})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		nodes, seeds = append(nodes, s), []string{s.Addr()}
	}
	return nodes
}

// openServing opens nodes that programs can be attached to, and returns their sockets too.
func openServing(t *testing.T, n int) (nodes []*dsm.Space, sockets []string) {
	t.Helper()
	if err := dsm.CanMap(); err != nil {
		t.Skip("nodes can't serve programs here:", err)
	}
	dir := t.TempDir()
	var seeds []string
	for rank := range n {
		socket := filepath.Join(dir, fmt.Sprint("node", rank))
		s, err := dsm.Open(patient(t), dsm.Config{Cluster: "programs", Rank: rank, Seeds: seeds, Serve: socket})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		nodes, sockets, seeds = append(nodes, s), append(sockets, socket), []string{s.Addr()}
	}
	return nodes, sockets
}

// startPrograms starts one program a socket.
func startPrograms(t *testing.T, name string, sockets []string, arg uint64) []*exec.Cmd {
	t.Helper()
	var cmds []*exec.Cmd
	for rank, socket := range sockets {
		cmd := exec.CommandContext(patient(t), os.Args[0])
		cmd.Env = append(os.Environ(), programEnv+"="+name, dsm.EnvAttach+"="+socket, fmt.Sprintf("%s=%d", rankEnv, rank),
			fmt.Sprintf("%s=%d", argEnv, arg), "GORACE=atexit_sleep_ms=0")
		cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	return cmds
}

// runPrograms runs one program a socket to its end and returns what each printed.
func runPrograms(t *testing.T, name string, sockets []string, arg uint64) []string {
	t.Helper()
	var outputs []string
	for rank, cmd := range startPrograms(t, name, sockets, arg) {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("program %d: %v\n%s", rank, err, cmd.Stderr)
		}
		outputs = append(outputs, cmd.Stdout.(*bytes.Buffer).String())
	}
	return outputs
}

// onEach runs f for each of n at once.
func onEach(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
