package output

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// List is rows and how to print them.
type List[T any] struct {
	Columns []Column[T]
	Rows    []T
	// Notes returns lines that follow a row in a table. Default: none.
	Notes func(T) []string
}

// Column is one property of the values of a list.
type Column[T any] struct {
	Name  string         // in CSV; "" leaves the column out there
	Title string         // in a table; "" leaves the column out there
	Text  bool           // a table aligns it to the left, not to the right
	Value func(T) any    // what CSV holds, as fmt prints it
	Show  func(T) string // what a table shows; default: Value
	Alarm func(T) bool   // whether a table shows it in red; default: never
}

func (c Column[T]) show(row T) string {
	if c.Show != nil {
		return printable(c.Show(row))
	}
	return printable(fmt.Sprint(c.Value(row)))
}

// printable returns s with a question mark for each character that a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// WriteCSV writes the rows, after a line of names if header is set.
func (l List[T]) WriteCSV(w io.Writer, header bool) error {
	var columns []Column[T]
	var names []string
	for _, c := range l.Columns {
		if c.Name != "" {
			columns, names = append(columns, c), append(names, c.Name)
		}
	}
	out := csv.NewWriter(w)
	if header {
		_ = out.Write(names) // Flush keeps the error, here and below
	}
	record := make([]string, len(columns))
	for _, row := range l.Rows {
		for i, c := range columns {
			record[i] = fmt.Sprint(c.Value(row))
		}
		_ = out.Write(record)
	}
	out.Flush()
	return out.Error()
}

// WriteJSON writes one value, indented, and a newline.
func WriteJSON(w io.Writer, v any) error { return encode(w, v, "  ") }

// WriteJSONLine writes one value on one line.
func WriteJSONLine(w io.Writer, v any) error { return encode(w, v, "") }

func encode(w io.Writer, v any, indent string) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", indent)
	return out.Encode(v)
}

// Sequences that a terminal obeys.
const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	plain = "\x1b[0m"
)

// WriteTable writes the rows below their titles, with colour if the reader shows it.
func (l List[T]) WriteTable(w io.Writer, colour bool) error {
	t := table[T]{colour: colour}
	for _, c := range l.Columns {
		if c.Title == "" {
			continue
		}
		width := utf8.RuneCountInString(c.Title)
		for _, row := range l.Rows {
			width = max(width, utf8.RuneCountInString(c.show(row)))
		}
		t.columns, t.widths = append(t.columns, c), append(t.widths, width)
	}
	t.line(func(c Column[T]) (string, string) { return c.Title, bold })
	for _, row := range l.Rows {
		t.line(func(c Column[T]) (string, string) {
			if c.Alarm != nil && c.Alarm(row) {
				return c.show(row), red
			}
			return c.show(row), ""
		})
		if l.Notes == nil {
			continue
		}
		for _, note := range l.Notes(row) {
			t.text.WriteString("    " + printable(note) + "\n")
		}
	}
	_, err := io.WriteString(w, t.text.String())
	return err
}

// table is a table being written.
type table[T any] struct {
	columns []Column[T]
	widths  []int // in characters
	colour  bool
	text    strings.Builder
}

// line adds one line of cells, each a text and the sequence that colours it, if any.
func (t *table[T]) line(cell func(Column[T]) (text, colour string)) {
	var line strings.Builder
	for i, c := range t.columns {
		text, colour := cell(c)
		space := strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(text))
		if colour != "" && t.colour {
			text = colour + text + plain
		}
		if c.Text {
			line.WriteString(text + space + "  ")
		} else {
			line.WriteString(space + text + "  ")
		}
	}
	t.text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}
