package transport

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"pagemesh/pagetable"
)

// memoryEnd is one node's end of a connection in memory. Its fields are guarded by the network's mu
// unless a comment says otherwise.
type memoryEnd struct {
	ep    *memory       // constant
	other *memoryEnd    // constant: the other node's end
	peer  Identity      // constant: who is there
	addr  string        // constant: where that node can be dialed
	up    chan struct{} // closed when Handler.Up has returned
	wake  chan struct{} // one token: inbox or its head has changed

	rng    *rand.Rand      // of what travels to this end
	inbox  []memoryArrival // in the order of arrival; at never decreases
	size   int             // bytes in inbox and in the other end's staged
	staged []memoryArrival // what this end sent and did not flush
	ending bool            // the last of inbox is an end
	shut   bool            // Send fails: Disconnect was called here or Down is near
}

// memoryArrival is a packet, or the end of the connection, on its way.
type memoryArrival struct {
	at     time.Time
	bytes  []byte // header and body
	header int    // length of the header
	end    bool
	cause  error // of an end, for Down
	silent bool  // of an end: this node has crashed, nobody is told
}

// joinLocked makes a connection between two endpoints and returns m's end.
func (m *memory) joinLocked(o *memory) *memoryEnd {
	a := &memoryEnd{ep: m, peer: o.self, addr: o.addr, rng: m.net.directionLocked(o.addr, m.addr)}
	b := &memoryEnd{ep: o, peer: m.self, addr: m.addr, rng: m.net.directionLocked(m.addr, o.addr)}
	a.other, b.other = b, a
	for _, e := range []*memoryEnd{a, b} {
		e.up, e.wake = make(chan struct{}), make(chan struct{}, 1)
		e.ep.ends[e.peer.Node] = e
		e.ep.wg.Go(e.serve)
	}
	m.net.changeLocked()
	return a
}

func (m *memory) send(to pagetable.NodeID, header, body []byte) error {
	if err := checkPacket(header, body); err != nil {
		return err
	}
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	end := m.ends[to]
	switch {
	case m.gone:
		return ErrClosed
	case end == nil || end.shut:
		return ErrNoPeer
	case end.other.size+prefixSize+len(header)+len(body) > m.cfg.maxQueued:
		end.breakLocked(errors.New("too much is waiting to be sent and the node doesn't read it"))
		return ErrNoPeer
	}
	b := append(append(make([]byte, 0, len(header)+len(body)), header...), body...)
	end.staged = append(end.staged, memoryArrival{bytes: b, header: len(header)})
	end.other.size += prefixSize + len(b)
	m.counts.sent(prefixSize + len(b))
	return nil
}

func (m *memory) flush(to pagetable.NodeID) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	if end := m.ends[to]; end != nil {
		end.flushLocked()
	}
}

// flushLocked sends what is staged on its way.
func (e *memoryEnd) flushLocked() {
	staged, f := e.staged, e.ep.net.faults
	e.staged = nil
	for _, p := range staged {
		if e.other.ending {
			return // like bytes written to a connection that the other end has closed
		}
		if f.Loss > 0 && e.other.rng.Float64() < f.Loss {
			e.breakLocked(errors.New("the network broke the connection"))
			return
		}
		e.other.arriveLocked(f.delay(e.other.rng), p)
	}
}

// arriveLocked puts p on its way to e, behind what is on its way already.
func (e *memoryEnd) arriveLocked(delay time.Duration, p memoryArrival) {
	p.at = time.Now().Add(delay)
	if n := len(e.inbox); n > 0 && p.at.Before(e.inbox[n-1].at) {
		p.at = e.inbox[n-1].at
	}
	e.inbox = append(e.inbox, p)
	e.wakeLocked()
}

func (e *memoryEnd) wakeLocked() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// endLocked puts the end of the connection on its way to e. Only the first end counts.
func (e *memoryEnd) endLocked(delay time.Duration, end memoryArrival) {
	if e.ending {
		return
	}
	e.ending, end.end = true, true
	e.arriveLocked(delay, end)
}

// disconnectLocked ends the connection from this end: the other gets all that was sent, this end no
// more.
func (e *memoryEnd) disconnectLocked() {
	if e.shut {
		return
	}
	e.flushLocked()
	e.other.endLocked(e.ep.net.faults.delay(e.other.rng), memoryArrival{cause: e.other.describe(
		fmt.Errorf("closed by the node: %w", io.EOF))})
	e.shut, e.inbox, e.ending = true, nil, false
	e.endLocked(0, memoryArrival{})
}

// breakLocked ends the connection for both ends; of what is on its way to each, only the first few
// packets arrive.
func (e *memoryEnd) breakLocked(err error) {
	for _, end := range []*memoryEnd{e, e.other} {
		end.loseLocked()
		end.endLocked(0, memoryArrival{cause: end.describe(err)})
	}
}

// loseLocked drops what is on its way to e from a random place on.
func (e *memoryEnd) loseLocked() {
	if n := len(e.inbox); !e.ending && n > 0 {
		e.inbox = e.inbox[:e.rng.IntN(n+1)]
	}
}

func (e *memoryEnd) describe(err error) error {
	return fmt.Errorf("connection to node %v at %s: %w", e.peer.Node, e.addr, err)
}

// serve is the life of the connection at this end, from Up to Down.
func (e *memoryEnd) serve() {
	h := e.ep.cfg.Handler
	if !e.crashed() {
		h.Up(e.peer, e.addr)
	}
	close(e.up)
	out := NewOutbox(e.ep)
	for {
		p, due, _ := e.take()
		if !due {
			out.Flush()
			p = e.wait()
		}
		if p.end {
			out.Flush()
			if !p.silent {
				h.Down(e.peer.Node, p.cause)
			}
			e.forget()
			return
		}
		e.ep.counts.received(1, prefixSize+len(p.bytes))
		h.Packet(out, e.peer.Node, p.bytes[:p.header:p.header], p.bytes[p.header:])
		scribble(p.bytes) // valid only during the call
	}
}

// scribble overwrites b with bytes that are easy to recognise.
func scribble(b []byte) {
	if len(b) > 0 {
		b[0] = 0xdb
	}
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

func (e *memoryEnd) crashed() bool {
	e.ep.net.mu.Lock()
	defer e.ep.net.mu.Unlock()
	return len(e.inbox) > 0 && e.inbox[0].silent
}

// wait waits until something has arrived and takes it.
func (e *memoryEnd) wait() memoryArrival {
	for {
		p, due, left := e.take()
		if due {
			return p
		}
		if left == 0 {
			<-e.wake
			continue
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-e.wake:
		}
		timer.Stop()
	}
}

// take takes what has arrived. If that is nothing, left is how long the next arrival still travels, 0
// if there is none.
func (e *memoryEnd) take() (p memoryArrival, due bool, left time.Duration) {
	n := e.ep.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(e.inbox) == 0 {
		return p, false, 0
	}
	if left = time.Until(e.inbox[0].at); left > 0 {
		return p, false, left
	}
	p = e.inbox[0]
	e.inbox = e.inbox[1:]
	e.size -= prefixSize + len(p.bytes)
	e.shut = e.shut || p.end
	return p, true, 0
}

// forget removes this end after its Down.
func (e *memoryEnd) forget() {
	n := e.ep.net
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(e.ep.ends, e.peer.Node)
	n.changeLocked()
}
