package sharing

import "slices"

// Span is the bytes [Start, End) of a page. Lists of them are ascending, and no two of a list touch.
type Span struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// common returns the bytes that are in both lists.
func common(a, b []Span) (both []Span) {
	for len(a) > 0 && len(b) > 0 {
		s := Span{max(a[0].Start, b[0].Start), min(a[0].End, b[0].End)}
		if s.Start < s.End {
			both = append(both, s)
		}
		if a[0].End < b[0].End {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}

// union returns the bytes that are in one of the lists.
func union(a, b []Span) []Span {
	var all []Span
	for _, s := range slices.SortedFunc(slices.Values(slices.Concat(a, b)), func(a, b Span) int { return a.Start - b.Start }) {
		if n := len(all); n > 0 && s.Start <= all[n-1].End {
			all[n-1].End = max(all[n-1].End, s.End)
			continue
		}
		all = append(all, s)
	}
	return all
}
