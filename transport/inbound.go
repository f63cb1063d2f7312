package transport

import "io"

const (
	// bufferSize is what a connection's buffers start with: a burst of small packets, or of a dozen
	// pages, takes one system call.
	bufferSize = 64 << 10
	// quietUses is after how many uses in a row that would have fit into bufferSize a buffer that grew
	// is given back.
	quietUses = 64
)

// inbound is a connection's read buffer. It grows to what the packet at its front needs, which parsePacket
// bounds, and shrinks after a while without large packets. It never grows to more than twice what has
// arrived: to announce a large packet costs its sender nothing.
//
// Invariant: 0 <= start <= end <= len(buf).
type inbound struct {
	buf        []byte
	start, end int // what was read and not yet parsed
	need       int // size of the incomplete packet at start, as far as known
	quiet      int // fills in a row that fit into bufferSize
}

func newInbound() inbound { return inbound{buf: make([]byte, bufferSize)} }

// next takes the next complete packet out of the buffer; ok is false if there is none. The packet is
// valid until fill.
func (in *inbound) next() (p packet, ok bool, err error) {
	p, in.need, err = parsePacket(in.buf[in.start:in.end])
	if err != nil || in.need > in.end-in.start {
		return packet{}, false, err
	}
	in.start += in.need
	return p, true, nil
}

// fill reads once from r behind what next left.
// Preconditions: next has returned false.
func (in *inbound) fill(r io.Reader) error {
	in.makeRoom()
	n, err := r.Read(in.buf[in.end:])
	in.end += n
	if n > 0 {
		return nil // an error comes again with the next Read
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom moves what is left to the front of a buffer that holds the whole packet.
func (in *inbound) makeRoom() {
	rest := in.buf[in.start:in.end]
	dst := in.buf
	switch {
	case in.need > len(in.buf):
		if in.quiet = 0; len(rest) == len(in.buf) {
			dst = make([]byte, min(in.need+bufferSize, 2*len(rest)))
		}
	case in.need > bufferSize:
		in.quiet = 0
	case len(in.buf) > bufferSize && len(rest) < bufferSize:
		if in.quiet++; in.quiet > quietUses {
			dst, in.quiet = make([]byte, bufferSize), 0
		}
	}
	in.start, in.end = 0, copy(dst, rest)
	in.buf = dst
}
