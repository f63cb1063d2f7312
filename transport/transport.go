package transport

import (
	"context"
	"errors"
	"net"

	"pagemesh/pagetable"
)

// Purpose says what an incoming or outgoing connection is for. It is part of the handshake.
type Purpose uint8

const (
	// PurposePeer carries packets between two members; see Endpoint.Connect.
	PurposePeer Purpose = iota + 1
	// PurposeGossip is a stream or packet channel of the membership library.
	PurposeGossip
	// PurposeControl is a byte stream for requests from outside the membership: joining, inspection.
	PurposeControl
)

// Limits of one packet.
const (
	// MaxHeader is the largest header in bytes.
	MaxHeader = 1 << 16
	// MaxBody is the largest body in bytes: the largest page, or a view.
	MaxBody = 4 << 20
)

// Errors on which callers decide.
var (
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("transport: endpoint is closed")
	// ErrNoPeer is returned by Send when there is no connection to the node.
	ErrNoPeer = errors.New("transport: no connection to that node")
	// ErrRefused wraps what the other end said when it turned a handshake down: protocol version,
	// cluster name, secret or node id. Trying again can't help.
	ErrRefused = errors.New("connection refused by peer")
)

// Identity is what a node says of itself in a handshake.
type Identity struct {
	// Node is the node's id, 0 before the coordinator has given it one.
	Node pagetable.NodeID
	// Incarnation is a random number drawn when the process started: it tells a restarted node from
	// the one that had its address before.
	Incarnation uint64
}

// Handler receives what arrives. Its methods are called from the goroutine that read the connection,
// one at a time for each peer, several at once for different peers. They must not block, nor call
// Close or Connect, which wait for them.
type Handler interface {
	// Packet delivers one packet. header and body are valid only during the call. What the handler
	// sends into out is flushed when no complete packet is left in the connection's read buffer.
	Packet(out *Outbox, from pagetable.NodeID, header, body []byte)
	// Up reports that a peer connection to the node now exists, before its first packet. addr is where
	// the node can be dialed.
	Up(peer Identity, addr string)
	// Down reports that the connection ended, after its last packet and exactly once for each Up. err
	// is nil after Disconnect or Close at this end.
	Down(peer pagetable.NodeID, err error)
	// Stream hands over an accepted connection of another purpose, after its handshake. It is called
	// in a goroutine of its own and may block; the handler owns conn and closes it. Close of the
	// endpoint closes it too.
	Stream(purpose Purpose, conn net.Conn)
}

// Endpoint is a node's place on the network: one address for everything.
//
// Delivery is first in, first out between two nodes, at most once, and ends with the connection: a
// broken connection is an event (Handler.Down) and is never re-established by the endpoint itself.
type Endpoint interface {
	// Addr returns the address that others dial.
	Addr() string
	// Identify sets the identity that later handshakes of this endpoint present.
	Identify(self Identity)
	// Connect opens the peer connection to node at addr and returns after Handler.Up. Connecting to a
	// node that is connected already (from either side) returns nil without a second connection.
	Connect(ctx context.Context, node pagetable.NodeID, addr string) error
	// Dial opens a stream of another purpose; it arrives at the other end's Handler.Stream.
	Dial(ctx context.Context, addr string, purpose Purpose) (net.Conn, error)
	// Disconnect ends the connection to a peer after sending what is queued. It returns at once, Send
	// fails from then on, what the peer still sends is dropped, and Handler.Down follows. No effect if
	// there is no connection.
	Disconnect(node pagetable.NodeID)
	// Close disconnects every peer, ends every stream and stops listening. It returns when no handler
	// call is running; a peer that doesn't read delays it by at most two seconds.
	Close() error

	// send queues a packet, copying its bytes, and never blocks; flush pushes what is queued. Users go
	// through an Outbox.
	send(to pagetable.NodeID, header, body []byte) error
	flush(to pagetable.NodeID)
	// traffic serves Counters.
	traffic() Traffic
}

// Outbox collects the packets of one burst of work so that each peer is written to once. The zero
// Outbox is not usable; an Outbox is for one goroutine.
type Outbox struct {
	ep    Endpoint
	dirty []pagetable.NodeID
}

// NewOutbox returns an empty outbox that sends through ep.
func NewOutbox(ep Endpoint) *Outbox { return &Outbox{ep: ep} }

// Send queues a packet for a peer. Both slices may be reused when it returns. It never blocks.
// Until Flush nothing need be on the wire. It returns ErrNoPeer or ErrClosed, or an error about a packet
// that is too large.
func (o *Outbox) Send(to pagetable.NodeID, header, body []byte) error {
	if err := o.ep.send(to, header, body); err != nil {
		return err
	}
	for _, n := range o.dirty {
		if n == to {
			return nil
		}
	}
	o.dirty = append(o.dirty, to)
	return nil
}

// Flush pushes everything that was sent. It does not wait for a slow peer: what the connection does
// not take at once is written in the background.
func (o *Outbox) Flush() {
	for _, n := range o.dirty {
		o.ep.flush(n)
	}
	o.dirty = o.dirty[:0]
}
