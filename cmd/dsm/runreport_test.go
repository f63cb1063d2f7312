package main

import (
	"os"
	"strings"
	"testing"
)

// TestRunReport: the report comes last and on standard error, whole if nodes outlive their programs, and with the
// name of what the programs have shared.
func TestRunReport(t *testing.T) {
	eachAccess(t, func(t *testing.T, access string) {
		u := newUser(t)
		p := u.start("run", "-n", "2", access, "--report", "--", memberFile, "wait")
		awaitReady(p, 2)
		p.signal(os.Interrupt)
		o := p.wait()
		if n := strings.Count(o.stderr, "of the time was lost"); n > 1 || n == 0 && !strings.Contains(o.stderr, "before they could be reported on") {
			t.Errorf("standard error: %s", o.stderr)
		}
		if access == "--access=mapped" {
			o = u.run("run", "-n", "2", access, "--report", "--", memberFile, "sum")
			if o.status != 0 || strings.Count(o.stderr, "of the time was lost") != 1 || strings.Contains(o.stdout, "lost") {
				t.Errorf("%+v", o)
			}
		}
	})
}
