package dsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"pagemesh/pagetable/vm"
)

// attachWriteTime bounds one write between a program and its node: who does not read for so long has
// stopped.
const attachWriteTime = 10 * time.Second

// maxUntaken bounds the descriptors that wait for their frame.
const maxUntaken = 8

// attachConn carries the frames between a program and its node, and the descriptors that come with
// some of them. One goroutine reads; any may write.
type attachConn struct {
	conn       *net.UnixConn
	most       int // bytes of the longest frame that may come
	buf        []byte
	start, end int   // what was read and not yet returned
	fds        []int // came and not yet taken, in order
	wmu        sync.Mutex
}

func newAttachConn(conn *net.UnixConn, most int) *attachConn {
	return &attachConn{conn: conn, most: most, buf: make([]byte, 4<<10)}
}

// next returns the next frame without its length, valid until the next call. A descriptor that belongs
// to it has come by then.
func (c *attachConn) next() ([]byte, error) {
	for {
		need := 4
		if have := c.end - c.start; have >= 4 {
			n := int64(binary.BigEndian.Uint32(c.buf[c.start:]))
			if n > int64(c.most) {
				return nil, fmt.Errorf("a frame of %d bytes, at most %d are allowed", n, c.most)
			}
			if need += int(n); have >= need {
				frame := c.buf[c.start+4 : c.start+need]
				c.start += need
				return frame, nil
			}
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads once, behind what is there. The buffer grows with what has come, not with what a length
// announces.
func (c *attachConn) fill() error {
	buf := c.buf
	if c.end-c.start == len(buf) {
		buf = make([]byte, 2*len(buf))
	}
	c.start, c.end = 0, copy(buf, c.buf[c.start:c.end])
	c.buf = buf
	n, fds, err := vm.ReceiveDescriptors(c.conn, buf[c.end:])
	c.fds = append(c.fds, fds...)
	c.end += n
	switch {
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	case len(c.fds) > maxUntaken:
		return fmt.Errorf("%d descriptors came that no frame belongs to", len(c.fds))
	}
	return nil
}

// takeDescriptor returns the first descriptor that came and was not taken, which is now the caller's.
func (c *attachConn) takeDescriptor() (int, error) {
	if len(c.fds) == 0 {
		return 0, errors.New("the descriptor that belongs to this frame is missing")
	}
	fd := c.fds[0]
	c.fds = c.fds[1:]
	return fd, nil
}

// write sends a frame, and copies of descriptors with it.
func (c *attachConn) write(frame []byte, fds ...int) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(attachWriteTime)); err != nil {
		return err
	}
	if len(fds) > 0 {
		// The descriptors travel with the first byte; the rest may come in parts.
		if err := vm.SendDescriptors(c.conn, frame[:1], fds...); err != nil {
			return err
		}
		frame = frame[1:]
	}
	_, err := c.conn.Write(frame)
	return err
}

// writeSoon sends a frame and doesn't wait: what the other end has no room for is sent by a goroutine of wg. If
// that fails, failed is told.
func (c *attachConn) writeSoon(frame []byte, wg *sync.WaitGroup, failed func(error)) {
	if c.wmu.TryLock() {
		n, err := vm.TrySend(c.conn, frame)
		c.wmu.Unlock()
		if err != nil {
			failed(err)
		}
		if n == len(frame) || err != nil {
			return
		}
	}
	wg.Go(func() {
		if err := c.write(frame); err != nil {
			failed(err)
		}
	})
}

// dropDescriptors closes what came and nobody took. It is for the goroutine that reads.
func (c *attachConn) dropDescriptors() {
	for _, fd := range c.fds {
		_ = os.NewFile(uintptr(fd), "unwanted").Close()
	}
	c.fds = nil
}
