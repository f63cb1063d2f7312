package report

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// WriteTo writes the report for people.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	b.WriteString(r.Verdict + "\n")
	for i := range r.Findings {
		r.Findings[i].write(&b, i+1)
	}
	if len(r.Findings) > 0 && r.RestNanos > 0 {
		fmt.Fprintf(&b, "\nAll else: %s, %s.\n", brief(nanos(r.RestNanos)), percent(share(r.RestNanos, r.WallNanos)))
	}
	return b.WriteTo(w)
}

func (f *Finding) write(b *bytes.Buffer, number int) {
	fmt.Fprintf(b, "\n%d. %s: %s, %s lost, %s of the time\n", number, f.Class, f.where(), brief(nanos(f.LostNanos)), percent(f.LostShare))
	fmt.Fprintf(b, "   %s\n", f.Title)
	for _, p := range f.Parts {
		p.write(b)
	}
	fmt.Fprintf(b, "   %s\n", f.traffic())
	for i, c := range f.Cures {
		label := "Cure:"
		if i > 0 {
			label = "     "
		}
		fmt.Fprintf(b, "   %s %s%s\n", label, c.Text, c.Gain.text(f.LostShare))
	}
	if len(f.Cures) > 0 && !slices.ContainsFunc(f.Cures, func(c Cure) bool { return c.Gain != nil }) {
		b.WriteString("   Gain: can't be told from what was recorded\n")
	}
	fmt.Fprintf(b, "   Sure: %s\n", f.sureness())
}

// where names the pages, "stats[17]" or "stats[17] and 3 more pages".
func (f *Finding) where() string {
	s := fmt.Sprintf("%s[%d]", f.Region, f.Pages[0])
	switch n := len(f.Pages) - 1; {
	case n == 1:
		s += " and another page"
	case n > 1:
		s += fmt.Sprintf(" and %d more pages", n)
	}
	if f.Subject != "" {
		s += ", " + f.Subject
	}
	return s
}

func (f *Finding) traffic() string {
	s := fmt.Sprintf("%d faults moved %s", f.Faults, size(f.BytesMoved))
	if f.BytesChanged > 0 {
		s += fmt.Sprintf(" for %s that were changed: %.1f for each", size(f.BytesChanged), f.Amplification)
	}
	return s
}

func (f *Finding) sureness() string {
	s := fmt.Sprintf("%.0f %%", 100*f.Confidence)
	if f.Proven {
		s = "proven"
	}
	if len(f.Evidence) > 0 {
		s += ": " + strings.Join(f.Evidence, "; ")
	}
	return s
}

func (p *Part) write(b *bytes.Buffer) {
	node := fmt.Sprintf("%v (%d reads, %d writes waited)", p.Node, p.Reads, p.Writes)
	for _, u := range p.Uses {
		fmt.Fprintf(b, "   %s %s %s%s\n", node, u.Access, u.where(), lines(u.Lines))
		node = strings.Repeat(" ", len(node))
	}
	if p.More > 0 {
		fmt.Fprintf(b, "   %s and %d more\n", node, p.More)
	}
	if len(p.Uses) == 0 || len(p.Lines) > 0 {
		fmt.Fprintf(b, "   %s%s\n", node, lines(p.Lines))
	}
}

// linesAtMost is how many lines are told of a use.
const linesAtMost = 2

func lines(list []Line) string {
	var at []string
	for _, l := range list[:min(len(list), linesAtMost)] {
		at = append(at, fmt.Sprintf("%s in %s", filepath.Base(l.Line), path.Base(l.Function)))
	}
	if len(at) == 0 {
		return ""
	}
	return " at " + strings.Join(at, ", ")
}

// brief rounds a time to what is worth reading.
func brief(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}

// size returns a number of bytes for people.
func size(n uint64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
}
