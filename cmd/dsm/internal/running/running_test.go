package running

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func announce(t *testing.T, dir string, n Node) func() {
	t.Helper()
	withdraw, err := Announce(dir, n)
	if err != nil {
		t.Fatal(err)
	}
	return withdraw
}

func list(t *testing.T, dir string) []Node {
	t.Helper()
	l, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnnounceListWithdraw(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nodes")
	if l := list(t, dir); len(l) != 0 {
		t.Errorf("nothing announced, listed %v", l)
	}
	start := time.Now().UTC().Truncate(time.Second)
	first := Node{Addr: "127.0.0.1:1", Cluster: "a", Secret: "s", Insecure: true, Process: os.Getpid(), Command: "x", Started: start}
	second := Node{Addr: "127.0.0.1:2", Cluster: "b", Process: os.Getpid(), Started: start.Add(time.Second)}
	withdraw := announce(t, dir, first)
	announce(t, dir, second)
	if l := list(t, dir); !slices.Equal(l, []Node{second, first}) {
		t.Errorf("listed %+v, want the second, then the first", l)
	}
	withdraw()
	if l := list(t, dir); !slices.Equal(l, []Node{second}) {
		t.Errorf("listed %+v, want the second alone", l)
	}
}

func TestSecretIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nodes")
	announce(t, dir, Node{Secret: "s", Process: os.Getpid()})
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	for _, name := range append(files, dir) {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v (%v): others must not read it", name, info.Mode(), err)
		}
	}
}

func TestRecordOfDeadProcessIsRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nodes")
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	announce(t, dir, Node{Process: dead.Process.Pid})
	if err := os.WriteFile(filepath.Join(dir, "broken"+suffix), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := list(t, dir); len(l) != 0 {
		t.Errorf("listed %v", l)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, link} {
		if _, err := Announce(dir, Node{Process: os.Getpid()}); err == nil {
			t.Errorf("%s was taken for a private directory", dir)
		}
		if _, err := List(dir); err == nil {
			t.Errorf("%s was read as if it were private", dir)
		}
	}
}
