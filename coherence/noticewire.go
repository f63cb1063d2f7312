package coherence

import (
	"fmt"

	"pagemesh/pagetable"
)

// MaxNotices is the largest number of notices in a packet. Who has more to tell sends several.
const MaxNotices = 8192

// EncodeNotices returns the wire form of at most MaxNotices notices after a prefix of the caller's: an array
// of pages and versions in turn. It is valid until the next Encode.
func (c *Codec) EncodeNotices(prefix byte, ns []Notice) []byte {
	c.out.Reset()
	c.out.WriteByte(prefix)
	// Writes to a bytes.Buffer can't fail.
	_ = c.enc.EncodeArrayLen(2 * len(ns))
	for _, n := range ns {
		_ = c.enc.EncodeUint(uint64(n.Page))
		_ = c.enc.EncodeUint(n.Version)
	}
	return c.out.Bytes()
}

// DecodeNotices appends to dst the notices that fill b exactly. Each takes two bytes of b at least.
func (c *Codec) DecodeNotices(dst []Notice, b []byte) ([]Notice, error) {
	c.in.Reset(b)
	n, err := c.dec.DecodeArrayLen()
	if err != nil || n < 0 || n > 2*MaxNotices || n%2 != 0 || n > c.in.Len() {
		return dst, fmt.Errorf("coherence: notices are an array of pairs, at most %d, got %d numbers in %d bytes (%v)",
			MaxNotices, n, c.in.Len(), err)
	}
	for range n / 2 {
		page, err1 := c.dec.DecodeUint64()
		version, err2 := c.dec.DecodeUint64()
		if err1 != nil || err2 != nil || version == 0 {
			return dst, fmt.Errorf("coherence: notice of version %d (%v, %v)", version, err1, err2)
		}
		dst = append(dst, Notice{pagetable.PageID(page), version})
	}
	if c.in.Len() != 0 {
		return dst, fmt.Errorf("coherence: %d bytes after notices", c.in.Len())
	}
	return dst, nil
}
