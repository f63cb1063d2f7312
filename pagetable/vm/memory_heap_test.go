//go:build race || !(linux || darwin || dragonfly || netbsd || openbsd)

package vm_test

import (
	"testing"

	"pagemesh/pagetable/vm"
)

func TestHeapRefusesATerabyte(t *testing.T) {
	_, err := vm.Reserve(1 << 40)
	wantError(t, err, "build without -race")
}
