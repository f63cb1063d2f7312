package launch

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// Keeper is this process's end of a process that outlives it, to kill what must not. A nil Keeper does
// nothing.
type Keeper struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// StartKeeper starts a keeper: command, with its arguments, is a program that calls Keep on its standard
// input. An empty command starts none.
func StartKeeper(command []string) (*Keeper, error) {
	if len(command) == 0 {
		return nil, nil
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = detached()
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	return &Keeper{cmd: cmd, pipe: pipe}, nil
}

// kept is what a keeper kills.
type kept struct {
	kind rune // one of the next constants
	id   int
}

const (
	keptGroup   = 'g' // a process group, at once
	keptProcess = 'p' // a process, after processGrace
)

// processGrace is how long a process may take to notice by itself that the other one is gone.
const processGrace = time.Second

// AddProcess tells the keeper of a process that must not outlive this one by more than a second.
func (k *Keeper) AddProcess(id int) { k.tell('+', kept{keptProcess, id}) }

// RemoveProcess tells the keeper that the process goes its own way.
func (k *Keeper) RemoveProcess(id int) { k.tell('-', kept{keptProcess, id}) }

func (k *Keeper) addGroup(id int)    { k.tell('+', kept{keptGroup, id}) }
func (k *Keeper) removeGroup(id int) { k.tell('-', kept{keptGroup, id}) }

// tell drops the error of a keeper that somebody has ended: the others can do without.
func (k *Keeper) tell(what rune, it kept) {
	if k != nil {
		_, _ = fmt.Fprintf(k.pipe, "%c%c%d\n", what, it.kind, it.id)
	}
}

// Close ends the keeper, which first kills what has not been removed.
func (k *Keeper) Close() {
	if k != nil {
		_ = k.pipe.Close()
		_ = k.cmd.Wait()
	}
}

// Keep is the keeper's side: it reads what the other process tells and, when that is gone, kills what is
// left. It ignores the signals that ask a process to end, because they are often sent to a whole family.
func Keep(other io.Reader) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	left := map[kept]bool{}
	for lines := bufio.NewScanner(other); lines.Scan(); {
		var what rune
		var it kept
		if _, err := fmt.Sscanf(lines.Text(), "%c%c%d", &what, &it.kind, &it.id); err != nil || it.id <= 1 {
			continue
		}
		if what == '+' {
			left[it] = true
		} else {
			delete(left, it)
		}
	}
	processes := 0
	for it := range left {
		if it.kind == keptGroup {
			_ = killGroup(it.id) // it may have ended by itself in the meantime
		} else {
			processes++
		}
	}
	if processes > 0 {
		time.Sleep(processGrace)
	}
	for it := range left {
		if it.kind == keptProcess {
			killProcess(it.id)
		}
	}
}

// killProcess kills a process that is not ours to wait for.
func killProcess(id int) {
	if p, err := os.FindProcess(id); err == nil {
		_ = p.Kill() // it may have ended by itself in the meantime
		_ = p.Release()
	}
}
