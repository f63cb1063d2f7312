package dsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pagemesh/coherence"
	"pagemesh/locks"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// program is what a node keeps of one attached program.
type program struct {
	s       *node
	conn    *attachConn
	peer    vm.Peer
	name    string // what the program calls itself
	trap    *vm.Trap
	stderr  *os.File // its standard error; nil if there is none
	pagers  sync.WaitGroup
	streams streams
	echo    echo
	words   *vm.Words // of its loans
	// sampler is nil until the program's symbols are read, and if they can't be.
	sampler atomic.Pointer[sampler]
	ending  sync.Once
	asked   sync.WaitGroup // questions that are being answered

	mu      sync.Mutex                         // guards what follows
	waits   map[uint64]context.CancelCauseFunc // by question
	mutexes map[uint64]*programMutex           // by the Mutex value's number in the program
	pools   map[uint64]*programPool            // by the number of the RWMutex or Semaphore value there
	elected map[uint64]*programElection        // by the number of the Election or Once value there
	listen  map[uint64]*programListener        // by the listener's number in the program
	loans   map[locks.ID]int                   // indexes of loans
	holds   map[heldView]int                   // views that the program holds, and how often
}

type heldView struct {
	region pagetable.RegionID
	h      hold
}

const (
	// greetTime bounds the wait for a program's first question.
	greetTime = 10 * time.Second
	// maxOpen bounds the questions of one program that wait for their answers. Each takes a goroutine here.
	maxOpen = 1 << 16
)

func newProgram(s *node, conn *net.UnixConn) *program {
	return &program{
		s: s, conn: newAttachConn(conn, maxQuestion),
		waits: map[uint64]context.CancelCauseFunc{}, mutexes: map[uint64]*programMutex{},
		pools: map[uint64]*programPool{}, elected: map[uint64]*programElection{},
		listen: map[uint64]*programListener{}, loans: map[locks.ID]int{}, holds: map[heldView]int{},
	}
}

// greet finds out who the program is, reads its first question and takes its trap.
func (p *program) greet() (err error) {
	if p.peer, err = vm.PeerOf(p.conn.conn); err != nil {
		return err
	}
	if p.peer.UID != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d, this node to user %d", p.peer.UID, os.Geteuid())
	}
	if err := p.conn.conn.SetReadDeadline(time.Now().Add(greetTime)); err != nil {
		return err
	}
	frame, err := p.conn.next()
	if err != nil {
		return err
	}
	if err := p.conn.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	q, err := decodeQuestion(frame)
	switch {
	case err != nil:
		return err
	case q.kind != askAttach:
		return fmt.Errorf("its first question is of kind %d, not %d", q.kind, askAttach)
	case q.arg != attachVersion:
		err := fmt.Errorf("program and node speak versions %d and %d of their protocol: build both from the same release",
			q.arg, attachVersion)
		p.answer(q.id, 0, nil, err)
		return err
	}
	fd, err := p.conn.takeDescriptor()
	if err != nil {
		return err
	}
	if fd, err := p.conn.takeDescriptor(); err == nil {
		p.stderr = os.NewFile(uintptr(fd), "standard error")
	}
	p.name = string(q.data)
	if p.trap, err = vm.NewTrap(fd); err != nil {
		return err
	}
	if p.words, err = newLoans("loans"); err != nil {
		return errors.Join(err, p.trap.Close())
	}
	return nil
}

// closeStderr lets go of the program's standard error, for whose end others may wait.
func (p *program) closeStderr() {
	if p.stderr != nil {
		_ = p.stderr.Close()
	}
}

// greeted tells the program that it is attached, and to whom, and sends the memory of its loans.
func (p *program) greeted() {
	b, err := marshal(greeting{Node: p.s.self, Addr: p.s.ep.Addr(), Rank: p.s.cfg.Rank})
	a := reply{id: 1, data: b}
	if err == nil {
		err = p.conn.write(a.frame(), p.words.Descriptor())
	}
	if err != nil {
		p.end(err)
	}
}

// greeting is the answer to askAttach, whose id is 1.
type greeting struct {
	Node pagetable.NodeID
	Addr string
	Rank int
}

// startSampling reads the program's symbols, which takes a while.
func (p *program) startSampling() {
	sm, err := newSampler(&p.s.symbols, p.peer.PID)
	switch {
	case err == nil:
		sm.always = p.s.races.on
		p.sampler.Store(sm)
	case errors.Is(err, fs.ErrNotExist): // it has ended already
	default:
		p.s.log.Warn("the lines of a program can't be told", "pid", p.peer.PID, "error", err)
	}
}

// announce tells whoever wants to know that the program has come or gone.
func (p *program) announce(attached bool) {
	what := "program detached"
	if attached {
		what = "program attached"
	}
	p.s.log.Info(what, "pid", p.peer.PID, "program", p.name)
	if p.s.cfg.OnProgram != nil {
		p.s.cfg.OnProgram(p.peer.PID, attached)
	}
}

// serve answers questions until the program is gone.
func (p *program) serve() error {
	for {
		frame, err := p.conn.next()
		if err != nil {
			return err
		}
		q, err := decodeQuestion(frame)
		if err != nil {
			return err
		}
		q.data = bytes.Clone(q.data)
		if err := p.question(q); err != nil {
			return err
		}
	}
}

// question answers q, in a goroutine of its own if it may have to wait. An error says that no program of
// this version asks that.
func (p *program) question(q question) error {
	switch q.kind {
	case askAttach:
		return errors.New("a program that is attached asks to attach")
	case askCancel:
		p.cancel(q.arg)
		return nil
	case askUnpin:
		p.unpin(q)
		return nil
	case askUnlock:
		p.s.intervals.before(func(number uint32) { p.answerReleased(q, number, p.unlock(q)) })
		return nil
	case askPut:
		p.s.intervals.before(func(number uint32) { p.answerReleased(q, number, p.put(q)) })
		return nil
	case askResign:
		p.s.intervals.before(func(number uint32) { p.answerReleased(q, number, p.resign(q)) })
		return nil
	case askGiveBack:
		p.s.intervals.before(func(uint32) {
			p.s.sync.givenBack(locks.MutexID(string(q.data)), p.words) // or the loan has ended already
		})
		return nil
	}
	ctx, err := p.open(q.id)
	if ctx == nil {
		return err
	}
	switch q.kind {
	case askLock, askTake, askWait, askAdd, askWatch, askCampaign, askObserve, askEnlist, askListen, askSignal:
		p.waitSync(ctx, q)
		return nil
	}
	p.asked.Go(func() {
		defer p.cancel(q.id)
		switch q.kind {
		case askRegion:
			p.region(ctx, q)
		case askEcho:
			p.openEcho(q)
		case askLeave:
			p.leave(ctx, q)
		default:
			value, data, err := p.wait(ctx, q)
			p.answer(q.id, value, data, err)
		}
	})
	return nil
}

// open returns the context of a question that may have to wait, or nil if the program has too many, which
// is its answer then.
func (p *program) open(id uint64) (context.Context, error) {
	p.mu.Lock()
	if p.waits[id] != nil {
		p.mu.Unlock()
		return nil, fmt.Errorf("question %d is asked again before it is answered", id)
	}
	if len(p.waits) >= maxOpen {
		p.mu.Unlock()
		p.answer(id, 0, nil, fmt.Errorf("the program waits for %d answers of its node, more are not allowed", maxOpen))
		return nil, nil
	}
	defer p.mu.Unlock()
	ctx, cancel := context.WithCancelCause(context.Background())
	p.waits[id] = cancel
	return ctx, nil
}

// wait answers the questions that may have to wait for other nodes.
func (p *program) wait(ctx context.Context, q question) (value uint64, data []byte, err error) {
	switch q.kind {
	case askInspect:
		data, err = p.s.inspect(ctx, controlKind(q.arg), q.data)
	case askTouch:
		err = p.touch(ctx, q)
	case askPin:
		err = p.pin(ctx, q)
	case askDeclare:
		_, err = p.s.propose(ctx, layoutChange(q.region, string(q.data)))
	case askTyped:
		err = p.typed(q)
	case askEchoEnd:
		err = p.echo.close()
	case askHome:
		value, err = p.home(q)
	case askCause:
		err = p.cause(q)
	default:
		err = fmt.Errorf("question of kind %d is unknown", q.kind)
	}
	return value, data, err
}

// cancel gives up a question.
func (p *program) cancel(id uint64) {
	p.mu.Lock()
	cancel := p.waits[id]
	delete(p.waits, id)
	p.mu.Unlock()
	if cancel != nil {
		cancel(context.Canceled)
	}
}

func (p *program) answer(id, value uint64, data []byte, err error) {
	if len(data) > maxControl {
		err = fmt.Errorf("the answer has %d bytes, at most %d are allowed: ask for less", len(data), maxControl)
	}
	if err := p.conn.write(answerFrame(id, value, data, err)); err != nil {
		p.end(err)
	}
}

func answerFrame(id, value uint64, data []byte, err error) []byte {
	a := reply{id: id, value: value, data: data}
	if err != nil {
		a.code, a.data = errorCode(err)+1, errorText(err)
	}
	return a.frame()
}

// region opens a region and sends its memory along.
func (p *program) region(ctx context.Context, q question) {
	r, err := p.openRegion(ctx, q)
	if err != nil {
		p.answer(q.id, 0, nil, err)
		return
	}
	a := reply{id: q.id, data: coherence.EncodeRegion(*r.meta.Load())}
	if err := p.conn.write(a.frame(), r.mem.(*vm.Shared).Descriptor()); err != nil {
		p.end(err)
	}
}

func (p *program) openEcho(q question) {
	mem, err := p.echo.open(p.trap, q.n)
	if err != nil {
		p.answer(q.id, 0, nil, err)
		return
	}
	a := reply{id: q.id}
	if err := p.conn.write(a.frame(), mem.Descriptor()); err != nil {
		p.end(err)
	}
}

func (p *program) openRegion(ctx context.Context, q question) (*region, error) {
	want, err := coherence.DecodeRegion(q.data)
	if err != nil {
		return nil, err
	}
	r, err := p.s.create(ctx, want)
	if err == nil && !r.mapped {
		err = fmt.Errorf("region %q: %w: its pages of %d bytes are smaller than the system's: "+
			"create it with larger pages, or use it from an embedded node", r.name(), ErrNotMapped, r.pageSize())
	}
	return r, err
}

// leave has the node leave the space, and then end.
func (p *program) leave(ctx context.Context, q question) {
	err := p.s.depart(ctx)
	p.answer(q.id, 0, nil, err)
	if err == nil {
		go func() { _ = p.s.close() }() // it waits for the goroutine that calls leave
	}
}

func (p *program) find(q question) (*region, error) {
	r := p.s.cur.Load().regions[q.region]
	if r == nil {
		return nil, fmt.Errorf("region %d: %w", q.region, ErrNotExist)
	}
	size := int64(r.meta.Load().Size)
	if q.off < 0 || q.n < 0 || q.off > size || q.n > size-q.off {
		return nil, fmt.Errorf("bytes [%d, +%d) of region %q: %w", q.off, q.n, r.name(), ErrRange)
	}
	return r, nil
}

// right returns the right that q asks for.
func (q *question) right() (pagetable.Access, error) {
	a := pagetable.Access(q.arg)
	if q.arg > math.MaxUint8 || a == pagetable.NoAccess || !a.Valid() {
		return 0, fmt.Errorf("access %d: want read or write", q.arg)
	}
	return a, nil
}

// asking returns a context that says which line of the program asks.
func (p *program) asking(ctx context.Context, q question) context.Context {
	site := uint32(0)
	if sm := p.sampler.Load(); sm != nil && q.site != 0 {
		site = p.s.sites.number(place{of: sm.symbols, pc: q.site - 1 - sm.shift})
	}
	return context.WithValue(ctx, askedAt{}, site)
}

func (p *program) touch(ctx context.Context, q question) error {
	r, err := p.find(q)
	if err != nil {
		return err
	}
	a, err := q.right()
	if err != nil {
		return err
	}
	return r.transfer(p.asking(ctx, q), a, opTouch, q.span, nil)
}

func (p *program) home(q question) (uint64, error) {
	q.n = 1
	r, err := p.find(q)
	if err != nil {
		return 0, err
	}
	return uint64(r.home(uint64(q.off) >> r.shift)), nil
}

func (p *program) pin(ctx context.Context, q question) error {
	r, err := p.find(q)
	if err != nil {
		return err
	}
	a, err := q.right()
	if err != nil {
		return err
	}
	v := heldView{q.region, hold{span: q.span, access: a}}
	if _, err := r.pin(p.asking(ctx, q), v.h); err != nil {
		return err
	}
	p.mu.Lock()
	p.holds[v]++
	p.mu.Unlock()
	return nil
}

func (p *program) unpin(q question) {
	v := heldView{q.region, hold{span: q.span, access: pagetable.Access(q.arg)}}
	p.mu.Lock()
	held := p.holds[v] > 0
	if held {
		if p.holds[v]--; p.holds[v] == 0 {
			delete(p.holds, v)
		}
	}
	p.mu.Unlock()
	if r := p.s.cur.Load().regions[q.region]; held && r != nil {
		r.unpin(v.h)
	}
}

// end ends the connection because of err; the reader then cleans up.
func (p *program) end(err error) {
	p.ending.Do(func() {
		if _, broken := errors.AsType[*net.OpError](err); !broken && !errors.Is(err, io.EOF) && !errors.Is(err, ErrClosed) {
			p.s.log.Warn("a program has to end", "pid", p.peer.PID, "error", err)
			p.sayWhy(err)
		}
		p.conn.conn.Close()
	})
}

// sayWhy tells the program why its attachment ends.
func (p *program) sayWhy(err error) {
	a := reply{code: errorCode(err) + 1, data: []byte(err.Error())}
	_ = p.conn.write(a.frame()) // it ends in any case
}

// release gives up what a program that has ended waited for or held.
func (p *program) release() {
	p.mu.Lock()
	for _, cancel := range p.waits {
		cancel(ErrClosed)
	}
	p.mu.Unlock()
	p.asked.Wait()
	p.stopListening()
	if err := p.echo.close(); err != nil {
		p.s.log.Warn("the memory of an echo stays", "error", err)
	}
	_ = p.s.intervals.release() // else nobody will lock them any more
	abandoned := p.s.sync.endLoans(p.words)
	if err := p.words.Close(); err != nil {
		p.s.log.Warn("the memory of loans stays", "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.mutexes {
		if m.abandon() {
			abandoned = append(abandoned, m.name)
		}
	}
	for _, l := range p.pools {
		if l.abandon() {
			abandoned = append(abandoned, l.name)
		}
	}
	for _, l := range p.elected {
		if l.abandon() {
			abandoned = append(abandoned, l.lock.Name)
		}
	}
	for _, name := range abandoned {
		p.s.log.Warn("a program ended with a lock held: it is given back", "pid", p.peer.PID, "lock", name)
	}
	for v, times := range p.holds {
		if r := p.s.cur.Load().regions[v.region]; r != nil {
			for range times {
				r.unpin(v.h)
			}
		}
	}
}
