package coherence

import (
	"fmt"

	"pagemesh/pagetable"
)

// Limits of what goes ahead of diffs and locks when races are looked for.
const (
	// MaxWhere is the length of the longest Stamp.Where, in bytes.
	MaxWhere = 512
	// maxMoments is the largest number of nodes that a vector time names: an epoch has no more members.
	maxMoments = MaxMembers
)

// LockTime is what goes ahead of a message about a lock, see Order.
type LockTime struct {
	Epoch  uint64
	Lock   uint64
	Before VectorTime
}

// EncodeLockTime returns the wire form of t after a prefix of the caller's: epoch, lock, vector time. It is valid
// until the next Encode.
func (c *Codec) EncodeLockTime(prefix byte, t LockTime) []byte {
	c.out.Reset()
	c.out.WriteByte(prefix)
	// Writes to a bytes.Buffer can't fail.
	_ = c.enc.EncodeUint(t.Epoch)
	_ = c.enc.EncodeUint(t.Lock)
	c.encodeTime(t.Before)
	return c.out.Bytes()
}

// DecodeLockTime reads a LockTime that fills b exactly.
func (c *Codec) DecodeLockTime(b []byte) (t LockTime, err error) {
	c.in.Reset(b)
	if t.Epoch, err = c.dec.DecodeUint64(); err == nil {
		t.Lock, err = c.dec.DecodeUint64()
	}
	if err != nil {
		return LockTime{}, fmt.Errorf("coherence: time of a lock: %w", err)
	}
	t.Before, err = c.decodeTime()
	return t, err
}

// EncodeStamped returns the wire form of a Flush with its Stamp, whose moment it is: the message, then epoch, place
// and vector time of the stamp. It is valid until the next Encode.
func (c *Codec) EncodeStamped(prefix byte, m Message, s Stamp) []byte {
	c.out.Reset()
	c.out.WriteByte(prefix)
	c.encodeMessage(m)
	_ = c.enc.EncodeUint(s.Epoch)
	_ = c.enc.EncodeString(s.Where[:min(len(s.Where), MaxWhere)])
	c.encodeTime(s.Before)
	return c.out.Bytes()
}

// DecodeStamped reads a Flush of a node with its Stamp that fill b exactly.
func (c *Codec) DecodeStamped(from pagetable.NodeID, b []byte) (m Message, s Stamp, err error) {
	c.in.Reset(b)
	if m, err = c.decodeMessage(); err != nil {
		return m, s, err
	}
	if m.Kind != Flush || m.Txn == 0 {
		return m, s, fmt.Errorf("coherence: a stamp comes with %v", m)
	}
	s.Moment = Moment{from, m.Txn}
	if s.Epoch, err = c.dec.DecodeUint64(); err != nil {
		return m, s, fmt.Errorf("coherence: stamp: %w", err)
	}
	n, err := c.dec.DecodeBytesLen()
	if err != nil || n < 0 || n > MaxWhere || n > c.in.Len() {
		return m, s, fmt.Errorf("coherence: stamp with a place of %d bytes, at most %d are allowed (%v)", n, MaxWhere, err)
	}
	where := make([]byte, n)
	if err := c.dec.ReadFull(where); err != nil {
		return m, s, fmt.Errorf("coherence: stamp: %w", err)
	}
	s.Where = string(where)
	s.Before, err = c.decodeTime()
	return m, s, err
}

func (c *Codec) encodeTime(t VectorTime) {
	_ = c.enc.EncodeArrayLen(2 * len(t))
	for _, m := range t {
		_ = c.enc.EncodeUint(uint64(m.Node))
		_ = c.enc.EncodeUint(uint64(m.Interval))
	}
}

// decodeTime reads a vector time that fills what is left. Each number takes a byte at least.
func (c *Codec) decodeTime() (VectorTime, error) {
	n, err := c.dec.DecodeArrayLen()
	if err != nil || n < 0 || n%2 != 0 || n > 2*maxMoments || n > c.in.Len() {
		return nil, fmt.Errorf("coherence: a vector time is an array of pairs, got %d numbers in %d bytes (%v)", n, c.in.Len(), err)
	}
	t := make(VectorTime, 0, n/2)
	for range n / 2 {
		node, err1 := c.dec.DecodeUint64()
		interval, err2 := c.dec.DecodeUint64()
		m := Moment{pagetable.NodeID(node), uint32(interval)}
		switch {
		case err1 != nil || err2 != nil:
			return nil, fmt.Errorf("coherence: vector time: %v, %v", err1, err2)
		case node > 1<<32-1 || interval > 1<<32-1:
			return nil, fmt.Errorf("coherence: node %d or interval %d has more than 32 bits", node, interval)
		case len(t) > 0 && t[len(t)-1].Node >= m.Node:
			return nil, fmt.Errorf("coherence: vector time names %v after %v", m.Node, t[len(t)-1].Node)
		}
		t = append(t, m)
	}
	if c.in.Len() != 0 {
		return nil, fmt.Errorf("coherence: %d bytes after a vector time", c.in.Len())
	}
	return t, nil
}
