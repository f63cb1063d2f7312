package coherence

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mutation is a fault to plant in a file of this package.
type mutation struct {
	name, breaks, file, old, new string
}

// readMutations reads testdata/mutations.txt.
func readMutations(t *testing.T) []mutation {
	t.Helper()
	text, err := os.ReadFile("testdata/mutations.txt")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`(?s)^(\S+)\n([^\n]+)\n-- (\S+)\n(.+)\n\+\+\n(.*?)\n*$`)
	var ms []mutation
	for _, part := range strings.Split(string(text), "\n== ")[1:] {
		f := form.FindStringSubmatch(part)
		if f == nil {
			t.Fatalf("not of the form of a mutation:\n%s", part)
		}
		ms = append(ms, mutation{f[1], f[2], f[3], f[4], f[5]})
	}
	return ms
}

// plant returns the file with the fault in it.
func (m mutation) plant() (string, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("%s has the lines to replace %d times, want once:\n%s", m.file, n, m.old)
	}
	return strings.Replace(string(text), m.old, m.new, 1), nil
}

// TestMutationsApply keeps the mutations in step with the protocol.
func TestMutationsApply(t *testing.T) {
	for _, m := range readMutations(t) {
		if _, err := m.plant(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// TestMutations plants each fault in a build of its own and fails unless the explorer or the simulator
// finds it. It logs who did, and what it was told.
func TestMutations(t *testing.T) {
	if os.Getenv("PAGEMESH_LONG") == "" {
		t.Skip("builds this package many times: set PAGEMESH_LONG=1")
	}
	if raceOn || invariantsOn {
		t.Skip("it builds without the race detector and without tags, once is enough")
	}
	for _, m := range readMutations(t) {
		t.Run(m.name, func(t *testing.T) {
			binary := m.build(t)
			explorer, simulator := catch(t, binary, "TestExplore"), catch(t, binary, "TestSimulate")
			t.Logf("%s\n\texplorer: %s\n\tsimulator: %s", m.breaks, explorer, simulator)
			if explorer == "" && simulator == "" {
				t.Error("nobody has found it")
			}
		})
	}
}

// build compiles the tests of this package with the fault in place of the file that it is in.
func (m mutation) build(t *testing.T) (binary string) {
	t.Helper()
	text, err := m.plant()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	original, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	planted, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	paths, err := json.Marshal(map[string]map[string]string{"Replace": {original: planted}})
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string][]byte{planted: []byte(text), overlay: paths} {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary = filepath.Join(dir, "coherence.test")
	if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// complaint is what a failed exploration or simulation says: what is broken, and how long it took.
var complaint = regexp.MustCompile(`(?m)_test\.go:\d+: ([^e].*)$|^\s*(after \d+ events):$|^(panic: .*)$`)

// catch runs one test of a build with a fault and returns its complaint, "" if it passes.
func catch(t *testing.T, binary, test string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^"+test+"$", "-test.failfast", "-test.timeout", "1m")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PAGEMESH_") })
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	var said []string
	for _, m := range complaint.FindAllStringSubmatch(string(out), 2) {
		said = append(said, strings.Join(m[1:], ""))
	}
	return strings.Join(said, ", ")
}
