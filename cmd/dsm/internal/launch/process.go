package launch

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// terminate is the signal that asks a copy to end.
const terminate = syscall.SIGTERM

const (
	// pollInterval is how often a process group is asked whether it still exists. There is no event.
	pollInterval = 5 * time.Millisecond
	// lastWait bounds the wait for output that a process which left its group holds open.
	lastWait = time.Second
)

// process is one copy: the program's process, its group and its output.
type process struct {
	rank   int
	cmd    *exec.Cmd
	output *output
	keeper *Keeper

	mu   sync.Mutex
	sent map[os.Signal]bool // signals sent from here
	over bool               // nothing is left of the group: its id may belong to somebody else
}

// startCopy starts the copy of a rank.
func (g *group) startCopy(path string, rank int) (*process, error) {
	out, err := newOutput()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: g.spec.Command, Stdout: out.stdout.w, Stderr: out.stderr.w}
	if g.spec.Env != nil {
		cmd.Env = g.spec.Env(rank)
	}
	if g.spec.Files != nil {
		cmd.ExtraFiles = g.spec.Files(rank)
	}
	if rank == 0 && g.spec.Stdin != nil {
		cmd.Stdin = g.spec.Stdin
	}
	cmd.SysProcAttr = copyAttributes()
	err = cmd.Start()
	out.closeWriters()
	if err != nil {
		out.closeReaders()
		return nil, err
	}
	g.keeper.addGroup(cmd.Process.Pid)
	out.read(rank, g.stdout, g.stderr)
	return &process{rank: rank, cmd: cmd, output: out, keeper: g.keeper, sent: map[os.Signal]bool{}}, nil
}

// watch follows the copy to its end and reports both events. A program that could not be waited for
// counts as failed: its ProcessState is nil.
func (p *process) watch(grace time.Duration, events chan<- event) {
	_ = p.cmd.Wait()
	// Before the rest of the group is sent signals, which were not the program's end.
	events <- event{failure: p.failure()}
	p.endRest(grace)
	p.output.wait(lastWait)
	events <- event{over: true}
}

// failure returns how the program failed, nil if it ended with status 0.
// Preconditions: the program has ended.
func (p *process) failure() *ExitError {
	state := p.cmd.ProcessState
	if state == nil {
		return &ExitError{Rank: p.rank, Status: 1}
	}
	if state.Success() {
		return nil
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		sig := ws.Signal()
		p.mu.Lock()
		defer p.mu.Unlock()
		return &ExitError{Rank: p.rank, Status: 128 + int(sig), Signal: sig, Passed: p.sent[sig]}
	}
	return &ExitError{Rank: p.rank, Status: state.ExitCode()}
}

// signal sends s to the copy's group, or does nothing if the copy is over.
func (p *process) signal(s os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.sent[s] = true
	// A group that has just ended is what was wanted.
	_ = signalGroup(p.cmd.Process, s)
}

// endRest ends what the program left behind in its group: it asks, and then kills what is left. The
// wait in between is over when nobody holds the copy's output any more, because a group of which only
// uncollected process records are left still exists for as long as nobody collects them.
// Preconditions: the program has ended.
func (p *process) endRest(grace time.Duration) {
	defer p.finish()
	if !groupExists(p.cmd.Process) {
		return
	}
	if !p.asked() {
		p.signal(terminate)
	}
	for timeout := time.After(grace); groupExists(p.cmd.Process); {
		select {
		case <-time.After(pollInterval):
			continue
		case <-p.output.ended:
		case <-timeout:
		}
		p.signal(os.Kill)
		return
	}
}

// asked reports whether the copy has been asked to end. Asking twice means "at once" to some.
func (p *process) asked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent[terminate] || p.sent[os.Kill]
}

func (p *process) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.keeper.removeGroup(p.cmd.Process.Pid)
}
