package dsm_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says which packages of the module a package may import. A name that ends in a slash stands for
// everything below it.
var layers = map[string][]string{
	"pagetable":            {},
	"pagetable/vm":         {"pagetable"},
	"coherence":            {"pagetable"},
	"coherence/mutation":   {},
	"locks":                {"pagetable", "coherence"},
	"transport":            {"pagetable"},
	"transport/membership": {"transport"},
	"dsm":                  {"pagetable", "pagetable/vm", "coherence", "locks", "transport", "transport/membership", "dsm/sharing", "dsm/layout", "dsm/trace"},
	"dsm/trace":            {"pagetable"},
	"dsm/sharing":          {"pagetable"},
	"dsm/layout":           {},
	"dsm/report":           {"dsm", "dsm/sharing", "dsm/layout", "dsm/replay", "dsm/trace", "pagetable"},
	"dsm/replay":           {"dsm/sharing", "dsm/trace", "pagetable"},
	"dsm/shared":           {"dsm", "pagetable", "pagetable/vm"},
	"dsm/profile":          {"dsm", "dsm/layout", "dsm/trace", "pagetable"},
	"dsm/debug":            {"dsm", "dsm/profile", "dsm/report", "dsm/trace"},
	"dsm/examples/":        {"dsm", "dsm/shared"},
	"bench":                {"dsm", "dsm/shared", "dsm/report", "dsm/sharing", "pagetable", "bench/ipc"},
	"bench/ipc":            {"pagetable/vm"},
	"cmd/":                 {"bench", "dsm", "dsm/debug", "dsm/profile", "dsm/report", "dsm/sharing", "dsm/trace", "pagetable", "transport", "cmd/"},
}

// impure are packages that the cores may not import: what they do must follow from their events alone.
var impure = []string{
	"context", "crypto/rand", "log", "log/slog", "math/rand", "math/rand/v2", "net", "os", "runtime", "sync",
	"sync/atomic", "syscall", "time", "unsafe",
}

var cores = []string{"coherence", "locks"}

// unsafeFiles may import unsafe beside pagetable/vm.
var unsafeFiles = []string{"transport/socket_linux.go", "bench/ipc/queue_linux.go"}

// TestLayering reads every file of the module that is not a test, whatever system it is for.
func TestLayering(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel("..", path)
		layer := layerOf(filepath.ToSlash(filepath.Dir(name)))
		seen[layer] = true
		checkImports(t, filepath.ToSlash(name), layer, f)
		if slices.Contains(cores, layer) {
			checkCore(t, name, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for layer := range maps.Keys(layers) {
		if !seen[layer] {
			t.Errorf("no file is in layer %s", layer)
		}
	}
}

// layerOf returns the layer of a directory, "" if it has none.
func layerOf(dir string) string {
	for layer := range layers {
		if dir == layer || strings.HasSuffix(layer, "/") && strings.HasPrefix(dir, layer) {
			return layer
		}
	}
	return ""
}

func checkImports(t *testing.T, name, layer string, f *ast.File) {
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		ours, isOurs := strings.CutPrefix(path, "pagemesh/")
		switch {
		case isOurs && !slices.Contains(layers[layer], layerOf(ours)):
			t.Errorf("%s imports %s, which layer %q may not", name, path, layer)
		case path == "unsafe" && layer != "pagetable/vm" && !slices.Contains(unsafeFiles, name):
			t.Errorf("%s imports unsafe", name)
		case slices.Contains(cores, layer) && slices.Contains(impure, path):
			t.Errorf("%s imports %s: %s is pure", name, path, layer)
		}
	}
}

// checkCore refuses goroutines and channels.
func checkCore(t *testing.T, name string, f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s starts a goroutine", name)
		case *ast.ChanType:
			t.Errorf("%s has a channel", name)
		}
		return true
	})
}
