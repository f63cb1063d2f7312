package membership

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// memberlist believes what it reads: the first bytes of an exchange can make it allocate room for a million
// members, a small packet can unfold into 40 MiB, and values nested deeply enough overflow its stack. It
// therefore sees only what members of a space really send each other, which is a small part of what it
// understands. The numbers are those of its net.go.

const (
	kindPushPull = 6
	kindCompound = 7
	kindCompress = 9
	kindEncrypt  = 10
	kindCRC      = 12
	kindLabel    = 244
)

const (
	// maxExchange bounds an exchange, in bytes: more than all members of the largest space need.
	maxExchange = 1 << 20
	// maxStates bounds the members in it, those that memberlist still remembers as dead included.
	maxStates = 4096
	// maxValue bounds a name, an address or what else is a string.
	maxValue = 512
	// maxFields bounds the fields of a struct.
	maxFields = 16
)

var errForeign = errors.New("not what members send")

// screenExchange reads the first half of an exchange from c, checks it, and returns a connection on which
// it can be read again and the other half be written.
func screenExchange(c net.Conn) (net.Conn, error) {
	var read bytes.Buffer
	s := screen{bufio.NewReader(io.TeeReader(io.LimitReader(c, maxExchange), &read))}
	if kind, err := s.r.ReadByte(); err != nil || kind != kindPushPull {
		return nil, fmt.Errorf("exchange of kind %d: %w", kind, errors.Join(errForeign, err))
	}
	header, err := s.fields()
	if err == nil && (header["Nodes"] > maxStates || header["UserStateLen"] != 0) {
		err = errForeign
	}
	for i := uint64(0); err == nil && i < header["Nodes"]; i++ {
		_, err = s.fields()
	}
	if err != nil {
		return nil, fmt.Errorf("exchange of %d members: %w", header["Nodes"], err)
	}
	return &screened{c, &read}, nil
}

// screened is a connection of which everything there is to read has been read.
type screened struct {
	net.Conn
	read *bytes.Buffer
}

func (s *screened) Read(b []byte) (int, error) { return s.read.Read(b) }

// screen reads msgpack as structs without structs in them.
type screen struct{ r *bufio.Reader }

// fields reads a map from names to plain values and returns the numbers among them.
func (s screen) fields() (map[string]uint64, error) {
	code, err := s.r.ReadByte()
	if err != nil {
		return nil, err
	}
	if !msgpcode.IsFixedMap(code) || code&msgpcode.FixedMapMask > maxFields {
		return nil, errForeign
	}
	numbers := map[string]uint64{}
	for range code & msgpcode.FixedMapMask {
		_, name, err := s.value()
		if err != nil {
			return nil, err
		}
		n, _, err := s.value()
		if err != nil {
			return nil, err
		}
		numbers[name] = n
	}
	return numbers, nil
}

// value reads a number, a string, a boolean or nothing.
func (s screen) value() (n uint64, text string, err error) {
	code, err := s.r.ReadByte()
	switch {
	case err != nil:
		return 0, "", err
	case msgpcode.IsFixedNum(code):
		return uint64(int8(code)), "", nil
	case code == msgpcode.Nil || code == msgpcode.False || code == msgpcode.True:
		return 0, "", nil
	case code >= msgpcode.Uint8 && code <= msgpcode.Uint64:
		n, err = s.number(1 << (code - msgpcode.Uint8))
		return n, "", err
	case code >= msgpcode.Int8 && code <= msgpcode.Int64:
		n, err = s.number(1 << (code - msgpcode.Int8))
		return n, "", err
	}
	switch {
	case msgpcode.IsFixedString(code):
		n = uint64(code & msgpcode.FixedStrMask)
	case code == msgpcode.Str8 || code == msgpcode.Bin8:
		n, err = s.number(1)
	case code == msgpcode.Str16 || code == msgpcode.Bin16:
		n, err = s.number(2)
	default:
		return 0, "", errForeign
	}
	if err == nil && n > maxValue {
		err = errForeign
	}
	if err != nil {
		return 0, "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(s.r, b)
	return 0, string(b), err
}

// number reads a number of some bytes.
func (s screen) number(size int) (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(s.r, b[8-size:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// screenPacket reports whether a packet, or one of those that it is made of, may be passed on. What
// can't be taken apart may: memberlist drops it.
func screenPacket(b []byte) bool {
	if len(b) >= 5 && b[0] == kindCRC {
		b = b[5:]
	}
	if len(b) == 0 {
		return true
	}
	switch b[0] {
	case kindCompress, kindEncrypt, kindLabel, kindCRC:
		return false
	case kindCompound:
		return screenParts(b[1:])
	}
	return true
}

// screenParts checks the parts of a packet: their number, their lengths, themselves. None is made of parts.
func screenParts(b []byte) bool {
	if len(b) == 0 || len(b) < 1+2*int(b[0]) {
		return true
	}
	lengths, rest := b[1:1+2*int(b[0])], b[1+2*int(b[0]):]
	for ; len(lengths) > 0; lengths = lengths[2:] {
		n := int(binary.BigEndian.Uint16(lengths))
		if n > len(rest) {
			return true
		}
		if n > 0 && (rest[0] == kindCompound || !screenPacket(rest[:n])) {
			return false
		}
		rest = rest[n:]
	}
	return true
}
