package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"time"

	"pagemesh/pagetable"
)

// handshakeTimeout bounds a whole handshake, and everything else that Connect and Dial do.
const handshakeTimeout = 5 * time.Second

// What the two proofs begin with, so that neither end's proof can be played back as the other's.
const (
	labelDialer   = "pagemesh handshake: dialer"
	labelListener = "pagemesh handshake: listener"
)

// handshake is one run of the protocol over a connection. It reads exactly its own bytes.
//
//	dialer                               listener
//	  hello: version, cluster, … nonce  ──▶        version, cluster checked
//	                                    ◀──  challenge: nonce
//	  proof: HMAC(secret, transcript)   ──▶        secret, node checked
//	                                    ◀──  welcome: node, HMAC(secret, transcript)
//
// The dialer proves first, so that a stranger gets nothing to guess a secret from. The listener answers
// with a refusal instead wherever a check fails.
type handshake struct {
	conn       net.Conn
	secret     string
	spoke      bool      // this end has sent its first frame
	heard      bool      // and has begun to read the other's
	transcript hash.Hash // of everything both ends have sent, in order
}

func newHandshake(conn net.Conn, secret string) *handshake {
	return &handshake{conn: conn, secret: secret, transcript: sha256.New()}
}

// send writes one frame unless encoding it failed, with the magic in front if it is this end's first.
func (h *handshake) send(frame []byte, err error) error {
	if err != nil {
		return err
	}
	if !h.spoke {
		h.spoke = true
		frame = append([]byte(magic), frame...)
	}
	h.transcript.Write(frame)
	_, err = h.conn.Write(frame)
	return err
}

// receive reads one frame and returns its payload.
func (h *handshake) receive() ([]byte, error) {
	prefix := make([]byte, 2, len(magic)+2)
	first := !h.heard
	if first {
		h.heard = true
		prefix = prefix[:len(magic)+2]
	}
	if _, err := io.ReadFull(h.conn, prefix); err != nil {
		return nil, err
	}
	if first && string(prefix[:len(magic)]) != magic {
		return nil, errors.New("the other end is not a pagemesh node")
	}
	n := int(binary.BigEndian.Uint16(prefix[len(prefix)-2:]))
	if n > maxFrame {
		return nil, frameError("too long")
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(h.conn, payload); err != nil {
		return nil, err
	}
	h.transcript.Write(prefix)
	h.transcript.Write(payload)
	return payload, nil
}

// sum returns a digest of everything both ends have sent so far.
func (h *handshake) sum() []byte { return h.transcript.Sum(nil) }

// proof returns the HMAC of a transcript's sum and of an identity that is sent along with the proof.
func (h *handshake) proof(label string, sum []byte, id Identity) (m mac) {
	f := hmac.New(sha256.New, []byte(h.secret))
	f.Write([]byte(label))
	f.Write(sum)
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(id.Node))
	binary.BigEndian.PutUint64(b[4:], id.Incarnation)
	f.Write(b[:])
	f.Sum(m[:0])
	return m
}

func (m mac) equal(other mac) bool { return hmac.Equal(m[:], other[:]) }

func newNonce() (n nonce) {
	rand.Read(n[:]) // never fails
	return n
}

// dial runs the dialer's side and returns who answered. It sets hello's nonce.
func (h *handshake) dial(hi hello) (Identity, error) {
	hi.nonce = newNonce()
	if err := h.send(hi.encode()); err != nil {
		return Identity{}, err
	}
	payload, err := h.receive()
	if err != nil {
		return Identity{}, err
	}
	if _, err := decodeChallenge(payload); err != nil {
		return Identity{}, err
	}
	if err := h.send(encodeProof(h.proof(labelDialer, h.sum(), Identity{}))); err != nil {
		return Identity{}, err
	}
	return h.dialEnd(hi.expect)
}

// dialEnd reads the listener's verdict and checks the listener's own proof.
func (h *handshake) dialEnd(expect pagetable.NodeID) (Identity, error) {
	sum := h.sum()
	payload, err := h.receive()
	if err != nil {
		return Identity{}, err
	}
	w, err := decodeWelcome(payload)
	if err != nil {
		return Identity{}, err
	}
	if !w.proof.equal(h.proof(labelListener, sum, w.self)) {
		return Identity{}, fmt.Errorf("%w: what answers there doesn't know the shared secret", ErrRefused)
	}
	if expect != 0 && w.self.Node != expect {
		return Identity{}, fmt.Errorf("%w: it is node %v, not %v", ErrRefused, w.self.Node, expect)
	}
	return w.self, nil
}

// listen runs the listener's side until the dialer has proven the secret. A *refusal among its errors
// is for the dialer; whoever calls listen must end with refuse or welcome.
func (h *handshake) listen(cfg Config) (hello, error) {
	payload, err := h.receive()
	if err != nil {
		return hello{}, err
	}
	hi, err := decodeHello(payload, cfg.Version)
	if err != nil {
		return hi, err
	}
	if r := cfg.refuseHello(hi); r != nil {
		return hi, r
	}
	if err := h.send(encodeChallenge(newNonce())); err != nil {
		return hi, err
	}
	sum := h.sum()
	if payload, err = h.receive(); err != nil {
		return hi, err
	}
	proof, err := decodeProof(payload)
	if err != nil {
		return hi, err
	}
	if !proof.equal(h.proof(labelDialer, sum, Identity{})) {
		return hi, refuseSecret()
	}
	return hi, nil
}

// welcome tells the dialer that it is in, and proves the secret to it.
func (h *handshake) welcome(self Identity) error {
	w := welcome{self: self, proof: h.proof(labelListener, h.sum(), self)}
	return h.send(w.encode())
}

// refuse tells the dialer why it isn't.
func (h *handshake) refuse(r *refusal) error {
	return h.send(r.encode())
}
