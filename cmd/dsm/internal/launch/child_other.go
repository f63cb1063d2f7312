//go:build !unix

package launch

import (
	"errors"
	"os"
	"os/exec"
)

// Child is for nodes that serve programs, which there are on Linux only.
func Child(*exec.Cmd, func()) error { return errors.ErrUnsupported }

// EndLike is never called.
func EndLike(*exec.ExitError) {}

// Inherited returns nil: descriptors are not inherited here.
func Inherited(int, string) *os.File { return nil }
