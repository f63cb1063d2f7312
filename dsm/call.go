package dsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// A call is a question to a member and its answer, for everything that is rare: view changes and
// inspection. The header of a question is (id, kind), that of an answer (id, error code, error text);
// what is asked and answered is the body.

type callKind uint8

const (
	callChange  callKind = iota + 1 // order a view change; body: change
	callVote                        // vote for a coordinator; body: vote
	callStats                       // JSON NodeStats
	callPages                       // JSON PageQuery → JSON []PageStats
	callLocks                       // JSON []LockStatus
	callRaces                       // JSON []Race
	callUses                        // usesOf → JSON locks.Uses
	callReset                       // forget what was counted
	callEpoch                       // answer: the epoch, or 0 if it has not settled here; 8 bytes
	callEvents                      // JSON eventQuestion → JSON eventAnswer after its length in 4 bytes, trace.Chunk
	callLeaving                     // the asker leaves; answer: the epoch, once that is known here; 8 bytes
	callKindEnd
)

// wireErrors are the errors that keep their identity between nodes; their index is the code.
var wireErrors = []error{
	errors.New("remote"), ErrMismatch, ErrNotExist, ErrClosed, ErrNodeLost, coherence.ErrLeaveBusy,
	coherence.ErrNotMember, errNotCoordinator, ErrNotHeld, ErrNotMapped, ErrRange, ErrTimeout, ErrMemory, context.Canceled,
	ErrDeadlock, ErrOwnerDied,
}

// remoteError is an error that a peer has answered with.
type remoteError struct {
	text string
	code uint64
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return wireErrors[e.code] }

func errorCode(err error) uint64 {
	for i, target := range wireErrors {
		if errors.Is(err, target) {
			return uint64(i)
		}
	}
	return 0
}

// callTable holds the questions that this node has open.
type callTable struct {
	mu     sync.Mutex
	next   uint64
	open   map[uint64]*openCall
	closed error
}

type openCall struct {
	to     pagetable.NodeID
	answer []byte
	err    error
	done   chan struct{}
}

func (t *callTable) init() { t.open = map[uint64]*openCall{} }

func (t *callTable) begin(to pagetable.NodeID) (uint64, *openCall, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed != nil {
		return 0, nil, t.closed
	}
	t.next++
	c := &openCall{to: to, done: make(chan struct{})}
	t.open[t.next] = c
	return t.next, c, nil
}

// end completes a call once; later ends of the same id have no effect.
func (t *callTable) end(id uint64, from pagetable.NodeID, answer []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.open[id]; c != nil && c.to == from {
		delete(t.open, id)
		c.answer, c.err = answer, err
		close(c.done)
	}
}

func (t *callTable) failWhere(match func(*openCall) bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, c := range t.open {
		if match(c) {
			delete(t.open, id)
			c.err = err
			close(c.done)
		}
	}
}

func (t *callTable) failPeer(n pagetable.NodeID) {
	t.failWhere(func(c *openCall) bool { return c.to == n }, fmt.Errorf("%v did not answer: %w", n, ErrNodeLost))
}

func (t *callTable) failAll(err error) {
	t.mu.Lock()
	t.closed = err
	t.mu.Unlock()
	t.failWhere(func(*openCall) bool { return true }, err)
}

// answer takes an answer packet.
func (t *callTable) answer(from pagetable.NodeID, header, body []byte) error {
	in := bytes.NewReader(header)
	dec := msgpack.NewDecoder(in)
	id, err1 := dec.DecodeUint64()
	code, err2 := dec.DecodeUint64()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if code == 0 {
		t.end(id, from, bytes.Clone(body), nil)
		return nil
	}
	if code > uint64(len(wireErrors)) {
		return fmt.Errorf("answer: error code %d is unknown", code)
	}
	t.end(id, from, nil, &remoteError{text: string(body), code: code - 1})
	return nil
}

// call asks a member and waits for its answer, at most until ctx ends or the member is lost.
func (s *node) call(ctx context.Context, to pagetable.NodeID, kind callKind, question []byte) ([]byte, error) {
	if to == s.self {
		return s.answerCall(s.self, kind, question)
	}
	id, c, err := s.calls.begin(to)
	if err != nil {
		return nil, err
	}
	out := transport.NewOutbox(s.ep)
	if err := out.Send(to, callHeader(classCall, id, uint64(kind)), question); err != nil {
		s.calls.end(id, to, nil, fmt.Errorf("%v: %w (%w)", to, ErrNodeLost, err))
	}
	out.Flush()
	select {
	case <-c.done:
	case <-ctx.Done():
		s.calls.end(id, to, nil, context.Cause(ctx))
		<-c.done
	}
	return c.answer, c.err
}

func callHeader(class byte, id, second uint64) []byte {
	var b bytes.Buffer
	b.WriteByte(class)
	enc := msgpack.NewEncoder(&b)
	_ = enc.EncodeUint(id) // writes to a bytes.Buffer can't fail
	_ = enc.EncodeUint(second)
	return b.Bytes()
}

// serveCall answers a question. What may have to wait is done in a goroutine of its own.
func (s *node) serveCall(p *peer, header, question []byte) error {
	dec := msgpack.NewDecoder(bytes.NewReader(header))
	id, err1 := dec.DecodeUint64()
	kind, err2 := dec.DecodeUint64()
	if err := errors.Join(err1, err2); err != nil || kind == 0 || kind >= uint64(callKindEnd) {
		return fmt.Errorf("call: kind %d is unknown (%v)", kind, err)
	}
	question = bytes.Clone(question)
	s.running.Go(func() {
		answer, err := s.answerCall(p.node, callKind(kind), question)
		s.sendAnswer(p.node, id, answer, err)
	})
	return nil
}

func (s *node) sendAnswer(to pagetable.NodeID, id uint64, answer []byte, err error) {
	code := uint64(0)
	if err != nil {
		code, answer = errorCode(err)+1, []byte(err.Error())
	}
	if len(answer) > transport.MaxBody {
		err := fmt.Errorf("the answer of %d bytes does not fit a packet", len(answer))
		code, answer = errorCode(err)+1, []byte(err.Error())
	}
	out := transport.NewOutbox(s.ep)
	_ = out.Send(to, callHeader(classAnswer, id, code), answer) // a lost peer needs no answer
	out.Flush()
}

func (s *node) answerCall(from pagetable.NodeID, kind callKind, question []byte) ([]byte, error) {
	if s.cur.Load() == nil {
		return nil, fmt.Errorf("%v has no view yet: %w", s.self, errNotCoordinator)
	}
	switch kind {
	case callChange:
		c, err := decodeChange(question)
		if err != nil {
			return nil, err
		}
		return s.order(c)
	case callVote:
		return s.vote(from, question)
	case callStats:
		return marshal(s.stats())
	case callPages:
		return s.answerPages(question)
	case callRaces:
		return marshal(s.races.here())
	case callLocks:
		return marshal(s.sync.status())
	case callUses:
		return s.answerUses(question)
	case callEpoch:
		return binary.BigEndian.AppendUint64(nil, s.settledEpoch()), nil
	case callEvents:
		return s.answerEvents(question)
	case callLeaving:
		return s.knowLeaver(from)
	case callReset:
		s.resetHere()
		return nil, nil
	}
	return nil, fmt.Errorf("call kind %d is unknown", kind)
}
