package trace

import (
	"bytes"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/pagetable"
)

// Bounds of a chunk on the wire and in a file. Who has more to tell sends several.
const (
	MaxEvents = 1 << 13
	MaxNames  = 1 << 12 // of each of the other lists
	MaxText   = 1 << 10 // bytes of a name; longer ones are cut
	// MaxChunk is the length of the longest chunk in bytes.
	MaxChunk = MaxEvents*eventBytes + 3*MaxNames*(2*MaxText+64)

	eventFields = 15
	eventBytes  = 9 * eventFields // at most
)

// Codec writes and reads chunks in their wire form, and reuses its memory. It is for one goroutine. Use
// NewCodec.
type Codec struct {
	out bytes.Buffer
	enc *msgpack.Encoder
	in  bytes.Reader
	dec *msgpack.Decoder
	err error // the first one of a Decode
}

// NewCodec returns a codec.
func NewCodec() *Codec {
	c := &Codec{}
	c.enc, c.dec = msgpack.NewEncoder(&c.out), msgpack.NewDecoder(&c.in)
	return c
}

// Encode returns the wire form of a chunk: Until, then its lists, each with its length before it. It is
// valid until the next Encode. Preconditions: no list is longer than it may be.
func (c *Codec) Encode(ch *Chunk) []byte {
	c.out.Reset()
	c.numbers(zigzag(ch.Until))
	c.list(len(ch.Clocks))
	for _, k := range ch.Clocks {
		c.numbers(uint64(k.Node), zigzag(k.Ahead), uint64(k.Error))
	}
	c.list(len(ch.Regions))
	for _, r := range ch.Regions {
		c.numbers(uint64(r.ID), r.Size, uint64(r.PageSize), uint64(r.Consistency))
		c.text(r.Name)
		c.text(r.Layout)
	}
	c.list(len(ch.Sites))
	for _, s := range ch.Sites {
		c.numbers(uint64(s.Node), uint64(s.ID))
		c.text(s.Line)
		c.text(s.Function)
	}
	c.list(len(ch.Locks))
	for _, l := range ch.Locks {
		c.numbers(uint64(l.ID))
		c.text(l.Text)
	}
	c.list(len(ch.Lost))
	for _, l := range ch.Lost {
		c.numbers(uint64(l.Node), l.Events)
	}
	c.list(len(ch.Events))
	last := int64(0)
	for i := range ch.Events {
		f := ch.Events[i].fields(last)
		c.numbers(f[:]...)
		last = ch.Events[i].Time
	}
	return c.out.Bytes()
}

// fields returns the event as numbers. Its time is told as the difference to that of the event before.
func (e *Event) fields(last int64) [eventFields]uint64 {
	kind := uint64(e.Kind) | uint64(e.Access)<<8 | uint64(e.Held)<<16 | uint64(e.Cause.Access)<<24
	if e.Guessed {
		kind |= 1 << 32
	}
	return [eventFields]uint64{
		kind, zigzag(e.Time - last), uint64(e.Page), uint64(e.Node), uint64(e.Other), zigzag(e.Wait), e.Txn, e.Words,
		uint64(e.Bytes), uint64(e.Changed), uint64(e.Offset), uint64(e.Length), uint64(e.Site),
		uint64(e.Cause.Node), uint64(e.Cause.Site),
	}
}

// fromFields is the reverse of fields.
func fromFields(f *[eventFields]uint64, last int64) (Event, error) {
	for _, i := range [...]int{3, 4, 8, 9, 10, 11, 12, 13, 14} {
		if f[i] > math.MaxUint32 {
			return Event{}, fmt.Errorf("field %d of an event is %d, which has more than 32 bits", i, f[i])
		}
	}
	e := Event{
		Time: last + unzigzag(f[1]), Page: pagetable.PageID(f[2]), Node: pagetable.NodeID(f[3]), Other: pagetable.NodeID(f[4]),
		Wait: unzigzag(f[5]), Txn: f[6], Words: f[7], Bytes: uint32(f[8]), Changed: uint32(f[9]), Offset: uint32(f[10]),
		Length: uint32(f[11]), Site: uint32(f[12]), Kind: Kind(f[0]), Access: pagetable.Access(f[0] >> 8),
		Held: pagetable.Access(f[0] >> 16), Guessed: f[0]>>32 != 0,
		Cause: Cause{pagetable.NodeID(f[13]), uint32(f[14]), pagetable.Access(f[0] >> 24)},
	}
	if !e.Kind.Valid() || !e.Access.Valid() || !e.Held.Valid() || !e.Cause.Access.Valid() || f[0]>>33 != 0 {
		return Event{}, fmt.Errorf("an event of kind %#x is unknown", f[0])
	}
	return e, nil
}

// zigzag maps small numbers of either sign to small numbers.
func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// Writes to a bytes.Buffer can't fail.

func (c *Codec) list(n int) { _ = c.enc.EncodeArrayLen(n) }

func (c *Codec) numbers(values ...uint64) {
	for _, v := range values {
		_ = c.enc.EncodeUint(v)
	}
}

func (c *Codec) text(s string) { _ = c.enc.EncodeString(s[:min(len(s), MaxText)]) }

// Decode reads a chunk that fills b exactly. What it allocates is bounded by b's length. The error says what is
// out of range.
func (c *Codec) Decode(b []byte) (Chunk, error) {
	c.in.Reset(b)
	c.err = nil
	ch := Chunk{
		Until:   unzigzag(c.number(math.MaxUint64)),
		Clocks:  readList(c, MaxNames, 3, (*Codec).clock),
		Regions: readList(c, MaxNames, 6, (*Codec).region),
		Sites:   readList(c, MaxNames, 4, (*Codec).site),
		Locks:   readList(c, MaxNames, 2, (*Codec).lock),
		Lost:    readList(c, MaxNames, 2, (*Codec).loss),
	}
	last := int64(0)
	ch.Events = readList(c, MaxEvents, eventFields, func(c *Codec) Event {
		e := c.event(last)
		last = e.Time
		return e
	})
	if c.err == nil && c.in.Len() > 0 {
		c.fail("%d bytes after it", c.in.Len())
	}
	if c.err != nil {
		return Chunk{}, fmt.Errorf("trace: chunk: %w", c.err)
	}
	return ch, nil
}

// readList reads at most most values, each of which takes least bytes at least.
func readList[T any](c *Codec, most, least int, read func(*Codec) T) []T {
	if c.err != nil {
		return nil
	}
	n, err := c.dec.DecodeArrayLen()
	if err != nil || n < 0 || n > most || n > c.in.Len()/least {
		c.fail("a list of %d, at most %d are allowed and %d bytes are left (%v)", n, most, c.in.Len(), err)
		return nil
	}
	if n == 0 {
		return nil
	}
	list := make([]T, 0, n)
	for range n {
		v := read(c)
		if c.err != nil {
			return nil
		}
		list = append(list, v)
	}
	return list
}

func (c *Codec) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// number reads a number up to most.
func (c *Codec) number(most uint64) uint64 {
	if c.err != nil {
		return 0
	}
	v, err := c.dec.DecodeUint64()
	if err != nil || v > most {
		c.fail("the number %d, at most %d is allowed (%v)", v, most, err)
		return 0
	}
	return v
}

func (c *Codec) readText() string {
	if c.err != nil {
		return ""
	}
	n, err := c.dec.DecodeBytesLen()
	if err != nil || n < 0 || n > min(MaxText, c.in.Len()) {
		c.fail("a text of %d bytes, at most %d are allowed and %d are left (%v)", n, MaxText, c.in.Len(), err)
		return ""
	}
	b := make([]byte, n)
	if err := c.dec.ReadFull(b); err != nil {
		c.fail("a text: %w", err)
	}
	return string(b)
}

func (c *Codec) node() pagetable.NodeID { return pagetable.NodeID(c.number(math.MaxUint32)) }

func (c *Codec) clock() Clock {
	return Clock{c.node(), unzigzag(c.number(math.MaxUint64)), int64(c.number(math.MaxInt64))}
}

func (c *Codec) region() Region {
	r := Region{
		ID: pagetable.RegionID(c.number(uint64(pagetable.MaxRegionID))), Size: c.number(pagetable.MaxRegionSize),
		PageSize: int(c.number(pagetable.MaxPageSize)), Consistency: pagetable.Consistency(c.number(math.MaxUint8)),
		Name: c.readText(), Layout: c.readText(),
	}
	if !r.Consistency.Valid() {
		c.fail("a region of %v consistency", r.Consistency)
	}
	return r
}

func (c *Codec) site() Site {
	return Site{c.node(), uint32(c.number(math.MaxUint32)), c.readText(), c.readText()}
}

func (c *Codec) lock() Name {
	return Name{pagetable.PageID(c.number(math.MaxUint64)), c.readText()}
}

func (c *Codec) loss() Loss { return Loss{c.node(), c.number(math.MaxUint64)} }

func (c *Codec) event(last int64) Event {
	var f [eventFields]uint64
	for i := range f {
		f[i] = c.number(math.MaxUint64)
	}
	if c.err != nil {
		return Event{}
	}
	e, err := fromFields(&f, last)
	if err != nil {
		c.fail("%w", err)
	}
	return e
}
