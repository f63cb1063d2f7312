package launch

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// keeper is the launcher's end of the process that outlives it. A nil keeper does nothing.
type keeper struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startKeeper(command []string) (*keeper, error) {
	if len(command) == 0 {
		return nil, nil
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = detached()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &keeper{cmd: cmd, pipe: pipe}, nil
}

// add tells the keeper of a group that must not outlive the launcher.
func (k *keeper) add(id int) { k.tell('+', id) }

// remove tells the keeper that the group is gone.
func (k *keeper) remove(id int) { k.tell('-', id) }

// tell drops the error of a keeper that somebody has ended: the copies can do without.
func (k *keeper) tell(what byte, id int) {
	if k != nil {
		_, _ = fmt.Fprintf(k.pipe, "%c%d\n", what, id)
	}
}

func (k *keeper) close() {
	if k != nil {
		_ = k.pipe.Close()
		_ = k.cmd.Wait()
	}
}

// Keep is the keeper's side: it reads what the launcher tells of its groups and, when the launcher is
// gone, kills every group that is left. It ignores the signals that ask a process to end, because
// they are often sent to a launcher's whole family.
func Keep(launcher io.Reader) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	groups := map[int]bool{}
	for lines := bufio.NewScanner(launcher); lines.Scan(); {
		line := lines.Text()
		id, err := strconv.Atoi(line[min(1, len(line)):])
		if err != nil || id <= 1 {
			continue
		}
		if line[0] == '+' {
			groups[id] = true
		} else {
			delete(groups, id)
		}
	}
	for id := range groups {
		// The group may have ended by itself in the meantime.
		_ = killGroup(id)
	}
}
