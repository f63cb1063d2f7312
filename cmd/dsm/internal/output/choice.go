package output

import (
	"errors"
	"slices"
	"strings"

	"pagemesh/cmd/dsm/internal/nearest"
)

// Formats of lists. Bench is Go benchmark text, for benchstat.
const (
	Table = "table"
	JSON  = "json"
	CSV   = "csv"
	Bench = "bench"
)

// Choice is one of several words, that a flag sets. It implements pflag.Value.
type Choice struct {
	Value string
	Of    []string
}

// Choose returns the choice among words, of which the first is the default.
func Choose(words ...string) *Choice { return &Choice{words[0], words} }

// String implements pflag.Value.
func (c *Choice) String() string { return c.Value }

// Type implements pflag.Value.
func (c *Choice) Type() string { return strings.Join(c.Of, "|") }

// Set implements pflag.Value.
func (c *Choice) Set(word string) error {
	if !slices.Contains(c.Of, word) {
		return errors.New(nearest.Suggest(word, c.Of, "", "choose "+strings.Join(c.Of, ", ")))
	}
	c.Value = word
	return nil
}
