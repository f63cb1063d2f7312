package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Sequences that a terminal obeys.
const (
	clearScreen = "\x1b[H\x1b[2J" // to the upper left corner, and clear what follows
	clearLine   = "\r\x1b[K"
)

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// hasColour reports whether whoever reads w sees colour and wants it (https://no-color.org).
func hasColour(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }
