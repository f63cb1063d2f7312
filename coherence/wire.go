package coherence

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/pagetable"
)

// messageFields is the length of the msgpack array that a message is on the wire: kind, page, epoch,
// access, requester, txn, content, version, site.
const messageFields = 9

// Codec writes and reads messages in their wire form. It reuses its memory, so it is for one
// goroutine. Use NewCodec.
type Codec struct {
	out bytes.Buffer
	enc *msgpack.Encoder
	in  bytes.Reader
	dec *msgpack.Decoder
}

// NewCodec returns a codec.
func NewCodec() *Codec {
	c := &Codec{}
	c.enc = msgpack.NewEncoder(&c.out)
	c.dec = msgpack.NewDecoder(&c.in)
	return c
}

// Encode returns m's wire form after a prefix of the caller's. It is valid until the next Encode.
func (c *Codec) Encode(prefix byte, m Message) []byte {
	c.out.Reset()
	c.out.WriteByte(prefix)
	c.encodeMessage(m)
	return c.out.Bytes()
}

func (c *Codec) encodeMessage(m Message) {
	// Writes to a bytes.Buffer can't fail.
	_ = c.enc.EncodeArrayLen(messageFields)
	for _, v := range [messageFields]uint64{
		uint64(m.Kind), uint64(m.Page), m.Epoch, uint64(m.Access), uint64(m.Requester), uint64(m.Txn),
		uint64(m.Content), m.Version, uint64(m.Site),
	} {
		_ = c.enc.EncodeUint(v)
	}
}

// Decode reads a message that fills b exactly. The error names the field that is out of range. It
// allocates nothing, whatever b holds.
func (c *Codec) Decode(b []byte) (Message, error) {
	c.in.Reset(b)
	m, err := c.decodeMessage()
	if err == nil && c.in.Len() != 0 {
		err = fmt.Errorf("coherence: %d bytes after a message", c.in.Len())
	}
	return m, err
}

func (c *Codec) decodeMessage() (Message, error) {
	n, err := c.dec.DecodeArrayLen()
	if err != nil || n != messageFields {
		return Message{}, fmt.Errorf("coherence: a message is an array of %d, got %d (%v)", messageFields, n, err)
	}
	var f [messageFields]uint64
	for i := range f {
		if f[i], err = c.dec.DecodeUint64(); err != nil {
			return Message{}, fmt.Errorf("coherence: message field %d: %w", i, err)
		}
	}
	return fromFields(f)
}

func fromFields(f [messageFields]uint64) (Message, error) {
	switch {
	case f[0] == 0 || f[0] >= uint64(kindEnd):
		return Message{}, fmt.Errorf("coherence: message kind %d is unknown", f[0])
	case f[3] > uint64(pagetable.WriteAccess):
		return Message{}, fmt.Errorf("coherence: access %d is unknown", f[3])
	case f[4] > 1<<32-1 || f[5] > 1<<32-1 || f[8] > 1<<32-1:
		return Message{}, fmt.Errorf("coherence: node %d, transaction %d or site %d has more than 32 bits", f[4], f[5], f[8])
	case f[6] >= uint64(contentEnd):
		return Message{}, fmt.Errorf("coherence: content %d is unknown", f[6])
	}
	return Message{
		Kind: Kind(f[0]), Page: pagetable.PageID(f[1]), Epoch: f[2], Access: pagetable.Access(f[3]),
		Requester: pagetable.NodeID(f[4]), Txn: uint32(f[5]), Content: Content(f[6]),
		Version: f[7], Site: uint32(f[8]),
	}, nil
}
