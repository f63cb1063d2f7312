package dsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// attachment is what a program keeps of the node that it is attached to.
type attachment struct {
	socket string
	conn   *attachConn
	window *vm.Window
	id     identity
	log    *slog.Logger
	values atomic.Uint64 // numbers of mutexes and pools
	words  *vm.Words     // of loans; never unmapped, since a goroutine may be in Lock
	done   chan struct{} // closed when the attachment has ended

	mu      sync.Mutex // guards what follows
	next    uint64
	asked   map[uint64]*openQuestion
	regions map[pagetable.RegionID]*mapping
	err     error       // why it has ended
	over    atomic.Bool // err is set
}

// openQuestion is a question that waits for its answer.
type openQuestion struct {
	wantsDescriptor bool // its answer brings a descriptor
	last            bool // its answer, unless it is an error, ends the attachment
	answer          chan answeredQuestion
}

// answeredQuestion is how a question ended.
type answeredQuestion struct {
	reply
	descriptor *os.File
	err        error
}

// CanMap returns nil if programs can be attached to nodes on this system, and otherwise what is missing and
// what to do about it.
func CanMap() error {
	_, err := vm.Probe(vm.Options{})
	return err
}

// attach connects this program to the node that serves at cfg.Attach.
func attach(ctx context.Context, cfg Config) (*attachment, error) {
	a, err := attachAt(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("attach to the node at %s: %w", cfg.Attach, err)
	}
	return a, nil
}

func attachAt(ctx context.Context, cfg Config) (*attachment, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.JoinTimeout,
		fmt.Errorf("it has not answered within %v: has it been stopped, or is it waiting for other members?", cfg.JoinTimeout))
	defer cancel()
	conn, err := dialNode(ctx, cfg.Attach)
	if err != nil {
		return nil, err
	}
	a := &attachment{
		socket: cfg.Attach, conn: newAttachConn(conn, maxReply), log: cfg.Logger, done: make(chan struct{}),
		asked: map[uint64]*openQuestion{}, regions: map[pagetable.RegionID]*mapping{},
	}
	if a.window, err = vm.NewWindow(vm.Options{}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go a.read()
	stop := context.AfterFunc(ctx, func() { a.end(context.Cause(ctx)) })
	err = a.greet(ctx)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		a.end(err)
		return nil, errors.Join(err, a.window.Close())
	}
	return a, nil
}

// dialNode connects to a socket, which may be about to be opened.
func dialNode(ctx context.Context, path string) (*net.UnixConn, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	var d net.Dialer
	var last error // that is not the end of ctx
	for {
		conn, err := d.DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			return checkOwner(conn.(*net.UnixConn))
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%w: the node belongs to another user: start one of your own", err)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			last = fmt.Errorf("%w: is a node running with that socket (dsm node --socket)?", err)
		case last != nil && (ctx.Err() != nil || os.IsTimeout(err)):
			return nil, last
		default:
			return nil, err
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return nil, last
		}
	}
}

// checkOwner refuses a node of another user: it would see and change everything in shared memory.
func checkOwner(conn *net.UnixConn) (*net.UnixConn, error) {
	peer, err := vm.PeerOf(conn)
	if err == nil && peer.UID != os.Geteuid() {
		err = fmt.Errorf("the socket belongs to user %d, this program runs as user %d: start a node of your own", peer.UID, os.Geteuid())
	}
	if err == nil {
		err = vm.AllowTracer(peer.PID)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// greet hands this program's trap to the node and learns who it is.
func (a *attachment) greet(ctx context.Context) error {
	name, err := os.Executable()
	if err != nil {
		name = os.Args[0]
	}
	q := question{kind: askAttach, arg: attachVersion, data: []byte(filepath.Base(name))}
	fds := []int{a.window.Descriptor()}
	if _, err := os.Stderr.Stat(); err == nil {
		fds = append(fds, int(os.Stderr.Fd()))
	}
	ans, err := a.send(ctx, q, fds...)
	if err != nil {
		return err
	}
	defer ans.descriptor.Close()
	var g greeting
	if err := json.Unmarshal(ans.data, &g); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	a.id = identity{g.Node, g.Addr, g.Rank}
	a.words, err = openLoans(int(ans.descriptor.Fd()))
	return err
}

// ask puts a question to the node and waits for the answer. If ctx ends the node is told to give up, and
// what it answers then counts.
func (a *attachment) ask(ctx context.Context, q question) (answeredQuestion, error) {
	return a.send(ctx, q)
}

func (a *attachment) send(ctx context.Context, q question, fds ...int) (answeredQuestion, error) {
	o := &openQuestion{
		wantsDescriptor: q.kind.bringsDescriptor(), last: q.kind == askLeave, answer: make(chan answeredQuestion, 1),
	}
	if len(q.data) > maxQuestionData {
		return answeredQuestion{}, fmt.Errorf("a question with %d bytes for the node, at most %d are allowed", len(q.data), maxQuestionData)
	}
	a.mu.Lock()
	if a.err != nil {
		a.mu.Unlock()
		return answeredQuestion{}, a.err
	}
	a.next++
	q.id = a.next
	a.asked[q.id] = o
	a.mu.Unlock()
	a.write(q, fds...)
	defer trace.StartRegion(ctx, "dsm: wait for the node").End()
	select {
	case ans := <-o.answer:
		return ans, ans.err
	case <-ctx.Done():
	}
	a.write(question{kind: askCancel, arg: q.id})
	ans := <-o.answer
	if errors.Is(ans.err, context.Canceled) {
		ans.err = context.Cause(ctx)
	}
	return ans, ans.err
}

// write puts a question on its way. What a node has said before it went is for the reader to find.
func (a *attachment) write(q question, fds ...int) {
	err := a.conn.write(q.frame(), fds...)
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		a.end(a.lost(err))
	}
}

// read hands answers to those who wait for them, until the connection ends.
func (a *attachment) read() {
	defer a.conn.dropDescriptors()
	for {
		frame, err := a.conn.next()
		if err == nil {
			err = a.answer(frame)
		}
		if err != nil {
			a.end(a.lost(err))
			return
		}
	}
}

func (a *attachment) answer(frame []byte) error {
	r, err := decodeReply(frame)
	if err != nil {
		return err
	}
	r.data = bytes.Clone(r.data)
	if r.id == 0 {
		return fmt.Errorf("it says: %s", r.data)
	}
	a.mu.Lock()
	o := a.asked[r.id]
	delete(a.asked, r.id)
	a.mu.Unlock()
	if o == nil {
		return fmt.Errorf("the node answers question %d, which is not open", r.id)
	}
	ans := answeredQuestion{reply: r}
	switch {
	case r.code != 0:
		ans.err = errorOf(r.code-1, r.data)
	case o.wantsDescriptor:
		fd, err := a.conn.takeDescriptor()
		if err != nil {
			return err
		}
		ans.descriptor = os.NewFile(uintptr(fd), "region")
	}
	o.answer <- ans
	if o.last && ans.err == nil {
		a.end(ErrClosed) // before the connection's end is read, which would mean that the node is lost
	}
	return nil
}

// lost says that the node is gone, and why if it has not just ended.
func (a *attachment) lost(cause error) error {
	err := fmt.Errorf("%w: the node at %s, which this program is attached to, has ended", ErrNodeLost, a.socket)
	for _, plain := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(cause, plain) {
			return err
		}
	}
	return fmt.Errorf("%w or does not want it: %w", err, cause)
}

// end ends the attachment because of err: every question fails. A program that has regions mapped must
// not go on when its node is gone, since a thread that touches a page would wait for ever and the
// garbage collector for that thread.
func (a *attachment) end(err error) {
	a.mu.Lock()
	if a.err != nil {
		a.mu.Unlock()
		<-a.done // whoever has ended it is about to be through
		return
	}
	a.err = err
	a.over.Store(true)
	asked, mapped := a.asked, len(a.regions)
	a.asked = nil
	a.mu.Unlock()
	a.conn.conn.Close()
	for _, o := range asked {
		o.answer <- answeredQuestion{err: err}
	}
	close(a.done)
	if mapped > 0 && errors.Is(err, ErrNodeLost) {
		fmt.Fprintf(os.Stderr, "pagemesh: %v: this program ends, because shared memory can't be reached any more\n", err)
		os.Exit(1)
	}
}

// identity implements backend.
func (a *attachment) identity() identity { return a.id }

// open implements backend.
func (a *attachment) open(ctx context.Context, name string, options RegionOptions) (*Region, error) {
	want, err := options.region(name)
	if err != nil {
		return nil, err
	}
	ans, err := a.ask(ctx, question{kind: askRegion, data: coherence.EncodeRegion(want)})
	if err != nil {
		return nil, err
	}
	defer ans.descriptor.Close()
	meta, err := coherence.DecodeRegion(ans.data)
	if err != nil {
		return nil, err
	}
	m, err := a.mapRegion(meta, ans.descriptor)
	if err != nil {
		return nil, fmt.Errorf("region %q: %w", name, err)
	}
	return newRegion(m, meta), nil
}

// mapRegion maps a region at its own address, unless it is mapped already.
func (a *attachment) mapRegion(meta pagetable.Region, memory *os.File) (*mapping, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.regions[meta.ID]; m != nil {
		return m, nil
	}
	if a.err != nil {
		return nil, a.err
	}
	b, err := a.window.Map(int(memory.Fd()), meta.Range())
	if err != nil {
		return nil, err
	}
	m := &mapping{a: a, meta: meta, b: b[:meta.Size]}
	a.regions[meta.ID] = m
	return m, nil
}

// unmap ends the mapping of a region, or returns false if there is none.
func (a *attachment) unmap(meta pagetable.Region) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.regions[meta.ID] == nil {
		return false, nil
	}
	delete(a.regions, meta.ID)
	return true, a.window.Unmap(meta.Range())
}

// maps reports whether a region is mapped.
func (a *attachment) maps(id pagetable.RegionID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.regions[id] != nil
}

// inspect implements backend.
func (a *attachment) inspect(ctx context.Context, kind controlKind, payload []byte) ([]byte, error) {
	ans, err := a.ask(ctx, question{kind: askInspect, arg: uint64(kind), data: payload})
	return ans.data, err
}

// leave implements backend: it is the node that leaves.
func (a *attachment) leave(ctx context.Context) error {
	if _, err := a.ask(ctx, question{kind: askLeave}); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return a.close()
}

// close implements backend. The node lives on.
func (a *attachment) close() error {
	a.end(ErrClosed)
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for id, m := range a.regions {
		errs = append(errs, a.window.Unmap(m.meta.Range()))
		delete(a.regions, id)
	}
	return errors.Join(append(errs, a.window.Close())...)
}

// ended implements backend.
func (a *attachment) ended() <-chan struct{} { return a.done }

// why implements backend.
func (a *attachment) why() error {
	if !a.over.Load() {
		return nil // as whoever locks a mutex on loan wants to know soon
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// wait implements backend.
func (a *attachment) wait(ctx context.Context, barrier string, parties int) error {
	_, err := a.ask(ctx, question{kind: askWait, arg: uint64(parties), data: []byte(barrier)})
	return err
}

// mutex implements backend.
func (a *attachment) mutex(name string) mutex {
	return &attachedMutex{a: a, name: name, value: a.values.Add(1)}
}

// attachedMutex is a Mutex through a node in another process.
type attachedMutex struct {
	a     *attachment
	name  string
	value uint64
	// loan is where the mutex was lent last; nil if it never was. lent: it is locked through this value, and
	// on loan.
	loan atomic.Pointer[loan]
	lent atomic.Bool
}

// lock implements mutex.
func (m *attachedMutex) lock(ctx context.Context, by caller) (token uint64, err error) {
	if l := m.loan.Load(); l != nil && m.a.why() == nil {
		if token, ok := l.lock(by); ok {
			m.lent.Store(true)
			return token, nil
		}
	}
	ans, err := m.a.ask(ctx, by.question(question{kind: askLock, arg: m.value, data: []byte(m.name)}))
	if err == nil && len(ans.data) > 0 {
		err = m.borrow(ans.data)
	}
	return ans.value, err
}

// borrow takes up a loan.
func (m *attachedMutex) borrow(data []byte) error {
	index, n := binary.Uvarint(data)
	if n != len(data) || index >= maxLoans {
		return fmt.Errorf("the node lends a mutex with an index of %#x", data)
	}
	if m.loan.Load() == nil {
		m.loan.Store(&loan{m.a.words, int(index)})
	}
	m.lent.Store(true)
	return nil
}

// unlock implements mutex.
func (m *attachedMutex) unlock() error {
	if !m.lent.CompareAndSwap(true, false) {
		_, err := m.a.ask(context.Background(), question{kind: askUnlock, arg: m.value, data: []byte(m.name)})
		return err
	}
	if !m.loan.Load().unlock() {
		m.a.write(question{kind: askGiveBack, data: []byte(m.name)})
	}
	return m.a.why()
}

// pool implements backend.
func (a *attachment) pool(name string, size uint64) pool {
	return &attachedPool{a: a, name: name, size: int64(size), value: a.values.Add(1)}
}

// attachedPool is an RWMutex or a Semaphore through a node in another process.
type attachedPool struct {
	a     *attachment
	name  string
	size  int64
	value uint64
}

// take implements pool.
func (p *attachedPool) take(ctx context.Context, count uint64, by caller) (token uint64, err error) {
	ans, err := p.a.ask(ctx, by.question(p.question(askTake, count)))
	return ans.value, err
}

// put implements pool.
func (p *attachedPool) put(count uint64, by caller) error {
	_, err := p.a.ask(context.Background(), by.question(p.question(askPut, count)))
	return err
}

func (p *attachedPool) question(kind askKind, count uint64) question {
	return question{kind: kind, span: span{p.size, int64(count)}, arg: p.value, data: []byte(p.name)}
}
