// Package mutation plants faults in a package and has the package's tests find them. A test that has never
// failed proves little; these have each failed for a reason that is known.
//
// The faults are in testdata/mutations.txt of the package, each with a name, what it breaks, a file, the
// lines to replace, which occur once, and the lines to put there:
//
//	== grant-twice
//	Two nodes get the lock.
//	-- home.go
//		if len(queue) == 1 {
//	++
//		if len(queue) >= 1 {
//
// A fault is never written to the package's directory: the build takes the file from elsewhere
// (go build -overlay).
package mutation

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

// mutation is a fault to plant in a file of the package.
type mutation struct {
	name, breaks, file, old, new string
}

// read reads testdata/mutations.txt.
func read(t *testing.T) []mutation {
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

// Check fails unless every fault can be planted: it keeps the faults in step with the package.
func Check(t *testing.T) {
	t.Helper()
	for _, m := range read(t) {
		if _, err := m.plant(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// Run plants each fault in a build of its own and fails unless one of the tests called finders finds it, which
// it logs. The finders run one after the other, as they do without PAGEMESH_LONG.
func Run(t *testing.T, finders ...string) {
	for _, m := range read(t) {
		t.Run(m.name, func(t *testing.T) {
			binary := m.build(t)
			for _, f := range finders {
				if said := catch(t, binary, f); said != "" {
					t.Logf("%s\n%s: %s", m.breaks, f, said)
					return
				}
			}
			t.Error("nobody has found it: " + m.breaks)
		})
	}
}

// build compiles the package's tests with the fault in place of the file that it is in.
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
	planted, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json")
	paths, err := json.Marshal(map[string]map[string]string{"Replace": {original: planted}})
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string][]byte{planted: []byte(text), overlay: paths} {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary = filepath.Join(dir, "mutant.test")
	if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// complaint is what a failed test says: what is broken, and how long it took.
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
	said := []string{}
	for _, m := range complaint.FindAllStringSubmatch(string(out), 2) {
		said = append(said, strings.Join(m[1:], ""))
	}
	if len(said) == 0 {
		return err.Error()
	}
	return strings.Join(said, ", ")
}
