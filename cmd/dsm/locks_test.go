package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pagemesh/dsm"
)

func TestLockNotes(t *testing.T) {
	call := dsm.LockCall{Node: 2, Process: 4711, Goroutine: 7, Line: "/src/main.go:41"}
	l := dsm.LockStatus{Name: "m", Kind: "rwmutex", Deadlock: "deadlock: ...", Users: []dsm.LockUser{
		{LockCall: call},
		{LockCall: call, Reads: true},
		{LockCall: dsm.LockCall{Node: 1, Line: "an unknown line"}, Waits: true, Waited: 1500 * int64(time.Millisecond)},
		{LockCall: call, Waits: true, Reads: true, Waited: int64(time.Minute)},
	}}
	want := []string{
		"goroutine 7 of process 4711 on n2 has it since /src/main.go:41",
		"goroutine 7 of process 4711 on n2 reads it since /src/main.go:41",
		"a goroutine on n1 waits for 1.5s at an unknown line",
		"goroutine 7 of process 4711 on n2 waits for 1m0s to read it at /src/main.go:41",
		"deadlock: ...",
	}
	if got := lockNotes(l); !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if showState(l) != "deadlock" || !isInTrouble(l) {
		t.Errorf("its state is %q", showState(l))
	}
	l.Users, l.Deadlock = slices.Repeat(l.Users, 5), ""
	if got := lockNotes(l); len(got) != maxUsers+1 || got[maxUsers] != fmt.Sprintf("and %d more", 20-maxUsers) {
		t.Errorf("of many: %q", got)
	}
}
