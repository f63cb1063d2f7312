package launch

import (
	"bufio"
	"fmt"
	"io"
	"maps"
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

const (
	keptGroup   = 'g' // a process group, killed at once
	keptProcess = 'p' // a process, killed after processGrace
)

// processGrace is how long a process may take to notice by itself that the other one is gone.
const processGrace = time.Second

// AddProcess tells the keeper of a process that must not outlive this one by more than a second.
func (k *Keeper) AddProcess(id int) { k.tell('+', keptProcess, id) }

// RemoveProcess tells the keeper that the process goes its own way.
func (k *Keeper) RemoveProcess(id int) { k.tell('-', keptProcess, id) }

func (k *Keeper) addGroup(id int)    { k.tell('+', keptGroup, id) }
func (k *Keeper) removeGroup(id int) { k.tell('-', keptGroup, id) }

// tell drops the error of a keeper that somebody has ended: the others can do without.
func (k *Keeper) tell(what, kind rune, id int) {
	if k != nil {
		_, _ = fmt.Fprintf(k.pipe, "%c%c%d\n", what, kind, id)
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
// lastWord is a line that AddProcess's processes find on their standard error when they are killed, since
// they can't say anything themselves any more.
func Keep(other io.Reader, lastWord string) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	groups, processes := map[int]bool{}, map[int]*os.Process{}
	for lines := bufio.NewScanner(other); lines.Scan(); {
		var what, kind rune
		var id int
		if _, err := fmt.Sscanf(lines.Text(), "%c%c%d", &what, &kind, &id); err != nil || id <= 1 {
			continue
		}
		switch {
		case kind == keptGroup && what == '+':
			groups[id] = true
		case kind == keptGroup:
			delete(groups, id)
		case what == '+':
			// Found now, so that it is this process that is killed and not a later one with its id.
			if p, err := os.FindProcess(id); err == nil {
				processes[id] = p
			}
		case processes[id] != nil:
			_ = processes[id].Release()
			delete(processes, id)
		}
	}
	for id := range groups {
		_ = killGroup(id) // it may have ended by itself in the meantime
	}
	endProcesses(processes, lastWord)
}

// endProcesses kills the processes that have not ended by themselves after processGrace.
func endProcesses(processes map[int]*os.Process, lastWord string) {
	for until := time.Now().Add(processGrace); len(processes) > 0 && time.Now().Before(until); time.Sleep(pollInterval) {
		maps.DeleteFunc(processes, func(_ int, p *os.Process) bool { return p.Signal(syscall.Signal(0)) != nil })
	}
	for id, p := range processes {
		tell(id, lastWord)
		_ = p.Kill() // it may have ended by itself in the meantime
	}
}

// tell writes a line to the standard error of a process, where the system allows that.
func tell(id int, line string) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/2", id), os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_ = f.SetWriteDeadline(time.Now().Add(pollInterval)) // a pipe may be full
	_, _ = f.WriteString(line)
}
