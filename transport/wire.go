package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"pagemesh/pagetable"
)

// The handshake's wire form: each side first sends the magic, then frames: a length of two bytes,
// big-endian, and that many bytes of msgpack, one array whose first element is the frame's kind.
// Magic, framing, the refusal and the first two elements of the hello never change, so that two builds
// of different versions can tell each other so.
const (
	magic    = "PAGEMESH"
	maxFrame = 1 << 10
	macSize  = 32 // of a nonce and of an HMAC-SHA256
	maxAddr  = 256
	maxText  = 512
)

type frameKind uint8

const (
	frameHello     frameKind = iota + 1 // dialer: who I am, whom I want
	frameChallenge                      // listener: a nonce
	frameProof                          // dialer: I know the secret
	frameWelcome                        // listener: so do I, and this is who I am
	frameRefusal                        // listener: no, and why
)

type (
	nonce [macSize]byte
	mac   [macSize]byte
)

// hello opens the handshake.
type hello struct {
	version uint32
	cluster string
	purpose Purpose
	self    Identity
	addr    string           // where the dialer itself can be dialed
	expect  pagetable.NodeID // the node that the dialer wants to reach, 0 for any
	nonce   nonce
}

// welcome ends a handshake that succeeded.
type welcome struct {
	self  Identity
	proof mac
}

var errFrame = errors.New("malformed handshake frame")

func frameError(what string) error { return fmt.Errorf("%w: %s", errFrame, what) }

// encodeFrame returns the frame's bytes with its length in front.
func encodeFrame(kind frameKind, elements int, fill func(e *msgpack.Encoder) error) ([]byte, error) {
	var b bytes.Buffer
	b.Write([]byte{0, 0})
	e := msgpack.NewEncoder(&b)
	err := errors.Join(e.EncodeArrayLen(elements+1), e.EncodeUint(uint64(kind)))
	if fill != nil {
		err = errors.Join(err, fill(e))
	}
	n := b.Len() - 2
	if err == nil && n > maxFrame {
		err = frameError("too long")
	}
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(b.Bytes(), uint16(n))
	return b.Bytes(), nil
}

func (h hello) encode() ([]byte, error) {
	return encodeFrame(frameHello, 8, func(e *msgpack.Encoder) error {
		return errors.Join(
			e.EncodeUint(uint64(h.version)),
			e.EncodeString(h.cluster),
			e.EncodeUint(uint64(h.purpose)),
			e.EncodeUint(uint64(h.self.Node)),
			e.EncodeUint(h.self.Incarnation),
			e.EncodeString(h.addr),
			e.EncodeUint(uint64(h.expect)),
			e.EncodeBytes(h.nonce[:]))
	})
}

func encodeChallenge(n nonce) ([]byte, error) {
	return encodeFrame(frameChallenge, 1, func(e *msgpack.Encoder) error { return e.EncodeBytes(n[:]) })
}

func encodeProof(m mac) ([]byte, error) {
	return encodeFrame(frameProof, 1, func(e *msgpack.Encoder) error { return e.EncodeBytes(m[:]) })
}

func (w welcome) encode() ([]byte, error) {
	return encodeFrame(frameWelcome, 3, func(e *msgpack.Encoder) error {
		return errors.Join(
			e.EncodeUint(uint64(w.self.Node)),
			e.EncodeUint(w.self.Incarnation),
			e.EncodeBytes(w.proof[:]))
	})
}

func (r *refusal) encode() ([]byte, error) {
	text := r.text[:min(len(r.text), maxText)]
	return encodeFrame(frameRefusal, 2, func(e *msgpack.Encoder) error {
		return errors.Join(e.EncodeUint(uint64(r.code)), e.EncodeString(text))
	})
}

// frame decodes the payload of one frame. The first failure sticks; later reads return zero values.
type frame struct {
	r    *bytes.Reader
	d    *msgpack.Decoder
	left int // elements of the array not yet read
	err  error
}

// openFrame starts decoding a payload and returns the frame's kind.
func openFrame(payload []byte) (*frame, frameKind) {
	f := &frame{r: bytes.NewReader(payload)}
	f.d = msgpack.NewDecoder(f.r)
	if len(payload) == 0 || payload[0]&^byte(msgpcode.FixedArrayMask) != byte(msgpcode.FixedArrayLow) {
		f.fail("not a short array")
		return f, 0
	}
	n, err := f.d.DecodeArrayLen()
	if err != nil {
		f.fail("array length")
	}
	f.left = n
	return f, frameKind(f.uint(math.MaxUint8))
}

func (f *frame) fail(what string) {
	if f.err == nil {
		f.err = frameError(what)
	}
}

// element accounts for one element and returns its type code.
func (f *frame) element() byte {
	if f.left--; f.left < 0 {
		f.fail("too few elements")
	}
	if f.err != nil {
		return 0
	}
	c, err := f.d.PeekCode()
	if err != nil {
		f.fail("truncated")
	}
	return c
}

func (f *frame) uint(most uint64) uint64 {
	c := f.element()
	if f.err == nil && c > msgpcode.PosFixedNumHigh && (c < msgpcode.Uint8 || c > msgpcode.Uint64) {
		f.fail("not an unsigned integer")
	}
	if f.err != nil {
		return 0
	}
	v, err := f.d.DecodeUint64()
	if err != nil {
		f.fail("truncated integer")
		return 0
	}
	if v > most {
		f.fail("integer out of range")
		return 0
	}
	return v
}

// bytes reads a string or byte string of at least least and at most most bytes.
func (f *frame) bytes(least, most int) []byte {
	f.element()
	if f.err != nil {
		return nil
	}
	n, err := f.d.DecodeBytesLen()
	if err != nil || n < least || n > most || n > f.r.Len() {
		f.fail("string length")
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(f.r, b); err != nil {
		f.fail("truncated string")
	}
	return b
}

// mac reads exactly macSize bytes: a nonce or an HMAC.
func (f *frame) mac() (m [macSize]byte) {
	copy(m[:], f.bytes(macSize, macSize))
	return m
}

func (f *frame) identity() (id Identity) {
	id.Node = pagetable.NodeID(f.uint(math.MaxUint32))
	id.Incarnation = f.uint(math.MaxUint64)
	return id
}

// end reports the first failure, or that something is left over.
func (f *frame) end() error {
	if f.err == nil && (f.left != 0 || f.r.Len() != 0) {
		f.fail("trailing bytes")
	}
	return f.err
}

// decodeHello decodes a hello. If its version is not the given one the rest is not looked at: it may
// mean anything.
func decodeHello(payload []byte, version uint32) (h hello, err error) {
	f, kind := openFrame(payload)
	if f.err == nil && kind != frameHello {
		f.fail("not a hello")
	}
	h.version = uint32(f.uint(math.MaxUint32))
	if f.err != nil || h.version != version {
		return h, f.err
	}
	h.cluster = string(f.bytes(0, maxCluster))
	h.purpose = Purpose(f.uint(uint64(PurposeControl)))
	h.self = f.identity()
	h.addr = string(f.bytes(0, maxAddr))
	h.expect = pagetable.NodeID(f.uint(math.MaxUint32))
	h.nonce = f.mac()
	if f.err == nil && h.purpose < PurposePeer {
		f.fail("purpose")
	}
	return h, f.end()
}

func decodeProof(payload []byte) (mac, error) {
	f, kind := openFrame(payload)
	if f.err == nil && kind != frameProof {
		f.fail("not a proof")
	}
	m := f.mac()
	return m, f.end()
}

// decodeChallenge decodes the listener's answer to a hello: a challenge or a refusal, which is an error.
func decodeChallenge(payload []byte) (nonce, error) {
	f, kind := openFrame(payload)
	if f.err == nil && kind == frameRefusal {
		return nonce{}, decodeRefusal(f)
	}
	if f.err == nil && kind != frameChallenge {
		f.fail("not a challenge")
	}
	n := f.mac()
	return n, f.end()
}

// decodeWelcome decodes the listener's answer to a proof: a welcome or a refusal, which is an error.
func decodeWelcome(payload []byte) (w welcome, err error) {
	f, kind := openFrame(payload)
	if f.err == nil && kind == frameRefusal {
		return w, decodeRefusal(f)
	}
	if f.err == nil && kind != frameWelcome {
		f.fail("not a welcome")
	}
	w.self = f.identity()
	w.proof = f.mac()
	return w, f.end()
}

// decodeRefusal decodes the rest of a refusal. It always returns an error.
func decodeRefusal(f *frame) error {
	code := refusalCode(f.uint(math.MaxUint8))
	text := f.bytes(0, maxText)
	if err := f.end(); err != nil {
		return err
	}
	return &refusal{code: code, text: printable(text)}
}
