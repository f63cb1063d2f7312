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

// Column is one property of the values of a list.
type Column[T any] struct {
	Name  string         // in CSV
	Title string         // in a table; "" leaves the column out there
	Text  bool           // a table aligns it to the left, not to the right
	Value func(T) any    // what CSV holds, as fmt prints it
	Show  func(T) string // what a table shows; default: Value
}

func (c Column[T]) show(row T) string {
	if c.Show != nil {
		return printable(c.Show(row))
	}
	return printable(fmt.Sprint(c.Value(row)))
}

// printable returns s with a question mark for each control character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// WriteCSV writes the rows, after a line of names if header is set.
func WriteCSV[T any](w io.Writer, columns []Column[T], rows []T, header bool) error {
	out := csv.NewWriter(w)
	record := make([]string, len(columns))
	if header {
		for i, c := range columns {
			record[i] = c.Name
		}
		_ = out.Write(record) // Flush keeps the error
	}
	for _, row := range rows {
		for i, c := range columns {
			record[i] = fmt.Sprint(c.Value(row))
		}
		_ = out.Write(record)
	}
	out.Flush()
	return out.Error()
}

// WriteJSON writes one value, indented, and a newline.
func WriteJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// WriteTable writes the rows below their titles, each followed by the lines that notes, unless nil,
// returns of it. What a terminal would not print but obey is replaced.
func WriteTable[T any](w io.Writer, columns []Column[T], rows []T, notes func(T) []string) error {
	var shown []Column[T]
	var widths []int
	for _, c := range columns {
		if c.Title == "" {
			continue
		}
		width := utf8.RuneCountInString(c.Title)
		for _, row := range rows {
			width = max(width, utf8.RuneCountInString(c.show(row)))
		}
		shown, widths = append(shown, c), append(widths, width)
	}
	var b strings.Builder
	line := func(cell func(Column[T]) string) {
		var l strings.Builder
		for i, c := range shown {
			l.WriteString(pad(cell(c), widths[i], c.Text))
			l.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(l.String(), " "))
		b.WriteByte('\n')
	}
	line(func(c Column[T]) string { return c.Title })
	for _, row := range rows {
		line(func(c Column[T]) string { return c.show(row) })
		if notes == nil {
			continue
		}
		for _, note := range notes(row) {
			b.WriteString("    " + printable(note) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func pad(s string, width int, left bool) string {
	space := strings.Repeat(" ", width-utf8.RuneCountInString(s))
	if left {
		return s + space
	}
	return space + s
}
