package launch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envProgram names the program that this test binary plays instead of running tests.
const envProgram = "LAUNCH_TEST_PROGRAM"

// envRank is a copy's rank.
const envRank = "LAUNCH_TEST_RANK"

// programs are the programs that tests launch: this binary, run with envProgram set.
var programs = map[string]func(rank int, args []string) int{
	"keep":   func(int, []string) int { Keep(os.Stdin, "the other process has ended\n"); return 0 },
	"hello":  playHello,
	"cat":    playCat,
	"fail":   playFail,
	"crash":  playCrash,
	"polite": playPolite,
	"deaf":   playDeaf,
	"parent": playParent,
	"file":   playFile,
	"launch": playLauncher,
}

func TestMain(m *testing.M) {
	if play := programs[os.Getenv(envProgram)]; play != nil {
		rank, _ := strconv.Atoi(os.Getenv(envRank))
		os.Exit(play(rank, os.Args[1:]))
	}
	// Programs under the race detector would each take a second to end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// playHello writes its rank and arguments to both streams, the last line without a newline.
func playHello(rank int, args []string) int {
	fmt.Printf("out %d %s\nlast", rank, strings.Join(args, ","))
	fmt.Fprintf(os.Stderr, "err %d\n", rank)
	return 0
}

// playCat writes what it reads.
func playCat(int, []string) int {
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		return 1
	}
	return 0
}

// playFail ends with the status given first if its rank is the one given second, and otherwise waits.
func playFail(rank int, args []string) int {
	if strconv.Itoa(rank) == args[1] {
		status, _ := strconv.Atoi(args[0])
		return status
	}
	select {}
}

// playCrash kills itself if its rank is 1; the others see it and fail at once, like nodes that lost a
// peer. The pipe in descriptor 3 ends with rank 1.
func playCrash(rank int, _ []string) int {
	if rank == 1 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	_, _ = io.ReadAll(os.NewFile(3, "peer"))
	fmt.Println("lost rank 1")
	return 1
}

// playPolite says that it is ready and ends with status 0 on the first signal.
func playPolite(int, []string) int {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	fmt.Println("ready", os.Getpid())
	fmt.Println("got", <-c)
	return 0
}

// playDeaf says that it is ready and ignores what asks it to end.
func playDeaf(int, []string) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	fmt.Println("ready", os.Getpid())
	select {}
}

// playParent starts a deaf child in its own group and either ends or waits, like "go run".
func playParent(_ int, args []string) int {
	child := program("deaf")
	child.Stdout = os.Stdout
	if err := child.Start(); err != nil {
		return 1
	}
	if args[0] == "end" {
		return 0
	}
	select {}
}

// playFile writes to descriptor 3.
func playFile(rank int, _ []string) int {
	_, err := fmt.Fprintf(os.NewFile(3, "report"), "report of %d\n", rank)
	if err != nil {
		return 1
	}
	return 0
}

// playLauncher launches two parents with a keeper, to be killed.
func playLauncher(int, []string) int {
	s := spec(2, "parent", "wait")
	s.Stdout, s.Stderr = os.Stdout, os.Stderr
	if err := Run(context.Background(), s); err != nil {
		return 1
	}
	return 0
}

// program returns a command that plays a program.
func program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), envProgram+"="+name)
	return cmd
}

// spec returns a Spec that launches copies of a program, with a keeper.
func spec(copies int, name string, args ...string) Spec {
	return Spec{
		Copies:  copies,
		Command: append([]string{os.Args[0]}, args...),
		Env: func(rank int) []string {
			return append(os.Environ(), envProgram+"="+name, envRank+"="+strconv.Itoa(rank))
		},
		Stdout: io.Discard,
		Stderr: io.Discard,
		// env gives the keeper the environment that makes it one.
		Keeper: []string{"env", envProgram + "=keep", os.Args[0]},
	}
}

// lines is a Writer from which a test reads lines as they come.
type lines struct {
	t *testing.T
	w *io.PipeWriter
	c chan string
}

func newLines(t *testing.T) *lines {
	r, w := io.Pipe()
	l := &lines{t: t, w: w, c: make(chan string, 1024)}
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			l.c <- s.Text()
		}
		close(l.c)
	}()
	t.Cleanup(func() { w.Close() })
	return l
}

func (l *lines) Write(p []byte) (int, error) { return l.w.Write(p) }

// next returns the next line, or fails after a time that only a hang takes.
func (l *lines) next() string {
	l.t.Helper()
	select {
	case s := <-l.c:
		return s
	case <-time.After(30 * time.Second):
		l.t.Fatal("no line for 30 s")
		return ""
	}
}

// pids reads n lines "[rank] ready PID" and returns the process ids.
func (l *lines) pids(n int) []int {
	l.t.Helper()
	var pids []int
	for range n {
		s := l.next()
		pid, err := strconv.Atoi(s[strings.LastIndexByte(s, ' ')+1:])
		if err != nil || !strings.Contains(s, "ready") {
			l.t.Fatalf("line %q: want ready and a process id", s)
		}
		pids = append(pids, pid)
	}
	return pids
}

// checkGone fails unless every process ends soon.
func checkGone(t *testing.T, pids []int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		alive := 0
		for _, pid := range pids {
			if running(pid) {
				alive++
			}
		}
		if alive == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of processes %v are still there", alive, pids)
		}
		time.Sleep(pollInterval)
	}
}

// running reports whether the process exists and is not just a record that nobody has collected.
func running(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
