package dsm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestReadmeShowsTheExamples: the programs in README.md are those in dsm/examples, which are compiled.
func TestReadmeShowsTheExamples(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1) {
		shown = append(shown, string(block[1]))
	}
	files, err := filepath.Glob("examples/*/main.go")
	if err != nil || len(files) != len(shown) {
		t.Errorf("README.md shows %d programs, there are %d (%v)", len(shown), len(files), err)
	}
	for _, file := range files {
		program, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(shown, string(program)) {
			t.Errorf("README.md does not show %s as it is", file)
		}
	}
}
