package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pagemesh/cmd/dsm/internal/launch"
)

// TestBadInput: whatever is wrong, there is one line that says so and what to do, and the status tells
// a wrong command line from other failures.
func TestBadInput(t *testing.T) {
	u := newUser(t)
	_, member := u.node("--cluster", "right", "--secret-file", secretFile(t, "right"))
	other := newUser(t) // who does not find the member's secret
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	missing := filepath.Join(t.TempDir(), "missing")
	wrong := secretFile(t, "wrong")

	for _, tc := range []struct {
		name   string
		args   []string
		status int
		want   string // the remedy
	}{
		{"unknown command", []string{"stauts"}, 2, "did you mean status?"},
		{"unknown command, nothing near", []string{"frobnicate"}, 2, "see dsm --help"},
		{"unknown command below", []string{"bench", "lits"}, 2, "did you mean list?"},
		{"unknown command to explain", []string{"help", "nodes"}, 2, "did you mean node?"},
		{"unknown flag", []string{"status", "--noed=x"}, 2, "did you mean --node?"},
		{"unknown short flag", []string{"status", "-x"}, 2, "see dsm status --help"},
		{"secret on the command line", []string{"node", "--secret", "x"}, 2, "did you mean --secret-file?"},
		{"no number", []string{"run", "-n", "two", "--", "true"}, 2, "give a whole number"},
		{"no duration", []string{"node", "--join-timeout", "5"}, 2, "give a duration such as 30s"},
		{"flag without value", []string{"node", "--listen"}, 2, "see dsm node --help"},
		{"argument too many", []string{"status", "x"}, 2, "see dsm status --help"},
		{"unknown format", []string{"status", "-o", "jsno"}, 2, "did you mean json?"},
		{"unknown shell", []string{"completion", "bsh"}, 2, "did you mean bash?"},
		{"no shell", []string{"completion"}, 2, "bash, zsh, fish"},

		{"no nodes", []string{"run", "-n", "0", "--", "true"}, 2, "from 1 to"},
		{"too many nodes", []string{"bench", "run", "-n", "100000"}, 2, "from 1 to"},
		{"no program", []string{"run", "-n", "2"}, 2, "-- PROG ARGS"},
		{"program not found", []string{"run", "-n", "2", "--", "no-such-program"}, 1, "give the path of the program"},
		{"program file not found", []string{"run", "--", "./no-such-program"}, 1, "give a path that exists"},
		{"program is no program", []string{"run", "--", wrong}, 1, "give what this user may use"},
		{"program is a directory", []string{"run", "--", t.TempDir()}, 1, "give the path of a program"},
		{"no time to join", []string{"run", "--join-timeout", "0s", "--", "true"}, 2, "give a duration"},

		{"port in use", []string{"node", "--listen", taken.Addr().String()}, 1, "port 0"},
		{"listen on no address", []string{"node", "--listen", "7700"}, 1, "want host:port"},
		{"listen beyond loopback", []string{"node", "--listen", "0.0.0.0:0"}, 1, "--insecure"},
		{"listen on another machine's address", []string{"node", "--insecure", "--listen", "192.0.2.1:0"}, 1, "an address of this machine"},
		{"http beyond loopback", []string{"node", "--http", "0.0.0.0:0"}, 1, "--insecure"},
		{"http nowhere", []string{"node", "--http", "here"}, 1, "--http here"},
		{"profile of no time", []string{"profile", "--for", "0s"}, 2, "--for"},
		{"seed beyond loopback", []string{"node", "--seed", "192.0.2.1:7700", "--join-timeout", "100ms"}, 1, "--insecure"},
		{"seed unreachable", []string{"node", "--seed", "127.0.0.1:1", "--join-timeout", "100ms"}, 1, "is one running there?"},
		{"seeds unreachable", []string{"node", "--seed", "127.0.0.1:1", "--seed", "127.0.0.1:2", "--join-timeout", "100ms"}, 1, "is one running there?"},
		{"socket nowhere", []string{"node", "--socket", filepath.Join(missing, "socket")}, 1, "give a path that exists"},
		{"members missing", []string{"node", "--members", "3", "--join-timeout", "100ms"}, 1, "start the others"},
		{"negative members", []string{"node", "--members", "-1"}, 2, "from 1"},
		{"join with wrong cluster", []string{"node", "--seed", member, "--cluster", "wrong"}, 1, "use the same name"},
		{"join with wrong secret", []string{"node", "--seed", member, "--cluster", "right", "--secret-file", wrong}, 1, "the same secret"},
		{"join without secret", []string{"node", "--seed", member, "--cluster", "right"}, 1, "the same secret"},
		{"secret file missing", []string{"node", "--secret-file", missing}, 1, "give a path that exists"},
		{"secret file empty", []string{"node", "--secret-file", secretFile(t, "\n")}, 1, "put the secret into it"},

		{"look with wrong cluster", []string{"status", "--node", member, "--cluster", "wrong"}, 1, "use the same name"},
		{"look with wrong secret", []string{"pages", "--node", member, "--cluster", "right", "--secret-file", wrong}, 1, "the same secret"},
		{"look where nothing is", []string{"locks", "--node", "127.0.0.1:1"}, 1, "name a node that runs with --node"},
		{"look where something else is", []string{"status", "--node", "127.0.0.1:x"}, 1, "name a node that runs with --node"},
		{"look with nothing running", []string{"status"}, 1, "start one with dsm run or dsm node"},
		{"page without region", []string{"pages", "--page", "3"}, 2, "--region"},
		{"negative page", []string{"pages", "--page", "-2"}, 2, "from 0"},
		{"negative top", []string{"pages", "--top", "-1"}, 2, "0 for all"},
		{"negative interval", []string{"status", "--watch=-1s"}, 2, "an interval such as"},

		{"trace of an unknown kind", []string{"trace", "--kind", "fualt"}, 2, "did you mean fault?"},
		{"trace of no node", []string{"trace", "--node", "x2"}, 2, "give n2"},
		{"trace of a page without region", []string{"trace", "--page", "3"}, 2, "--region"},
		{"trace of a negative page", []string{"trace", "--page", "-2"}, 2, "from 0"},
		{"trace for no time", []string{"trace", "--for", "-1s"}, 2, "a time such as"},
		{"trace of a file and a space", []string{"trace", "--read", missing, "--held"}, 2, "leave out --held"},
		{"trace into its own file", []string{"trace", "--read", missing, "--write", missing}, 2, "give another"},
		{"trace of a file that is missing", []string{"trace", "--read", missing}, 1, "give a path that exists"},
		{"trace of a file that is none", []string{"trace", "--read", wrong}, 1, "not a trace"},
		{"trace with nothing running", []string{"trace", "--write", missing}, 1, "start one with dsm run or dsm node"},

		{"unknown workload", []string{"bench", "run", "pingpnog"}, 2, "did you mean pingpong?"},
		{"unknown workload, nothing near", []string{"bench", "run", "frobnicate"}, 2, "see dsm bench list"},
		{"unknown class", []string{"bench", "run", "ep", "--class", "X"}, 2, "choose one of"},
		{"class of none", []string{"bench", "run", "pingpong", "--class", "S"}, 2, "leave out class"},
		{"negative size", []string{"bench", "run", "pingpong", "--size", "-1"}, 2, "above 0"},
		{"page size", []string{"bench", "run", "pingpong", "--page-size", "1000"}, 2, "a power of two"},
		{"too few nodes", []string{"bench", "run", "pingpong", "-n", "1"}, 2, "needs 2 nodes"},
		{"input missing", []string{"bench", "run", "--input", missing}, 1, "name one with files to read"},
		{"count", []string{"bench", "run", "--count", "0"}, 2, "from 1"},
		{"access", []string{"bench", "run", "--access", "telepathic"}, 2, "choose mapped, embedded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := other.run(tc.args...)
			if o.status != tc.status {
				t.Errorf("status %d, want %d", o.status, tc.status)
			}
			if o.stdout != "" {
				t.Errorf("standard output holds %q", o.stdout)
			}
			if !strings.HasPrefix(o.stderr, "dsm: ") || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, tc.want) {
				t.Errorf("standard error is not one line with %q:\n%s", tc.want, o.stderr)
			}
		})
	}
}

func TestBadEnvironment(t *testing.T) {
	u := newUser(t)
	u.env = append(u.env, "PAGEMESH_MEMBERS=many")
	if o := u.run("node"); o.status != 2 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, "PAGEMESH_MEMBERS") {
		t.Errorf("status %d, want 2 and the name of the variable:\n%s", o.status, o.stderr)
	}
}

// secretFile returns a file with that content.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDescribe(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		status int
		line   string
	}{
		{"none", nil, 0, ""},
		{"other", errors.New("x"), 1, "x"},
		{"several", errors.Join(errors.New("x"), errors.New("y")), 1, "x; y"},
		{"usage", usagef("-n %d: more", 0), 2, "-n 0: more"},
		{"program failed", &launch.ExitError{Rank: 2, Status: 3}, 3, "rank 2 ended with status 3"},
		{"program killed", &launch.ExitError{Rank: 2, Status: 137, Signal: 9}, 137, "rank 2 was ended by signal 9 (killed)"},
		{"program interrupted by the user", &launch.ExitError{Rank: 2, Status: 130, Signal: 2, Passed: true}, 130, ""},
		{"program failed, and more", errors.Join(&launch.ExitError{Rank: 1, Status: 7}, errors.New("y")), 7, "rank 1 ended with status 7; y"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if status, line := describe(tc.err); status != tc.status || line != tc.line {
				t.Errorf("%d, %q, want %d, %q", status, line, tc.status, tc.line)
			}
		})
	}
}

// TestPanicIsOneSentence: a fault of this program is told in one line, and its details are kept.
func TestPanicIsOneSentence(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	line := describePanic("index out of range\nmore", []byte("goroutine 1 [running]:\nmain.main()"))
	if strings.Contains(line, "\n") || !strings.Contains(line, "index out of range") || !strings.Contains(line, "report") {
		t.Errorf("not one sentence with the remedy: %q", line)
	}
	name := line[strings.LastIndexByte(line, ' ')+1:]
	if b, err := os.ReadFile(name); err != nil || !strings.Contains(string(b), "main.main()") {
		t.Errorf("details are not in %s: %q, %v", name, b, err)
	}
}
