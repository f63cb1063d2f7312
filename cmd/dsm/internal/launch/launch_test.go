package launch

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// launched is a Run in progress.
type launched struct {
	t    *testing.T
	done chan error
}

func start(t *testing.T, ctx context.Context, s Spec) launched {
	l := launched{t, make(chan error, 1)}
	go func() { l.done <- Run(ctx, s) }()
	return l
}

func (l launched) wait() error {
	l.t.Helper()
	select {
	case err := <-l.done:
		return err
	case <-time.After(60 * time.Second):
		l.t.Fatal("Run did not return in 60 s")
		return nil
	}
}

// wantExit fails unless err is an ExitError equal to want.
func wantExit(t *testing.T, err error, want ExitError) {
	t.Helper()
	var got *ExitError
	if !errors.As(err, &got) || *got != want {
		t.Fatalf("Run returned %v (%+v), want %+v", err, got, want)
	}
}

func TestOutputHasRanks(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := spec(3, "hello", "a", "b")
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr = &stdout, &stderr
	if err := start(t, t.Context(), s).wait(); err != nil {
		t.Fatal(err)
	}
	out := strings.SplitAfter(stdout.String(), "\n")
	slices.Sort(out)
	want := []string{"", "[0] last\n", "[0] out 0 a,b\n", "[1] last\n", "[1] out 1 a,b\n", "[2] last\n", "[2] out 2 a,b\n"}
	if !slices.Equal(out, want) {
		t.Errorf("stdout %q, want %q", out, want)
	}
	errs := strings.SplitAfter(stderr.String(), "\n")
	slices.Sort(errs)
	if want := []string{"", "[0] err 0\n", "[1] err 1\n", "[2] err 2\n"}; !slices.Equal(errs, want) {
		t.Errorf("stderr %q, want %q", errs, want)
	}
}

func TestLinesAreBounded(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		want []int // lengths of the lines, prefix and newline included
	}{
		{"empty", "", nil},
		{"empty line", "\n", []int{5}},
		{"no newline", "ab", []int{7}},
		{"longest", strings.Repeat("x", maxLine-1) + "\n", []int{maxLine - 1 + 5}},
		{"one more", strings.Repeat("x", maxLine) + "\n", []int{maxLine + 5}},
		{"two more", strings.Repeat("x", maxLine+1) + "\n\n", []int{maxLine + 5, 6, 5}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			s := lineSink{w: &out}
			s.copyLines(7, strings.NewReader(tc.in))
			var got []int
			for line := range bytes.Lines(out.Bytes()) {
				if !bytes.HasPrefix(line, []byte("[7] ")) {
					t.Errorf("line without rank: %.20q", line)
				}
				got = append(got, len(line))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("line lengths %v, want %v", got, tc.want)
			}
		})
	}
}

func TestOnlyRankZeroReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer r.Close()
	s := spec(2, "cat")
	var stdout bytes.Buffer
	s.Stdin, s.Stdout = r, &stdout
	if err := start(t, t.Context(), s).wait(); err != nil {
		t.Fatal(err)
	}
	if got := stdout.String(); got != "[0] typed\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestFilesAreInherited(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := spec(1, "file")
	s.Files = func(int) []*os.File { return []*os.File{w} }
	if err := start(t, t.Context(), s).wait(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil || got.String() != "report of 0\n" {
		t.Errorf("read %q, %v", got.String(), err)
	}
}

func TestOneFailureEndsAll(t *testing.T) {
	defer goleak.VerifyNone(t)
	err := start(t, t.Context(), spec(4, "fail", "9", "2")).wait()
	wantExit(t, err, ExitError{Rank: 2, Status: 9})
	if got, want := err.Error(), "rank 2 ended with status 9"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

// TestDeathIsTheCause has rank 1 killed and the others, which have time to, say so and fail. Whichever
// end is noticed first, rank 1 is named.
func TestDeathIsTheCause(t *testing.T) {
	s := spec(4, "crash")
	s.Linger = time.Minute
	peerEnds(t, &s)
	out := newLines(t)
	s.Stdout = out
	err := start(t, t.Context(), s).wait()
	wantExit(t, err, ExitError{Rank: 1, Status: 137, Signal: syscall.SIGKILL})
	if got, want := err.Error(), "rank 1 was ended by signal 9 (killed)"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	for range 3 {
		if got := out.next(); !strings.HasSuffix(got, "] lost rank 1") {
			t.Errorf("line %q", got)
		}
	}
}

// peerEnds gives rank 1 the writing end of a pipe as descriptor 3 and the others the reading end, so
// that they see the end of rank 1.
func peerEnds(t *testing.T, s *Spec) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	s.Files = func(rank int) []*os.File {
		switch rank {
		case 1:
			return []*os.File{w}
		case 2:
			// Rank 1 has started and holds the only writing end from now on.
			w.Close()
		}
		return []*os.File{r}
	}
}

func TestSignalIsPassedOn(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := spec(2, "polite")
	out, signals := newLines(t), make(chan os.Signal, 1)
	s.Stdout, s.Signals = out, signals
	l := start(t, t.Context(), s)
	pids := out.pids(2)
	signals <- os.Interrupt
	if err := l.wait(); err != nil {
		t.Errorf("Run returned %v, want nil: both ended with status 0", err)
	}
	for range 2 {
		if got := out.next(); !strings.HasSuffix(got, "got interrupt") {
			t.Errorf("line %q", got)
		}
	}
	checkGone(t, pids)
	out.w.Close()
	<-out.c
}

func TestDeathByPassedSignal(t *testing.T) {
	s := spec(2, "fail", "0", "none")
	signals := make(chan os.Signal, 1)
	s.Signals = signals
	signals <- os.Interrupt
	var exit *ExitError
	if err := start(t, t.Context(), s).wait(); !errors.As(err, &exit) || !exit.Passed || exit.Status != 130 {
		t.Errorf("Run returned %v (%+v), want status 130 by a passed signal", err, exit)
	}
}

func TestSecondSignalKills(t *testing.T) {
	s := spec(2, "deaf")
	s.Grace = time.Hour
	out, signals := newLines(t), make(chan os.Signal, 2)
	s.Stdout, s.Signals = out, signals
	l := start(t, t.Context(), s)
	pids := out.pids(2)
	signals <- os.Interrupt
	signals <- os.Interrupt
	var exit *ExitError
	if err := l.wait(); !errors.As(err, &exit) || exit.Status != 137 || !exit.Passed {
		t.Errorf("Run returned %v (%+v), want status 137 by a passed signal", err, exit)
	}
	checkGone(t, pids)
}

func TestCancelEndsAll(t *testing.T) {
	s := spec(2, "deaf")
	s.Grace = 10 * time.Millisecond
	out := newLines(t)
	s.Stdout = out
	ctx, cancel := context.WithCancelCause(t.Context())
	l := start(t, ctx, s)
	pids := out.pids(2)
	reason := errors.New("enough")
	cancel(reason)
	if err := l.wait(); !errors.Is(err, reason) {
		t.Errorf("Run returned %v, want the cause of the context", err)
	}
	checkGone(t, pids)
}

// TestRestOfGroupEnds has programs that end and leave a child behind, and programs that are killed
// and leave one: the child is deaf in both cases.
func TestRestOfGroupEnds(t *testing.T) {
	t.Run("after success", func(t *testing.T) {
		s := spec(2, "parent", "end")
		s.Grace = 10 * time.Millisecond
		out := newLines(t)
		s.Stdout = out
		if err := start(t, t.Context(), s).wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("after kill", func(t *testing.T) {
		s := spec(2, "parent", "wait")
		s.Grace = 10 * time.Millisecond
		out := newLines(t)
		s.Stdout = out
		ctx, cancel := context.WithCancel(t.Context())
		l := start(t, ctx, s)
		pids := out.pids(2)
		cancel()
		if err := l.wait(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		checkGone(t, pids)
	})
}

func TestNothingOutlivesKilledLauncher(t *testing.T) {
	out := newLines(t)
	launcher := program("launch")
	launcher.Stdout = out
	if err := launcher.Start(); err != nil {
		t.Fatal(err)
	}
	pids := out.pids(2)
	if err := launcher.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	checkGone(t, pids)
	// Its output pipe ends with the last process that holds it.
	_ = launcher.Wait()
}

func TestCannotStart(t *testing.T) {
	s := spec(2, "hello")
	s.Command = []string{"/no/such/program"}
	err := start(t, t.Context(), s).wait()
	if err == nil || err.Error() != "can't start /no/such/program: no such file or directory" {
		t.Errorf("Run returned %v", err)
	}
	s.Command = []string{"no-such-program-anywhere"}
	err = start(t, t.Context(), s).wait()
	if err == nil || err.Error() != "can't start no-such-program-anywhere: executable file not found in $PATH" {
		t.Errorf("Run returned %v", err)
	}
}

// TestLaterCopyCannotStart has an environment for rank 1 that the system refuses.
func TestLaterCopyCannotStart(t *testing.T) {
	s := spec(3, "fail", "0", "none")
	env := s.Env
	s.Env = func(rank int) []string {
		if rank == 1 {
			return []string{"A=\x00"}
		}
		return env(rank)
	}
	err := start(t, t.Context(), s).wait()
	if err == nil || !strings.HasPrefix(err.Error(), "start rank 1: ") {
		t.Errorf("Run returned %v", err)
	}
}

func TestFreeAddrsDiffer(t *testing.T) {
	addrs, err := FreeAddrs(32)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(addrs)
	if n := len(slices.Compact(addrs)); n != 32 {
		t.Errorf("%d different addresses, want 32", n)
	}
}
