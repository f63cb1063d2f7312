package trace

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll returns what the chunks of a file hold together.
func readAll(r *Reader) (Chunk, error) {
	all := Chunk{}
	for {
		ch, err := r.Next()
		if err != nil {
			return all, err
		}
		all.Add(&ch)
	}
}

func TestFile(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	want := Chunk{}
	for i := range 3 {
		ch := Chunk{Until: int64(i), Sites: []Site{{1, uint32(i), "a.go:1", "f"}}}
		for j := range i * MaxEvents * 3 / 2 {
			ch.Events = append(ch.Events, Event{Kind: Fault, Node: 1, Time: int64(i*j + 5)})
		}
		if err := w.Write(&ch); err != nil {
			t.Fatal(err)
		}
		want.Add(&ch)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	r, err := NewReader(iotest.HalfReader(bytes.NewReader(whole)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(r); err != io.EOF || !reflect.DeepEqual(got, want) {
		t.Errorf("%d events, %v, want %d", len(got.Events), err, len(want.Events))
	}
	for _, n := range []int{1, 4, 5, 1000, len(whole) - len(fileStart) - 4, len(whole) - len(fileStart)} {
		r, err := NewReader(bytes.NewReader(whole[:len(whole)-n]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(r); err != ErrCut || len(got.Events) > len(want.Events) {
			t.Errorf("without its last %d bytes: %d events, %v", n, len(got.Events), err)
		}
	}
}

func TestNotAFile(t *testing.T) {
	for _, b := range []string{"", "pagemesh", "pagemesh trace 2\n", "package trace\n\nimport"} {
		if _, err := NewReader(strings.NewReader(b)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", b, err)
		}
	}
	r, err := NewReader(strings.NewReader(fileStart + "\xff\xff\xff\xff"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("a chunk of 4 GiB: %v", err)
		}
	}
	broken := errors.New("broken")
	if _, err := NewReader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}
