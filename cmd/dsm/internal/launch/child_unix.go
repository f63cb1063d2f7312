//go:build unix

package launch

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Child runs a program for a copy that Run has started, in the copy's own group and ended with it, and
// returns when the program has ended: nil, or the *exec.ExitError. Signals that ask to end are the
// program's affair meanwhile. started is called when the program runs.
func Child(cmd *exec.Cmd, started func()) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Reset(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	cmd.SysProcAttr = childAttributes()
	release := make(chan struct{})
	defer close(release)
	var err error
	onThread(release, func() { err = cmd.Start() })
	if err != nil {
		return fmt.Errorf("can't start %s: %w", cmd.Path, reason(err))
	}
	started()
	return cmd.Wait()
}

// EndLike ends this process as another one has ended: by the same signal, or with the same status.
func EndLike(e *exec.ExitError) {
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		signal.Reset(ws.Signal())
		_ = syscall.Kill(os.Getpid(), ws.Signal()) // if it can't be sent, the status says the same
		os.Exit(128 + int(ws.Signal()))
	}
	os.Exit(e.ExitCode())
}

// Inherited returns the open file that this process has inherited as descriptor fd. What this process
// starts does not inherit it in turn.
func Inherited(fd int, name string) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}
