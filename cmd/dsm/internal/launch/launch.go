package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// Spec says what to run.
type Spec struct {
	// Copies is how many copies to start, at least 1. Their ranks count from 0.
	Copies int
	// Command is the program, looked up in the path, and its arguments.
	Command []string
	// Env returns the whole environment of a copy, as in exec.Cmd. Default: this process's own.
	Env func(rank int) []string
	// Files returns open files that a copy inherits as descriptors 3 and up. Default: none.
	Files func(rank int) []*os.File
	// Started is called when all copies run. Default: nothing is called.
	Started func()
	// Stdin is what rank 0 reads. Default, and for every other rank: nothing.
	Stdin *os.File
	// Stdout and Stderr receive the copies' output, each call of Write one whole line that starts with
	// the copy's rank, "[2] ". Run calls each of them from one goroutine at a time.
	Stdout, Stderr io.Writer
	// Signals are passed on to every copy; a second one kills them. Default: none.
	Signals <-chan os.Signal
	// Grace is how long a copy has between being asked to end and being killed. Default 3 s.
	Grace time.Duration
	// Linger is how long the other copies may go on after one failed, to report what they saw of it.
	// Default 0: they are asked to end at once.
	Linger time.Duration
	// Keeper is the command, with its arguments, of a program that calls Keep on its standard input.
	// Default: no keeper.
	Keeper []string
}

// Run starts the copies and returns after the last of them is over: nil if all ended with status 0,
// an *ExitError for the copy that failed, the cause of ctx if that ended them, or an error that says
// why one could not be started.
func Run(ctx context.Context, s Spec) error {
	if s.Grace == 0 {
		s.Grace = 3 * time.Second
	}
	path, err := Find(s.Command[0])
	if err != nil {
		return err
	}
	k, err := StartKeeper(s.Keeper)
	if err != nil {
		return err
	}
	defer k.Close()
	g := newGroup(s, k)
	release := make(chan struct{})
	defer close(release)
	onThread(release, func() { err = g.start(path) })
	if err != nil {
		g.end()
		g.wait()
		return err
	}
	if s.Started != nil {
		s.Started()
	}
	return g.run(ctx)
}

// Find returns the path of a program, or why it can't be started.
func Find(program string) (path string, err error) {
	if path, err = exec.LookPath(program); err != nil {
		return "", fmt.Errorf("can't start %s: %w", program, reason(err))
	}
	return path, nil
}

// reason returns what is wrong without the name of the program, which LookPath's errors repeat.
func reason(err error) error {
	for e := errors.Unwrap(err); e != nil; e = errors.Unwrap(e) {
		err = e
	}
	return err
}

// onThread calls f on an operating system thread that lives until release is closed, and returns
// after f. Linux takes the death of the thread that started a process for the death of its parent.
func onThread(release <-chan struct{}, f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f()
		close(done)
		<-release
	}()
	<-done
}

// group is the copies of one Run. Only Run's goroutine uses it.
type group struct {
	spec   Spec
	keeper *Keeper
	stdout *lineSink
	stderr *lineSink
	copies []*process
	events chan event

	left    int              // copies that are not over
	cause   *ExitError       // why the copies are ended; nil while none has failed
	passed  int              // signals passed on
	ending  bool             // the copies were asked to end
	lingers <-chan time.Time // when to ask; nil unless a copy failed
	kills   <-chan time.Time // when to kill; nil unless ending
}

// event is what a process reports: first how its program ended, then that it is over.
type event struct {
	failure *ExitError // of the program, nil if it ended with status 0
	over    bool
}

func newGroup(s Spec, k *Keeper) *group {
	return &group{
		spec:   s,
		keeper: k,
		stdout: &lineSink{w: s.Stdout},
		stderr: &lineSink{w: s.Stderr},
		events: make(chan event, 2*s.Copies),
	}
}

// start starts the copies in the order of their ranks, up to the first that can't be.
func (g *group) start(path string) error {
	for rank := range g.spec.Copies {
		p, err := g.startCopy(path, rank)
		if err != nil {
			return fmt.Errorf("start rank %d: %w", rank, err)
		}
		g.copies = append(g.copies, p)
		g.left++
		go p.watch(g.spec.Grace, g.events)
	}
	return nil
}

// run waits for the copies and ends them when there is a reason to.
func (g *group) run(ctx context.Context) error {
	done := ctx.Done()
	for g.left > 0 {
		select {
		case e := <-g.events:
			g.handle(e)
		case s := <-g.spec.Signals:
			g.pass(s)
		case <-done:
			done = nil
			g.end()
		case <-g.lingers:
			g.end()
		case <-g.kills:
			g.kill()
		}
	}
	switch {
	case g.cause != nil && ctx.Err() == nil:
		return g.cause
	default:
		return context.Cause(ctx)
	}
}

// wait waits for the copies, which were asked to end.
func (g *group) wait() {
	for g.left > 0 {
		select {
		case e := <-g.events:
			g.handle(e)
		case <-g.kills:
			g.kill()
		}
	}
}

func (g *group) handle(e event) {
	if e.over {
		g.left--
		return
	}
	failure := e.failure
	if failure == nil {
		return
	}
	if g.cause == nil || (g.cause.Signal == 0 && failure.Signal != 0 && !failure.Passed) {
		g.cause = failure
	}
	if g.ending || g.lingers != nil {
		return
	}
	if g.spec.Linger == 0 || failure.Passed {
		g.end()
		return
	}
	g.lingers = time.After(g.spec.Linger)
}

// pass hands a signal on to all copies, and kills them if it is not the first.
func (g *group) pass(s os.Signal) {
	g.passed++
	if g.passed > 1 {
		g.kill()
		return
	}
	for _, p := range g.copies {
		p.signal(s)
	}
}

// end asks all copies to end; those that have not after the grace are killed.
func (g *group) end() {
	if g.ending {
		return
	}
	g.ending, g.lingers = true, nil
	g.kills = time.After(g.spec.Grace)
	for _, p := range g.copies {
		p.signal(terminate)
	}
}

func (g *group) kill() {
	g.ending, g.kills, g.lingers = true, nil, nil
	for _, p := range g.copies {
		p.signal(os.Kill)
	}
}
