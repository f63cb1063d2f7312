//go:build !linux

package launch

import "syscall"

// copyAttributes returns the attributes of a copy: the leader of a group of its own, if there are
// groups.
func copyAttributes() *syscall.SysProcAttr { return detached() }

// childAttributes returns the attributes of a copy's child: in the same group.
func childAttributes() *syscall.SysProcAttr { return nil }
