// Package running remembers which nodes this user has running on this machine, and how to reach them,
// so that whoever wants to look into a space need not repeat it.
//
// Each node, or the launcher of several, keeps one file in a directory that only the user can read,
// because a space's secret is in it. A file whose process is gone means nothing, and List removes it.
package running

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Node says how to reach a node.
type Node struct {
	Addr     string    `json:"addr"` // host:port, at which the node may not listen yet
	Cluster  string    `json:"cluster"`
	Secret   string    `json:"secret"`
	Insecure bool      `json:"insecure"`
	Process  int       `json:"process"` // the record is void when that process is gone
	Command  string    `json:"command"` // what runs there, for people
	Started  time.Time `json:"started"`
}

// suffix is that of a complete record.
const suffix = ".json"

// Announce adds a record to dir, which is created if need be, and returns a function that removes it.
func Announce(dir string, n Node) (withdraw func(), err error) {
	if err := prepare(dir); err != nil {
		return nil, err
	}
	b, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "new-*") // readable by the user alone
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	name := f.Name() + suffix
	// A reader never sees half a record: it gets its name when it is whole.
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return func() { _ = os.Remove(name) }, nil // what stays behind is void
}

// prepare creates the directory, or refuses one that others could have put there or can read.
func prepare(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	return check(dir)
}

// check returns an error unless dir is a directory of this user's alone.
func check(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || !private(info) {
		return fmt.Errorf("%s is not a directory of this user alone: remove it", dir)
	}
	return nil
}

// List returns the records of processes that exist, the latest first. A directory that is not there
// has none.
func List(dir string) ([]Node, error) {
	if err := check(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []Node
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if n, ok := read(name); ok {
			list = append(list, n)
		} else {
			_ = os.Remove(name)
		}
	}
	slices.SortFunc(list, func(a, b Node) int { return b.Started.Compare(a.Started) })
	return list, nil
}

// read returns a record, or false if it is void.
func read(name string) (n Node, ok bool) {
	b, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(b, &n) != nil {
		return Node{}, false
	}
	return n, exists(n.Process)
}

// Dir returns this user's directory of records. It lies where it does not depend on how the user has
// logged in.
func Dir() string { return filepath.Join(os.TempDir(), fmt.Sprintf("pagemesh-%d", os.Getuid())) }
