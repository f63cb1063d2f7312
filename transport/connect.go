package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"time"

	"pagemesh/pagetable"
)

// Two nodes may connect to each other at the same moment, but a pair has one connection. For each other
// node an endpoint therefore has at most one attempt at a time: its own dial, or the handshake of an
// accepted connection. Where both dial, the dial of the lower id wins:
//
//  1. n1 dials n2, n2 dials n1; each has an attempt of its own.
//  2. n1's hello reaches n2: 1 < 2, so the accepted connection takes over n2's attempt.
//  3. n2's hello reaches n1: n1 has an attempt of its own, 1 < 2, so n1 refuses it as busy.
//  4. n2's Connect, refused, waits for the links to change and finds the link of step 2.
//
// Whoever is refused as busy tries again after a while, in case the attempt it lost to fails.

// busyPause is after what time at the latest a busy Connect tries again.
const busyPause = 20 * time.Millisecond

// attempt is one way in which the connection to a node may be coming about.
type attempt struct {
	dialed bool // by this endpoint
}

func (e *tcp) Connect(ctx context.Context, node pagetable.NodeID, addr string) error {
	err := persist(ctx, e.changes, func(ctx context.Context) error { return e.connect(ctx, node, addr) })
	return describeConnect(node, addr, err)
}

// changes returns a channel that is closed when links or attempts have changed.
func (e *tcp) changes() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// persist calls try until it returns something else than a temporary refusal: after each change, and
// now and then. It stops with the last refusal when ctx is done or handshakeTimeout is over.
func persist(ctx context.Context, changes func() <-chan struct{}, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	for {
		changed := changes()
		err := try(ctx)
		var r *refusal
		if !errors.As(err, &r) || !r.temporary() {
			return err
		}
		select {
		case <-changed:
		case <-time.After(busyPause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", r, ctx.Err())
		}
	}
}

func describeConnect(node pagetable.NodeID, addr string, err error) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("connect to node %v at %s: %w", node, addr, err)
}

// connect tries once. A temporary refusal, by the other end or by this one, means to try again.
func (e *tcp) connect(ctx context.Context, node pagetable.NodeID, addr string) error {
	a, l, err := e.claim(node)
	if err != nil {
		return err
	}
	if l == nil {
		if l, err = e.dialPeer(ctx, node, addr, a); err != nil {
			return err
		}
	}
	return await(ctx, l.up)
}

// await waits until up is closed.
func await(ctx context.Context, up <-chan struct{}) error {
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// claim returns the link to a node, or else an attempt that the caller is to make.
func (e *tcp) claim(node pagetable.NodeID) (*attempt, *link, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, nil, ErrClosed
	}
	if err := checkPair(e.self.Load().Node, node); err != nil {
		return nil, nil, err
	}
	switch l := (*e.links.Load())[node]; {
	case l != nil && l.out.open():
		return nil, l, nil
	case l != nil || e.attempts[node] != nil:
		return nil, nil, refuseBusy()
	}
	a := &attempt{dialed: true}
	e.attempts[node] = a
	return a, nil, nil
}

func checkPair(self, peer pagetable.NodeID) error {
	if self == 0 || peer == 0 || self == peer {
		return fmt.Errorf("this endpoint is node %v; a peer connection needs two different nodes", self)
	}
	return nil
}

// dialPeer makes an attempt that claim gave out.
func (e *tcp) dialPeer(ctx context.Context, node pagetable.NodeID, addr string, a *attempt) (*link, error) {
	defer e.release(node, a)
	conn, peer, err := e.dial(ctx, addr, hello{purpose: PurposePeer, expect: node})
	if err != nil {
		return nil, err
	}
	l, err := e.install(conn, a, peer, addr)
	if err != nil {
		conn.Close()
		return nil, err
	}
	l.out.begin()
	return l, nil
}

// reserve makes an accepted connection the attempt to connect with peer, or says why not.
func (e *tcp) reserve(self, peer Identity) (*attempt, *refusal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := (*e.links.Load())[peer.Node]
	other := e.attempts[peer.Node]
	switch {
	case l != nil && l.out.open() && l.peer != peer:
		return nil, refuseIncarnation(peer)
	case e.closed || l != nil:
		return nil, refuseBusy()
	case other != nil && !(other.dialed && peer.Node < self.Node):
		return nil, refuseBusy()
	}
	a := &attempt{}
	e.attempts[peer.Node] = a
	return a, nil
}

// release ends an attempt, whatever came of it.
func (e *tcp) release(node pagetable.NodeID, a *attempt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.attempts[node] == a {
		delete(e.attempts, node)
		e.changeLocked()
	}
}

// install makes a connection the link to peer and begins to serve it, unless its attempt was taken
// over. What is sent waits for outgoing.begin.
func (e *tcp) install(conn *net.TCPConn, a *attempt, peer Identity, addr string) (*link, error) {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	l, err := newLink(e, conn, peer, addr)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	if e.attempts[peer.Node] != a {
		return nil, refuseBusy()
	}
	delete(e.attempts, peer.Node)
	links := maps.Clone(*e.links.Load())
	links[peer.Node] = l
	e.links.Store(&links)
	e.changeLocked()
	e.wg.Go(l.serve)
	return l, nil
}

// forget removes a link after its Down.
func (e *tcp) forget(l *link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	links := maps.Clone(*e.links.Load())
	delete(links, l.peer.Node)
	e.links.Store(&links)
	e.changeLocked()
}

// dial opens a TCP connection and runs the dialer's side of the handshake. It sets what hi says of this
// node. The connection has a deadline when it returns.
func (e *tcp) dial(ctx context.Context, addr string, hi hello) (*net.TCPConn, Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	d := net.Dialer{}
	if !e.cfg.Insecure {
		d.Control = guardDial
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, Identity{}, e.dialError(err)
	}
	conn := c.(*net.TCPConn)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	hi.version, hi.cluster, hi.self, hi.addr = e.cfg.Version, e.cfg.Cluster, *e.self.Load(), e.addr
	peer, err := newHandshake(conn, e.cfg.Secret).dial(hi)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("the handshake got no answer in time: %w", ctx.Err())
		} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the connection was closed in the handshake: %w", err)
		}
		return nil, Identity{}, e.dialError(err)
	}
	return conn, peer, nil
}

// dialError returns the error to report for a dial that failed with err.
func (e *tcp) dialError(err error) error {
	switch {
	case e.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, ErrNotLoopback):
		return ErrNotLoopback
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err // the address is in what the caller says
	}
	return err
}
