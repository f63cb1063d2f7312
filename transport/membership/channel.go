package membership

import (
	"encoding/binary"
	"net"
	"time"
)

const (
	// maxWaiting is how many packets wait for one destination before more are dropped.
	maxWaiting = 64
	// redialPause is how long after a failed delivery packets are dropped before the next try.
	redialPause = 100 * time.Millisecond
)

// channel delivers packets to one destination, over one connection that it opens when needed.
type channel struct {
	g       *gossip
	addr    string
	waiting chan datagram

	// Of the goroutine in run.
	conn    net.Conn  // nil when not connected
	failed  bool      // the last delivery failed
	pausing time.Time // no try before
}

// datagram is a packet in wire form for a member.
type datagram struct {
	name string // "" if not known
	wire []byte
}

func newChannel(g *gossip, addr string) *channel {
	return &channel{g: g, addr: addr, waiting: make(chan datagram, maxWaiting)}
}

// offer queues a copy of a packet, or drops it if too many are waiting.
func (c *channel) offer(name string, b []byte) {
	wire := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b)))
	select {
	case c.waiting <- datagram{name, append(wire, b...)}:
	default:
	}
}

// run delivers until there has been nothing to deliver for a while, or Shutdown.
func (c *channel) run() {
	defer c.disconnect()
	idle := time.NewTimer(idleTimeout)
	defer idle.Stop()
	for {
		select {
		case d := <-c.waiting:
			c.deliver(d)
			idle.Reset(idleTimeout)
		case <-idle.C:
			if c.retire() {
				return
			}
			idle.Reset(idleTimeout)
		case <-c.g.ctx.Done():
			return
		}
	}
}

// retire takes the channel out of use unless a packet has come meanwhile.
func (c *channel) retire() bool {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	if len(c.waiting) > 0 {
		return false
	}
	delete(c.g.channels, c.addr)
	return true
}

// deliver sends one packet, or drops it.
func (c *channel) deliver(d datagram) {
	if c.failed && time.Now().Before(c.pausing) {
		return
	}
	err := c.write(d.wire)
	if err != nil {
		c.disconnect()
		c.pausing = time.Now().Add(redialPause)
		if !c.failed && d.name != "" && c.g.ctx.Err() == nil {
			c.g.suspect(d.name)
		}
	}
	c.failed = err != nil
}

func (c *channel) write(b []byte) (err error) {
	if c.conn == nil {
		if c.conn, err = c.g.dial(c.addr, kindPackets, deliveryTimeout); err != nil {
			return err
		}
	}
	if err = c.conn.SetWriteDeadline(time.Now().Add(deliveryTimeout)); err != nil {
		return err
	}
	_, err = c.conn.Write(b)
	return err
}

func (c *channel) disconnect() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
