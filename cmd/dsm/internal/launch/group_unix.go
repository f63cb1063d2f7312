//go:build unix

package launch

import (
	"errors"
	"os"
	"syscall"
)

// signalGroup sends s to every process of the group that p leads or led.
func signalGroup(p *os.Process, s os.Signal) error {
	return signalGroupID(p.Pid, s.(syscall.Signal))
}

func signalGroupID(id int, s syscall.Signal) error {
	return os.NewSyscallError("kill", syscall.Kill(-id, s))
}

// groupExists reports whether the group that p leads or led still has a process.
func groupExists(p *os.Process) bool {
	return !errors.Is(syscall.Kill(-p.Pid, 0), syscall.ESRCH)
}

// killGroup kills every process of the group with that id.
func killGroup(id int) error { return signalGroupID(id, syscall.SIGKILL) }

// detached returns the attributes of a process that signals from the terminal don't reach.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
