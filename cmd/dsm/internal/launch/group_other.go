//go:build !unix

package launch

import (
	"os"
	"syscall"
)

// signalGroup ends p: without process groups and signals that is all that can be done.
func signalGroup(p *os.Process, _ os.Signal) error { return p.Kill() }

// groupExists reports false: a program that has ended leaves nothing behind that is known of.
func groupExists(*os.Process) bool { return false }

// killGroup kills the process with that id.
func killGroup(id int) error {
	p, err := os.FindProcess(id)
	if err != nil {
		return err
	}
	return p.Kill()
}

// detached returns the attributes of a process that signals from the terminal don't reach.
func detached() *syscall.SysProcAttr { return nil }
