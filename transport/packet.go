package transport

import (
	"encoding/binary"
	"fmt"
)

// A packet on the wire: the header's length and the body's length, four bytes each, big-endian, then
// the header, then the body.
const prefixSize = 8

// packet is one packet in a read buffer. Its slices alias the buffer.
type packet struct {
	header, body []byte
}

// parsePacket looks at the packet that starts at b[0]. need is how many bytes that packet has, or
// prefixSize while that isn't known; the packet is complete, and p valid, if and only if need <= len(b)
// and err is nil. An error means that the sender is broken or hostile: nothing after it makes sense.
func parsePacket(b []byte) (p packet, need int, err error) {
	if len(b) < prefixSize {
		return packet{}, prefixSize, nil
	}
	h, n := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if h > MaxHeader || n > MaxBody {
		return packet{}, 0, fmt.Errorf("a packet announces %d header and %d body bytes, at most %d and %d are allowed",
			h, n, MaxHeader, MaxBody)
	}
	body := prefixSize + int(h)
	need = body + int(n)
	if len(b) < need {
		return packet{}, need, nil
	}
	return packet{header: b[prefixSize:body:body], body: b[body:need:need]}, need, nil
}

// appendPacket appends the wire form of a packet to b.
func appendPacket(b, header, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(header)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, header...)
	return append(b, body...)
}

// checkPacket reports a packet that no receiver would accept.
func checkPacket(header, body []byte) error {
	if len(header) > MaxHeader || len(body) > MaxBody {
		return fmt.Errorf("transport: a packet of %d header and %d body bytes is too large, at most %d and %d are allowed",
			len(header), len(body), MaxHeader, MaxBody)
	}
	return nil
}
