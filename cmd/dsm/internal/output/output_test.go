package output

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

type page struct {
	Name  string `json:"name"`
	Bytes uint64 `json:"bytes"`
	Note  string `json:"note"`
}

// pages returns a list that shows each thing that a column can do.
func pages(rows ...page) List[page] {
	return List[page]{
		Columns: []Column[page]{
			{Name: "name", Title: "PAGE", Text: true, Value: func(p page) any { return p.Name }},
			{Name: "bytes", Title: "RECEIVED", Value: func(p page) any { return p.Bytes },
				Show: func(p page) string { return Bytes(p.Bytes) }, Alarm: func(p page) bool { return p.Bytes > 1000 }},
			{Name: "note", Value: func(p page) any { return p.Note }},
			{Title: "KIND", Text: true, Value: func(page) any { return "x" }},
		},
		Rows: rows,
	}
}

var two = []page{{"grid[0]", 4096, "Read by n1, \"n2\"."}, {"µ[12]", 1, ""}}

func TestTable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		rows   []page
		notes  func(page) []string
		colour bool
		want   []string
	}{
		{"rows", two, nil, false, []string{
			"PAGE     RECEIVED  KIND",
			"grid[0]  4.00 KiB  x",
			"µ[12]         1 B  x",
		}},
		{"notes", two, func(p page) []string { return strings.Fields(p.Note) }, false, []string{
			"PAGE     RECEIVED  KIND",
			"grid[0]  4.00 KiB  x",
			"    Read",
			"    by",
			"    n1,",
			"    \"n2\".",
			"µ[12]         1 B  x",
		}},
		{"colour", two, nil, true, []string{
			"\x1b[1mPAGE\x1b[0m     \x1b[1mRECEIVED\x1b[0m  \x1b[1mKIND\x1b[0m",
			"grid[0]  \x1b[31m4.00 KiB\x1b[0m  x",
			"µ[12]         1 B  x",
		}},
		{"hostile", []page{{Name: "a\x1b[2J\n"}}, func(page) []string { return []string{"\r!"} }, false, []string{
			"PAGE    RECEIVED  KIND",
			"a?[2J?       0 B  x",
			"    ?!",
		}},
		{"empty", nil, nil, false, []string{"PAGE  RECEIVED  KIND"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := pages(tc.rows...)
			l.Notes = tc.notes
			var b bytes.Buffer
			if err := l.WriteTable(&b, tc.colour); err != nil {
				t.Fatal(err)
			}
			if got := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"); !slices.Equal(got, tc.want) {
				t.Errorf("got\n%q\nwant\n%q", got, tc.want)
			}
		})
	}
}

func TestCSV(t *testing.T) {
	for _, tc := range []struct {
		name   string
		rows   []page
		header bool
		want   string
	}{
		{"rows", two, true, "name,bytes,note\ngrid[0],4096,\"Read by n1, \"\"n2\"\".\"\nµ[12],1,\n"},
		{"without header", two[1:], false, "µ[12],1,\n"},
		{"empty", nil, true, "name,bytes,note\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := pages(tc.rows...).WriteCSV(&b, tc.header); err != nil {
				t.Fatal(err)
			}
			if b.String() != tc.want {
				t.Errorf("got\n%swant\n%s", b.String(), tc.want)
			}
		})
	}
}

func TestJSONIsExact(t *testing.T) {
	want := page{Bytes: math.MaxUint64, Note: "a<b & c"}
	for name, write := range map[string]func(io.Writer, any) error{"indented": WriteJSON, "line": WriteJSONLine} {
		var b bytes.Buffer
		if err := write(&b, want); err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(b.Bytes(), []byte("\n")); (name == "line") != (lines == 1) {
			t.Errorf("%s: %d lines", name, lines)
		}
		if !strings.Contains(b.String(), want.Note) || !strings.HasSuffix(b.String(), "}\n") {
			t.Errorf("%s: not written as it is: %q", name, b.String())
		}
		var got page
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Bytes(0), "0 B"}, {Bytes(1023), "1023 B"}, {Bytes(1024), "1.00 KiB"}, {Bytes(10230), "9.99 KiB"},
		{Bytes(10236), "10.0 KiB"}, {Bytes(1023 << 10), "1.00 MiB"}, {Bytes(1 << 40), "1.00 TiB"},
		{Bytes(math.MaxUint64), "16.0 EiB"},
		{Duration(0), "0 ns"}, {Duration(999), "999 ns"}, {Duration(1500), "1.50 µs"}, {Duration(999_499), "999 µs"},
		{Duration(999_500), "1.00 ms"}, {Duration(12_345_678), "12.3 ms"}, {Duration(2 * time.Second), "2.00 s"},
		{Duration(99 * time.Second), "99.0 s"}, {Duration(100 * time.Second), "1m40s"},
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(1234567), "1,234,567"},
		{Number(0, "word"), "0 words"}, {Number(1, "word"), "1 word"}, {Number(1000, "word"), "1,000 words"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func TestChoice(t *testing.T) {
	c := Choose(Table, JSON, CSV)
	if c.String() != "table" || c.Type() != "table|json|csv" {
		t.Errorf("default %v of type %v", c, c.Type())
	}
	if err := c.Set("json"); err != nil || c.Value != JSON {
		t.Errorf("Set(json): %v, %v", c, err)
	}
	for wrong, want := range map[string]string{"jsn": "did you mean json?", "bench": "choose table, json, csv"} {
		if err := c.Set(wrong); err == nil || err.Error() != want || c.Value != JSON {
			t.Errorf("Set(%q): %v, want %q", wrong, err, want)
		}
	}
}
