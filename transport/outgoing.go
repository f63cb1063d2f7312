package transport

import (
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// maxRounds is how many buffers one flush writes for others before the background writer takes over.
	maxRounds = 4
	// drainTimeout bounds how long an ending connection tries to get rid of what is queued, and to see
	// the other end's goodbye.
	drainTimeout = 2 * time.Second
)

// outgoing is the queue of bytes to one peer and the right to write to its connection. That right has
// at most one holder: at first the handshake, then a goroutine in flush, or the background writer, or
// nobody. Two buffers swap
// between the queue and the holder, so that nothing is allocated once they have grown.
type outgoing struct {
	conn    net.Conn
	limit   int           // of the bytes that may wait, see Config.maxQueued
	attempt attempter     // one write that never blocks
	wake    chan struct{} // one token: the background writer holds the right to write
	stop    chan struct{} // closed when the connection is over

	mu       sync.Mutex
	pending  []byte // sent and not yet taken by the holder
	spare    []byte // the other buffer, nil while the holder has it
	rest     []byte // left to the background writer when the right was handed over,
	written  int    // of which this many bytes are written
	taken    int    // bytes that the holder took and may not have written yet
	held     bool   // somebody holds the right to write
	again    bool   // flush was called meanwhile: pending is to be written before the right is given up
	draining bool   // Disconnect was called: nothing more is accepted
	quiet    int    // see recycle
	err      error  // why nothing can be sent any more, nil while the connection works
}

// send queues a packet.
func (o *outgoing) send(header, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil || o.draining {
		return ErrNoPeer
	}
	if len(o.pending)+o.taken+prefixSize+len(header)+len(body) > o.limit {
		o.failLocked(fmt.Errorf("%d MiB are waiting to be sent and the node doesn't read them", o.limit>>20))
		o.conn.Close()
		return ErrNoPeer
	}
	o.pending = appendPacket(o.pending, header, body)
	return nil
}

// flush writes what is queued as far as the kernel takes it at once, and leaves the rest to the
// background writer. If somebody else is writing, that one writes this too.
func (o *outgoing) flush() { o.write(o.acquire()) }

// begin ends the time in which the handshake has the right to write.
func (o *outgoing) begin() { o.write(o.release(nil)) }

func (o *outgoing) write(buf []byte) {
	for round := 1; buf != nil; round++ {
		n, err := o.attempt.write(buf)
		if err != nil {
			o.broken(err)
			return
		}
		if n < len(buf) || round == maxRounds {
			o.handOver(buf, n)
			return
		}
		buf = o.release(buf)
	}
}

// acquire takes the right to write and what is queued. It returns nil if there is nothing to do or
// somebody else will do it.
func (o *outgoing) acquire() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held {
		o.again = true
		return nil
	}
	if len(o.pending) == 0 || o.err != nil || o.draining {
		return nil
	}
	o.held = true
	return o.takeLocked()
}

// takeLocked swaps the buffers and returns the one to write.
func (o *outgoing) takeLocked() []byte {
	buf := o.pending
	o.pending, o.spare = o.spare[:0], nil
	o.taken, o.again = len(buf), false
	return buf
}

// release gives back a buffer that was written. It returns the next one if there is more to write, or
// nil after giving up the right to write.
func (o *outgoing) release(buf []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if next := o.recycleLocked(buf); next != nil {
		return next
	}
	if o.held = false; o.draining && o.err == nil {
		o.wakeLocked(nil, 0) // for the goodbye
	}
	return nil
}

// recycleLocked takes back a buffer that was written and returns the next one if there is more to write.
// The buffer is kept for the next swap, unless it is large and was of no use as such for a while.
func (o *outgoing) recycleLocked(buf []byte) []byte {
	if cap(buf) > bufferSize && len(buf) <= bufferSize {
		if o.quiet++; o.quiet > quietUses {
			o.quiet, buf = 0, nil
		}
	} else {
		o.quiet = 0
	}
	o.spare, o.taken = buf[:0], 0
	if (o.again || o.draining) && len(o.pending) > 0 && o.err == nil {
		return o.takeLocked()
	}
	return nil
}

// handOver passes the right to write to the background writer, with a buffer of which n bytes are
// written.
func (o *outgoing) handOver(buf []byte, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wakeLocked(buf, n)
}

func (o *outgoing) wakeLocked(buf []byte, n int) {
	o.rest, o.written, o.taken, o.held = buf, n, len(buf)-n, true
	o.wake <- struct{}{} // never blocks: there is one token, for the one holder
}

// drain refuses further packets and has the background writer send what is queued and then say
// goodbye by closing the sending side.
func (o *outgoing) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.draining || o.err != nil {
		return
	}
	o.draining = true
	o.conn.SetDeadline(time.Now().Add(drainTimeout))
	if !o.held {
		o.wakeLocked(nil, 0)
	}
}

// run is the background writer. It returns when stop is closed.
func (o *outgoing) run() {
	for {
		select {
		case <-o.stop:
			return
		case <-o.wake:
		}
		if err := o.writeRest(); err != nil {
			o.broken(err)
		}
	}
}

// writeRest writes what was handed over and what was queued meanwhile, and says goodbye if that was all
// there will be.
func (o *outgoing) writeRest() error {
	o.mu.Lock()
	buf, n := o.rest, o.written
	o.rest = nil
	o.mu.Unlock()
	for {
		if n < len(buf) {
			if _, err := o.conn.Write(buf[n:]); err != nil {
				return err
			}
		}
		next, bye := o.releaseBackground(buf)
		if bye {
			return closeWrite(o.conn)
		}
		if buf, n = next, 0; buf == nil {
			return nil
		}
	}
}

// releaseBackground is release for the background writer. bye means that it is to close the sending
// side; it keeps the right to write then, for there is nothing to write any more.
func (o *outgoing) releaseBackground(buf []byte) (next []byte, bye bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if next = o.recycleLocked(buf); next != nil {
		return next, false
	}
	o.held = o.draining
	return nil, o.draining
}

func closeWrite(conn net.Conn) error {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// broken records that writing failed. What the peer sent before is still to be read, but not for long.
func (o *outgoing) broken(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && !o.draining {
		o.conn.SetReadDeadline(time.Now().Add(drainTimeout))
	}
	o.failLocked(fmt.Errorf("writing to the node failed: %w", err))
}

// failLocked ends sending; the first reason counts.
func (o *outgoing) failLocked(err error) {
	if o.err == nil {
		o.err = err
	}
	o.pending, o.spare = nil, nil
}

// end makes every further send fail and returns why the connection ended, nil after drain. readErr is
// how reading ended.
func (o *outgoing) end(readErr error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failLocked(readErr)
	if o.draining {
		return nil
	}
	return o.err
}

// open reports whether packets can still be sent.
func (o *outgoing) open() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err == nil && !o.draining
}

// isDraining reports whether drain was called.
func (o *outgoing) isDraining() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.draining
}
