package main

import (
	"strings"
	"testing"
)

// screen returns what a terminal shows after it was sent text that holds no other sequences than
// clearLine.
func screen(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		parts := strings.Split(line, clearLine)
		lines = append(lines, parts[len(parts)-1])
	}
	return strings.Join(lines, "\n")
}

func TestProgressStaysBelow(t *testing.T) {
	var b lockedBuffer
	p := &progress{w: &b, live: true, quit: make(chan struct{})}
	step := func(what, want string) {
		t.Helper()
		if got := screen(b.String()); got != want {
			t.Errorf("%s: the terminal shows\n%q, want\n%q", what, got, want)
		}
	}
	p.Write([]byte("[0] early\n"))
	step("nothing to show yet", "[0] early\n")
	p.show("run 1 of 2: ep")
	step("shown", "[0] early\nrun 1 of 2: ep (0s)")
	p.Write([]byte("[1] words\n"))
	step("written", "[0] early\n[1] words\nrun 1 of 2: ep (0s)")
	p.show("run 2 of 2: cg")
	step("shown anew", "[0] early\n[1] words\nrun 2 of 2: cg (0s)")
	p.stop()
	step("stopped", "[0] early\n[1] words\n")
	p.Write([]byte("late\n"))
	p.show("more")
	step("after the end", "[0] early\n[1] words\nlate\n")
}

func TestNoProgressWithoutTerminal(t *testing.T) {
	var b lockedBuffer
	p := newProgress(&b)
	p.show("run 1 of 2: ep")
	p.Write([]byte("words\n"))
	p.stop()
	if b.String() != "words\n" {
		t.Errorf("%q", b.String())
	}
}
