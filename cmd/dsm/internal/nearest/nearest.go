// Package nearest finds the word that somebody most likely meant.
package nearest

import (
	"fmt"
	"strings"
)

// Suggest returns "did you mean W?" with the word, and prefix in front of it, or otherwise if no word is
// near.
func Suggest(wrong string, words []string, prefix, otherwise string) string {
	if w := Word(wrong, words); w != "" {
		return fmt.Sprintf("did you mean %s%s?", prefix, w)
	}
	return otherwise
}

// Word returns the one of words that wrong most likely stands for, "" if there is none: one that differs in
// one letter, or else begins with wrong, or wrong with it, or else the one with the fewest differences,
// up to a third of its letters.
func Word(wrong string, words []string) string {
	wrong = strings.ToLower(wrong)
	best, least := "", len(wrong)+1
	for _, w := range words {
		if d := distance(wrong, strings.ToLower(w)); d < least && d <= max(1, len(w)/3) {
			best, least = w, d
		}
	}
	if least > 1 && len(wrong) > 1 {
		for _, w := range words {
			if strings.HasPrefix(w, wrong) || strings.HasPrefix(wrong, w) {
				return w
			}
		}
	}
	return best
}

// distance returns how many letters must be inserted, removed, replaced, or exchanged with their
// neighbour to make b of a.
func distance(a, b string) int {
	// Rows of the table of distances between a[:i] and b[:j]: i-2, i-1 and i.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
