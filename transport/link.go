package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// link is the one peer connection between this node and another.
type link struct {
	ep   *tcp
	conn *net.TCPConn
	peer Identity
	addr string        // where the peer can be dialed
	up   chan struct{} // closed when Handler.Up has returned
	out  outgoing

	// Of the goroutine in serve.
	in   inbound
	from reader
}

func newLink(ep *tcp, conn *net.TCPConn, peer Identity, addr string) (*link, error) {
	l := &link{ep: ep, conn: conn, peer: peer, addr: addr, up: make(chan struct{}), in: newInbound()}
	l.out = outgoing{
		conn: conn, limit: ep.cfg.maxQueued, wake: make(chan struct{}, 1), stop: make(chan struct{}), held: true,
	}
	return l, errors.Join(l.from.init(conn), l.out.attempt.init(conn), conn.SetNoDelay(true))
}

// serve is the life of the connection from Up to Down; it makes all calls of the handler for this peer.
func (l *link) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		l.out.run()
	}()
	h := l.ep.cfg.Handler
	h.Up(l.peer, l.addr)
	close(l.up)
	cause := l.out.end(l.receive())
	if cause != nil {
		cause = l.describe(cause)
	}
	close(l.out.stop)
	l.conn.Close()
	<-written
	h.Down(l.peer.Node, cause)
	l.ep.forget(l)
}

// receive reads and delivers until the connection ends.
func (l *link) receive() error {
	out := NewOutbox(l.ep)
	for {
		if err := l.in.fill(&l.from); err != nil {
			return err
		}
		err := l.deliver(out)
		out.Flush()
		if err != nil {
			return err
		}
	}
}

// deliver calls the handler for every complete packet in the read buffer.
func (l *link) deliver(out *Outbox) error {
	packets, size := 0, 0
	deaf := l.out.isDraining() // after Disconnect what arrives is dropped
	defer func() { l.ep.counts.received(packets, size) }()
	for {
		p, ok, err := l.in.next()
		if !ok {
			return err
		}
		packets++
		size += prefixSize + len(p.header) + len(p.body)
		if !deaf {
			l.ep.cfg.Handler.Packet(out, l.peer.Node, p.header, p.body)
		}
	}
}

// describe says how the connection ended, with the errno intact.
func (l *link) describe(err error) error {
	what := fmt.Sprintf("connection to node %v at %s", l.peer.Node, l.addr)
	switch {
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%s: %w", what, err)
	case l.in.start < l.in.end:
		return fmt.Errorf("%s: %w", what, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%s: closed by the node: %w", what, err)
}
