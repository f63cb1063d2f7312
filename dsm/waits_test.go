package dsm

import (
	"testing"
	"time"
)

// TestWaitsDivideTime: while two wait, each has half of the time, and so has who wakes late beside one that waits.
func TestWaitsDivideTime(t *testing.T) {
	var w waits
	start := time.Now()
	at := func(passed time.Duration) time.Time { return start.Add(passed) }
	first := w.begin(at(0))
	second := w.begin(at(10))
	if got := w.end(at(30), second); got != 10 {
		t.Errorf("20 of two are %d for one, want 10", got)
	}
	if got := w.part(20); got != 10 {
		t.Errorf("20 beside one are %d, want 10", got)
	}
	if got := w.end(at(30), first); got != 20 {
		t.Errorf("10 alone and 20 of two are %d, want 20", got)
	}
	if got := w.part(20); got != 20 {
		t.Errorf("20 alone are %d, want 20", got)
	}
}
