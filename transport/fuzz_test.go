package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// hostile are bytes that try to make a decoder allocate or recurse without limit.
var hostile = map[string][]byte{
	"nothing":              {},
	"array of 4 Gi":        {0xdd, 0xff, 0xff, 0xff, 0xff},
	"map of 4 Gi":          {0xdf, 0xff, 0xff, 0xff, 0xff},
	"string of 4 GiB":      {0x92, 1, 0xdb, 0xff, 0xff, 0xff, 0xff},
	"bytes of 4 GiB":       {0x92, 2, 0xc6, 0xff, 0xff, 0xff, 0xff},
	"extension of 4 GiB":   {0x92, 3, 0xc9, 0xff, 0xff, 0xff, 0xff, 1},
	"nested arrays":        bytes.Repeat([]byte{0x91}, maxFrame),
	"nested maps":          bytes.Repeat([]byte{0x81}, maxFrame),
	"hello with bad types": {0x99, 1, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0},
	"hello of floats":      {0x99, 1, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0},
	"negative numbers":     {0x99, 1, 0xff, 0xff, 0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
}

// FuzzParsePacket: a packet is a view of the bytes that it was parsed from, or an error, or not complete.
func FuzzParsePacket(f *testing.F) {
	f.Add(appendPacket(nil, []byte("header"), []byte("body")))
	f.Add(appendPacket(nil, nil, nil))
	f.Add(appendPacket(nil, make([]byte, 300), nil)[:100])
	f.Add([]byte{0, 1, 0, 0, 0, 0x40, 0, 0})
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xff}, prefixSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, need, err := parsePacket(b)
		switch {
		case err != nil:
			return
		case need < prefixSize || need > prefixSize+MaxHeader+MaxBody:
			t.Fatalf("%d bytes are needed", need)
		case need > len(b):
			return
		}
		if again := appendPacket(nil, p.header, p.body); !bytes.Equal(again, b[:need]) {
			t.Errorf("%x was read as %x", b[:need], again)
		}
		if cap(p.header) > len(p.header) || cap(p.body) > len(p.body) {
			t.Error("an append to the header or the body would write into what follows")
		}
	})
}

// FuzzInbound: packets come out of a stream whole and in order, whatever pieces it arrives in, and the
// buffer never gets much larger than what has arrived.
func FuzzInbound(f *testing.F) {
	two := appendPacket(appendPacket(nil, []byte("h"), []byte("body")), bytes.Repeat([]byte{7}, 200), nil)
	f.Add(two, false)
	f.Add(two[:len(two)-1], true)
	f.Add(appendPacket(two, make([]byte, MaxHeader), make([]byte, 100)), false)
	f.Add([]byte{0, 0, 0, 0, 0, 0x40, 0, 0, 1, 2, 3}, true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, true)
	f.Fuzz(func(t *testing.T, b []byte, bytewise bool) {
		var r io.Reader = bytes.NewReader(b)
		if bytewise && len(b) < 1<<12 {
			r = iotest.OneByteReader(r)
		}
		var out []byte
		in := newInbound()
		for {
			err := in.fill(r)
			for err == nil {
				p, ok, perr := in.next()
				if perr != nil || !ok {
					err = perr
					break
				}
				out = appendPacket(out, p.header, p.body)
			}
			if len(in.buf) > bufferSize+2*len(b) {
				t.Fatalf("a buffer of %d bytes for a stream of %d", len(in.buf), len(b))
			}
			if err != nil {
				break
			}
		}
		if !bytes.HasPrefix(b, out) {
			t.Errorf("%x came out of %x", out, b)
		}
		if p, need, err := parsePacket(b[len(out):]); err == nil && need <= len(b)-len(out) {
			t.Errorf("packet %v did not come out", p)
		}
	})
}

func addFrames(f *testing.F) {
	for _, b := range hostile {
		f.Add(b)
	}
	for _, frame := range [][]byte{
		must(hello{version: 1, cluster: "test", purpose: PurposePeer, self: Identity{1, 2}, addr: "127.0.0.1:1", expect: 3}.encode()),
		must(encodeChallenge(nonce{1})), must(encodeProof(mac{2})), must(welcome{self: Identity{1, 2}}.encode()),
		must(refuseSecret().encode()),
	} {
		f.Add(frame[2:])
		f.Add(frame[2 : len(frame)-1])
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// FuzzFrames: each decoder of the handshake returns an error, or values within their limits that survive
// another round over the wire.
func FuzzFrames(f *testing.F) {
	addFrames(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFrame {
			return // receive rejects it
		}
		if h, err := decodeHello(b, ProtocolVersion); err == nil && h.version == ProtocolVersion {
			if len(h.cluster) > maxCluster || len(h.addr) > maxAddr || h.purpose < PurposePeer || h.purpose > PurposeControl {
				t.Errorf("%+v is out of limits", h)
			}
			if again, err := decodeHello(must(h.encode())[2:], ProtocolVersion); err != nil || again != h {
				t.Errorf("%+v became %+v, %v", h, again, err)
			}
		}
		if m, err := decodeProof(b); err == nil && !bytes.HasSuffix(b, m[:]) {
			t.Errorf("proof %x of %x", m, b)
		}
		if n, err := decodeChallenge(b); err == nil && !bytes.HasSuffix(b, n[:]) {
			t.Errorf("nonce %x of %x", n, b)
		} else if r := (*refusal)(nil); errors.As(err, &r) {
			if len(r.text) > 4*maxText || strings.ContainsAny(r.text, "\n\r\x1b") {
				t.Errorf("refusal with the text %q", r.text)
			}
		}
		if w, err := decodeWelcome(b); err == nil {
			if again, err := decodeWelcome(must(w.encode())[2:]); err != nil || again != w {
				t.Errorf("%+v became %+v, %v", w, again, err)
			}
		}
	})
}

// deaf is a connection on which somebody has said something and doesn't listen.
type deaf struct {
	net.Conn
	said io.Reader
}

func (d deaf) Read(b []byte) (int, error)  { return d.said.Read(b) }
func (d deaf) Write(b []byte) (int, error) { return len(b), nil }
func (d deaf) SetDeadline(time.Time) error { return nil }
func (d deaf) Close() error                { return nil }
func newDeaf(said []byte) deaf             { return deaf{said: bytes.NewReader(said)} }
func greeting(frames ...[]byte) (all []byte) {
	return append([]byte(magic), bytes.Join(frames, nil)...)
}
func hostileFrame(payload []byte) (framed []byte) {
	return append([]byte{byte(len(payload) >> 8), byte(len(payload))}, payload...)
}

// FuzzHandshake: neither side of a handshake gets anywhere with an end that doesn't answer to it.
func FuzzHandshake(f *testing.F) {
	hi := must(hello{version: 1, cluster: "test", purpose: PurposePeer, self: Identity{1, 2}}.encode())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(greeting(hi))
	f.Add(greeting(hi, must(encodeProof(mac{}))))
	f.Add(greeting(must(encodeChallenge(nonce{})), must(welcome{}.encode())))
	f.Add(greeting(must(refuseBusy().encode())))
	f.Add(greeting([]byte{0xff, 0xff}))
	for _, b := range hostile {
		f.Add(greeting(hostileFrame(b)))
	}
	cfg := Config{Cluster: "test", Secret: "sesame", Version: ProtocolVersion}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := newHandshake(newDeaf(b), cfg.Secret).listen(cfg); err == nil {
			t.Error("somebody was let in who can't know the secret")
		}
		if _, err := newHandshake(newDeaf(b), cfg.Secret).dial(hello{version: 1, purpose: PurposePeer}); err == nil {
			t.Error("somebody was believed who can't know the secret")
		}
	})
}

// TestHostileFramesAreCheap: what a frame announces is not allocated.
func TestHostileFramesAreCheap(t *testing.T) {
	for name, b := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err1 := decodeHello(b, ProtocolVersion)
		_, err2 := decodeProof(b)
		_, err3 := decodeChallenge(b)
		_, err4 := decodeWelcome(b)
		runtime.ReadMemStats(&after)
		if err1 == nil || err2 == nil || err3 == nil || err4 == nil {
			t.Errorf("%s: one decoder takes it: %v, %v, %v, %v", name, err1, err2, err3, err4)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 256<<10 {
			t.Errorf("%s: %d bytes are allocated for it", name, got)
		}
	}
}
