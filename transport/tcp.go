package transport

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pagemesh/pagetable"
)

// maxStrangers is how many accepted connections may be in their handshake at once. One more makes the
// oldest give way: an honest node needs milliseconds, so those that linger are not.
const maxStrangers = 256

// tcp is the endpoint on a real network.
type tcp struct {
	cfg    Config
	ln     net.Listener
	addr   string
	ctx    context.Context // done when Close begins
	cancel context.CancelFunc
	counts traffic
	wg     sync.WaitGroup // every goroutine of the endpoint

	self  atomic.Pointer[Identity]
	links atomic.Pointer[map[pagetable.NodeID]*link] // read by anyone, replaced under mu, never changed

	mu        sync.Mutex
	closed    bool
	attempts  map[pagetable.NodeID]*attempt // see connect.go
	changed   chan struct{}                 // closed and replaced when links or attempts change
	strangers *list.List                    // of net.Conn, in their handshake, the oldest first
	streams   map[*stream]struct{}
}

// Listen opens an endpoint on cfg.Listen.
func Listen(cfg Config) (Endpoint, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	at, err := resolveListen(cfg)
	if err != nil {
		return nil, err
	}
	ln, err := net.ListenTCP("tcp", at)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("transport: listen on %s: %w; stop what uses the port, or listen on port 0 to get a free one",
			cfg.Listen, syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	e := &tcp{
		cfg: cfg, ln: ln, addr: advertised(cfg, ln.Addr().(*net.TCPAddr)),
		attempts: map[pagetable.NodeID]*attempt{}, changed: make(chan struct{}),
		strangers: list.New(), streams: map[*stream]struct{}{},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.self.Store(&Identity{})
	e.links.Store(&map[pagetable.NodeID]*link{})
	e.wg.Go(e.accept)
	return e, nil
}

func (e *tcp) Addr() string { return e.addr }

func (e *tcp) Identify(self Identity) { e.self.Store(&self) }

func (e *tcp) traffic() Traffic { return e.counts.load() }

func (e *tcp) send(to pagetable.NodeID, header, body []byte) error {
	if err := checkPacket(header, body); err != nil {
		return err
	}
	l := (*e.links.Load())[to]
	if l == nil {
		return e.noPeer()
	}
	if err := l.out.send(header, body); err != nil {
		return e.noPeer()
	}
	e.counts.sent(prefixSize + len(header) + len(body))
	return nil
}

func (e *tcp) noPeer() error {
	if e.ctx.Err() != nil {
		return ErrClosed
	}
	return ErrNoPeer
}

func (e *tcp) flush(to pagetable.NodeID) {
	if l := (*e.links.Load())[to]; l != nil {
		l.out.flush()
	}
}

func (e *tcp) Disconnect(node pagetable.NodeID) {
	if l := (*e.links.Load())[node]; l != nil {
		l.out.drain()
	}
}

func (e *tcp) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		e.wg.Wait()
		return ErrClosed
	}
	e.closed = true
	e.cancel()
	err := e.ln.Close()
	for s := e.strangers.Front(); s != nil; s = s.Next() {
		s.Value.(net.Conn).Close()
	}
	streams := maps.Clone(e.streams)
	e.changeLocked()
	e.mu.Unlock()
	for s := range streams {
		s.Close()
	}
	for _, l := range *e.links.Load() {
		l.out.drain()
	}
	e.wg.Wait()
	return err
}

// changeLocked wakes those who wait for links or attempts to change.
func (e *tcp) changeLocked() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// accept takes connections until the listener is closed.
func (e *tcp) accept() {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		conn, err := e.ln.Accept()
		switch {
		case err == nil:
			pause = shortest
			e.meet(conn.(*net.TCPConn))
			continue
		case e.ctx.Err() != nil:
			return
		}
		e.cfg.Logger.Warn("accepting a connection failed", "addr", e.addr, "err", err)
		select {
		case <-e.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// meet starts the handshake with whoever connected.
func (e *tcp) meet(conn *net.TCPConn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		conn.Close()
		return
	}
	if e.strangers.Len() >= maxStrangers {
		oldest := e.strangers.Front()
		oldest.Value.(net.Conn).Close()
		e.strangers.Remove(oldest)
	}
	s := e.strangers.PushBack(net.Conn(conn))
	e.wg.Go(func() {
		err := e.welcome(conn)
		e.mu.Lock()
		e.strangers.Remove(s) // no effect if it had to give way
		e.mu.Unlock()
		if err != nil {
			conn.Close()
			e.logStranger(conn, err)
		}
	})
}

func (e *tcp) logStranger(conn net.Conn, err error) {
	if r := (*refusal)(nil); errors.As(err, &r) && !r.temporary() {
		e.cfg.Logger.Info("refused a connection", "from", conn.RemoteAddr().String(), "reason", r.text)
		return
	}
	e.cfg.Logger.Debug("handshake failed", "from", conn.RemoteAddr().String(), "err", err)
}

// welcome runs the listener's side of a handshake and passes the connection on.
func (e *tcp) welcome(conn *net.TCPConn) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	h := newHandshake(conn, e.cfg.Secret)
	hi, err := h.listen(e.cfg)
	if err == nil {
		self := *e.self.Load()
		if r := refuseNode(self, hi); r != nil {
			err = r
		} else if hi.purpose == PurposePeer {
			err = e.welcomePeer(h, conn, self, hi)
		} else {
			err = e.welcomeStream(h, conn, self, hi)
		}
	}
	if r := (*refusal)(nil); errors.As(err, &r) {
		err = errors.Join(err, h.refuse(r))
	}
	return err
}

func (e *tcp) welcomePeer(h *handshake, conn *net.TCPConn, self Identity, hi hello) error {
	a, r := e.reserve(self, hi.self)
	if r != nil {
		return r
	}
	defer e.release(hi.self.Node, a)
	// The link is there before the dialer is welcome: once Connect has returned there, whatever this
	// end sends finds its way.
	l, err := e.install(conn, a, hi.self, hi.addr)
	if err != nil {
		return err
	}
	if err := h.welcome(self); err != nil {
		l.out.broken(err)
		return err
	}
	l.out.begin()
	return nil
}

func (e *tcp) welcomeStream(h *handshake, conn *net.TCPConn, self Identity, hi hello) error {
	if err := h.welcome(self); err != nil {
		return err
	}
	_, err := e.newStream(conn, func(s *stream) { e.cfg.Handler.Stream(hi.purpose, s) })
	return err
}
