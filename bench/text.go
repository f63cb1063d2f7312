package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	// blockBytes is how much text, about, a rank takes at a time.
	blockBytes = 1 << 16
	// maxWord is the length of the longest word; what goes on is another word.
	maxWord = 128
)

// text is the files of a directory tree, in the order of their names.
type text struct {
	dir    string
	files  []string
	bytes  int64
	blocks []block
}

// block is the files [lo, hi).
type block struct{ lo, hi int }

// openText finds the files below dir, which is the source of the Go toolchain if it is empty.
func openText(dir string) (*text, error) {
	t := &text{dir: dir}
	if dir == "" {
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return nil, fmt.Errorf("go env GOROOT: %w; name a directory of text with --input", err)
		}
		t.dir = filepath.Join(string(bytes.TrimSpace(root)), "src")
	}
	var size int64 // of the last block
	err := filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if size >= blockBytes || len(t.blocks) == 0 {
			t.blocks, size = append(t.blocks, block{len(t.files), len(t.files)}), 0
		}
		t.files = append(t.files, path)
		t.blocks[len(t.blocks)-1].hi++
		t.bytes += info.Size()
		size += info.Size()
		return nil
	})
	if err == nil && len(t.files) == 0 {
		err = errors.New("there is no file in " + t.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; name a directory of text with --input", err)
	}
	return t, nil
}

// agree returns an error unless all ranks see the same files.
func (t *text) agree(ctx context.Context, r *Rank) error {
	total := NewSum(ctx, r, "text")
	for _, mine := range []float64{float64(len(t.files)), float64(t.bytes)} {
		if total.Of(ctx, mine) != float64(r.Ranks)*mine {
			return fmt.Errorf("not all nodes see the same files in %s: give each a copy", t.dir)
		}
	}
	return nil
}

// count counts the words of files [lo, hi).
func (t *text) count(words map[string]*tally, lo, hi int) error {
	for file := lo; file < hi; file++ {
		content, err := os.ReadFile(t.files[file])
		if err != nil {
			return err
		}
		if !bytes.Contains(content, []byte{0}) { // else it is no text
			countWords(words, content, file)
		}
	}
	return nil
}

// countWords counts the words of one file. A word begins with a letter, which digits may follow.
func countWords(words map[string]*tally, content []byte, file int) {
	for i := 0; i < len(content); {
		if !letter(content[i]) {
			i++
			continue
		}
		start := i
		for i < len(content) && i < start+maxWord && (letter(content[i]) || digit(content[i])) {
			i++
		}
		word := content[start:i]
		t := words[string(word)]
		if t == nil {
			t = &tally{last: -1}
			words[string(word)] = t
		}
		t.count++
		if t.last != file {
			t.last = file
			t.files++
		}
	}
}

// letter reports whether a byte belongs to a letter, be it of ASCII or a part of another in UTF-8.
func letter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' || b == '_' || b >= 0x80 }

func digit(b byte) bool { return '0' <= b && b <= '9' }
