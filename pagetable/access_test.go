package pagetable_test

import (
	"testing"

	"pagemesh/pagetable"
)

func TestAccessIsOrdered(t *testing.T) {
	const none, read, write = pagetable.NoAccess, pagetable.ReadAccess, pagetable.WriteAccess
	tests := []struct {
		have, want pagetable.Access
		allowed    bool
	}{
		{none, none, true}, {none, read, false}, {none, write, false},
		{read, none, true}, {read, read, true}, {read, write, false},
		{write, none, true}, {write, read, true}, {write, write, true},
	}
	for _, test := range tests {
		if got := test.have.Allows(test.want); got != test.allowed {
			t.Errorf("%v.Allows(%v) = %v", test.have, test.want, got)
		}
	}
}

func TestAccessValid(t *testing.T) {
	for b := range 256 {
		if got, want := pagetable.Access(b).Valid(), b <= 2; got != want {
			t.Errorf("Access(%d).Valid() = %v", b, got)
		}
	}
}
