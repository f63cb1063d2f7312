package dsm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestReadmeShowsExamples: the programs in README.md are of dsm/examples, where they are compiled.
func TestReadmeShowsExamples(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("examples/*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string]string{}
	for _, file := range files {
		program, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		examples[string(program)] = file
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) == 0 {
		t.Error("README.md shows no program")
	}
	for _, block := range blocks {
		if examples[string(block[1])] == "" {
			t.Errorf("README.md shows what is no example:\n%s", block[1])
		}
	}
}
