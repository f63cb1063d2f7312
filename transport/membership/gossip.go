package membership

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"pagemesh/transport"
)

// What the first byte of a gossip connection says.
const (
	kindPackets byte = 'p' // a packet channel
	kindStream  byte = 's' // one exchange of memberlist's own
)

const (
	// maxPacket is the largest packet: twice what memberlist fills one up to.
	maxPacket = 16 << 10
	// deliveryTimeout bounds dialing, one write, and the wait for a connection's first byte.
	deliveryTimeout = 500 * time.Millisecond
	// idleTimeout is after what time without a packet a channel is closed by the sender; the receiver
	// waits twice as long.
	idleTimeout = 30 * time.Second
	// maxExchanges is how many exchanges are being read at once. A member takes part in about one a
	// second, in which it is a matter of milliseconds.
	maxExchanges = 16
	// exchangeTimeout bounds how long one is.
	exchangeTimeout = 2 * time.Second
)

// gossip is memberlist's transport over an endpoint.
type gossip struct {
	ep      transport.Endpoint
	at      *net.TCPAddr // where others dial this member
	suspect func(name string)
	ctx     context.Context // done at Shutdown
	cancel  context.CancelFunc
	packets chan *memberlist.Packet
	streams chan net.Conn
	log     *slog.Logger
	wg      sync.WaitGroup // channels

	exchanges atomic.Int32 // that are being read

	mu       sync.Mutex
	channels map[string]*channel // by destination
}

var _ memberlist.NodeAwareTransport = (*gossip)(nil)

func newGossip(cfg Config, at *net.TCPAddr, suspect func(string)) *gossip {
	g := &gossip{
		ep: cfg.Endpoint, at: at, suspect: suspect, log: cfg.Logger,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		channels: map[string]*channel{},
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return g.at.IP, g.at.Port, nil
}

func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

func (g *gossip) StreamCh() <-chan net.Conn { return g.streams }

func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet if that is possible soon. It neither blocks, since memberlist's probes,
// answers and gossip call it in turn, nor reports a failure: memberlist doesn't suspect a member whose
// packets fail with an error, only one that doesn't answer.
func (g *gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if len(b) > maxPacket {
		return time.Time{}, fmt.Errorf("a gossip packet of %d bytes is too large", len(b))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx.Err() != nil {
		return time.Time{}, net.ErrClosed
	}
	c := g.channels[a.Addr]
	if c == nil {
		c = newChannel(g, a.Addr)
		g.channels[a.Addr] = c
		g.wg.Go(c.run)
	}
	c.offer(a.Name, b)
	return time.Now(), nil
}

func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (g *gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return g.dial(a.Addr, kindStream, timeout)
}

// dial opens a gossip connection of the given kind.
func (g *gossip) dial(addr string, kind byte, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.ctx, timeout)
	defer cancel()
	conn, err := g.ep.Dial(ctx, addr, transport.PurposeGossip)
	if err != nil {
		return nil, err
	}
	c := g.bind(conn)
	err = c.SetWriteDeadline(time.Now().Add(timeout))
	if err == nil {
		_, err = c.Write([]byte{kind})
	}
	if err == nil {
		err = c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Shutdown ends every connection and returns when no goroutine of the transport is left, except those
// in accept, which are about to return.
func (g *gossip) Shutdown() error {
	g.mu.Lock()
	g.cancel()
	g.mu.Unlock()
	g.wg.Wait()
	return nil
}

// bound is a connection that Shutdown closes.
type bound struct {
	net.Conn
	release func() bool
}

func (g *gossip) bind(conn net.Conn) net.Conn {
	return &bound{conn, context.AfterFunc(g.ctx, func() { conn.Close() })}
}

func (b *bound) Close() error {
	b.release()
	return b.Conn.Close()
}

// accept reads an accepted connection's packets, or passes it on as a stream.
func (g *gossip) accept(conn net.Conn) {
	c := g.bind(conn)
	var kind [1]byte
	c.SetReadDeadline(time.Now().Add(deliveryTimeout))
	_, err := io.ReadFull(c, kind[:])
	c.SetReadDeadline(time.Time{})
	switch {
	case err == nil && kind[0] == kindPackets:
		g.receive(c)
	case err == nil && kind[0] == kindStream:
		if g.exchange(c) {
			return // memberlist closes it
		}
	}
	c.Close()
}

// exchange passes a stream on to memberlist, if it is what members send and there aren't too many.
func (g *gossip) exchange(c net.Conn) bool {
	if g.exchanges.Add(1) > maxExchanges {
		g.exchanges.Add(-1)
		return false
	}
	defer g.exchanges.Add(-1)
	c.SetReadDeadline(time.Now().Add(exchangeTimeout))
	s, err := screenExchange(c)
	if err != nil {
		g.log.Debug("gossip refused", "from", c.RemoteAddr().String(), "err", err)
		return false
	}
	select {
	case g.streams <- s:
		return true
	case <-g.ctx.Done():
		return false
	}
}

// receive passes packets on until the channel ends.
func (g *gossip) receive(c net.Conn) {
	for {
		c.SetReadDeadline(time.Now().Add(2 * idleTimeout))
		b, err := readPacket(c)
		if err != nil || !screenPacket(b) {
			return
		}
		select {
		case g.packets <- &memberlist.Packet{Buf: b, From: c.RemoteAddr(), Timestamp: time.Now()}:
		case <-g.ctx.Done():
			return
		}
	}
}

// readPacket reads one packet of a channel. memberlist wants at least one byte, and keeps it.
func readPacket(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(length[:])
	if n == 0 || n > maxPacket {
		return nil, fmt.Errorf("a gossip packet of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
