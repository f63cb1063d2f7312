package output

import (
	"fmt"
	"slices"
	"strings"

	"pagemesh/cmd/dsm/internal/nearest"
)

// Format is a way to print.
type Format string

// The formats. Bench is Go benchmark text, for benchstat.
const (
	Table Format = "table"
	JSON  Format = "json"
	CSV   Format = "csv"
	Bench Format = "bench"
)

// Choice is a Format that a flag sets, one of several. It implements pflag.Value.
type Choice struct {
	Format
	of []Format
}

// Choose returns the choice among formats, of which the first is the default.
func Choose(formats ...Format) *Choice { return &Choice{formats[0], formats} }

// Names returns what Set accepts.
func (c *Choice) Names() []string {
	var names []string
	for _, f := range c.of {
		names = append(names, string(f))
	}
	return names
}

// String implements pflag.Value.
func (c *Choice) String() string { return string(c.Format) }

// Type implements pflag.Value.
func (c *Choice) Type() string { return strings.Join(c.Names(), "|") }

// Set implements pflag.Value.
func (c *Choice) Set(s string) error {
	if !slices.Contains(c.of, Format(s)) {
		return fmt.Errorf("%s", nearest.Suggest(s, c.Names(), "", "want "+strings.Join(c.Names(), ", ")))
	}
	c.Format = Format(s)
	return nil
}
