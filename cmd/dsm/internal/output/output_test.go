package output

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

type page struct {
	Name  string `json:"name"`
	Bytes uint64 `json:"bytes"`
	Note  string `json:"note"`
}

var columns = []Column[page]{
	{Name: "name", Title: "PAGE", Text: true, Value: func(p page) any { return p.Name }},
	{Name: "bytes", Title: "RECEIVED", Value: func(p page) any { return p.Bytes }, Show: func(p page) string { return Bytes(p.Bytes) }},
	{Name: "note", Value: func(p page) any { return p.Note }},
}

var pages = []page{{"grid[0]", 4096, "Read by n1, \"n2\"."}, {"µ[12]", 1, ""}}

func TestFormats(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func(*bytes.Buffer) error
		want  string
	}{
		{"table", func(b *bytes.Buffer) error { return WriteTable(b, columns, pages, nil) },
			"PAGE     RECEIVED\n" +
				"grid[0]  4.00 KiB\n" +
				"µ[12]         1 B\n"},
		{"table with notes", func(b *bytes.Buffer) error {
			return WriteTable(b, columns, pages, func(p page) []string { return strings.Fields(p.Note) })
		},
			"PAGE     RECEIVED\n" +
				"grid[0]  4.00 KiB\n" +
				"    Read\n    by\n    n1,\n    \"n2\".\n" +
				"µ[12]         1 B\n"},
		{"hostile table", func(b *bytes.Buffer) error {
			return WriteTable(b, columns, []page{{Name: "a\x1b[2J\n"}}, func(page) []string { return []string{"\r!"} })
		},
			"PAGE    RECEIVED\n" +
				"a?[2J?       0 B\n" +
				"    ?!\n"},
		{"empty table", func(b *bytes.Buffer) error { return WriteTable(b, columns, nil, nil) }, "PAGE  RECEIVED\n"},
		{"csv", func(b *bytes.Buffer) error { return WriteCSV(b, columns, pages, true) },
			"name,bytes,note\n" +
				"grid[0],4096,\"Read by n1, \"\"n2\"\".\"\n" +
				"µ[12],1,\n"},
		{"csv without header", func(b *bytes.Buffer) error { return WriteCSV(b, columns, pages[1:], false) }, "µ[12],1,\n"},
		{"empty csv", func(b *bytes.Buffer) error { return WriteCSV(b, columns, nil, true) }, "name,bytes,note\n"},
		{"json", func(b *bytes.Buffer) error { return WriteJSON(b, pages[:1]) },
			"[\n  {\n    \"name\": \"grid[0]\",\n    \"bytes\": 4096,\n    \"note\": \"Read by n1, \\\"n2\\\".\"\n  }\n]\n"},
		{"empty json", func(b *bytes.Buffer) error { return WriteJSON(b, []page{}) }, "[]\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tc.write(&b); err != nil {
				t.Fatal(err)
			}
			if b.String() != tc.want {
				t.Errorf("got\n%swant\n%s", b.String(), tc.want)
			}
		})
	}
}

func TestJSONIsExact(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, page{Bytes: math.MaxUint64, Note: "a<b & c"}); err != nil {
		t.Fatal(err)
	}
	var back page
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Bytes != math.MaxUint64 {
		t.Errorf("%+v, %v", back, err)
	}
	if !strings.Contains(b.String(), "a<b & c") {
		t.Errorf("not written as it is: %s", b.String())
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
	if err := c.Set("json"); err != nil || c.Format != JSON {
		t.Errorf("Set(json): %v, %v", c, err)
	}
	for wrong, want := range map[string]string{"jsn": "did you mean json?", "bench": "want table, json, csv"} {
		if err := c.Set(wrong); err == nil || err.Error() != want || c.Format != JSON {
			t.Errorf("Set(%q): %v, want %q", wrong, err, want)
		}
	}
}
