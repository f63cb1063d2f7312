package launch

import "syscall"

// copyAttributes returns the attributes of a copy: the leader of a group of its own, which the system
// kills when the thread that started it ends.
func copyAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// childAttributes returns the attributes of a copy's child: in the same group, and killed likewise.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
