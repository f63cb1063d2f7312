package main

import (
	"os"
	"strings"
	"testing"

	"pagemesh/dsm"
)

func TestRaces(t *testing.T) {
	for _, access := range []string{"embedded", "mapped"} {
		t.Run(access, func(t *testing.T) {
			u := newUser(t)
			p := u.start("run", "-n", "2", "--access", access, "--detect-races", "--", memberFile, "race")
			awaitReady(p, 2)
			var races []dsm.Race
			u.decode(&races, "races")
			const line = "cmd/dsm/testdata/member/race.go:"
			if len(races) != 1 || races[0].Region != "workers" || races[0].Offset != 17*16+8 || races[0].Field != "[]worker[17].misses" ||
				!strings.Contains(races[0].First.Line, line) || races[0].First.Line != races[0].Second.Line ||
				races[0].First.Function != "main.race" {
				t.Errorf("races %+v", races)
			}
			for _, format := range []string{"table", "csv"} {
				if out := u.must("races", "-o", format); !strings.Contains(out, "[]worker[17].misses") || !strings.Contains(out, line) {
					t.Errorf("dsm races -o %s:\n%s", format, out)
				}
			}
			p.signal(os.Interrupt)
			if o := p.wait(); !strings.Contains(o.stderr, "data race") || !strings.Contains(o.stderr, "[]worker[17].misses") {
				t.Errorf("the log says nothing of it:\n%s", o.stderr)
			}
		})
	}
}

// TestRacesOff: a space that doesn't look for races says how to have it do so.
func TestRacesOff(t *testing.T) {
	u := newUser(t)
	u.node()
	if o := u.run("races"); o.status == 0 || !strings.Contains(o.stderr, "dsm run --detect-races") {
		t.Errorf("status %d: %s", o.status, o.stderr)
	}
	u = newUser(t)
	u.node("--detect-races")
	if out := u.must("races"); out != "no data race was seen\n" {
		t.Errorf("dsm races of a new space: %q", out)
	}
}
