package dsm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/pagetable"
)

// A program and its node talk over a Unix socket in frames: a length of four bytes, big-endian, a
// header in msgpack, and raw data. The program asks, the node answers, in any order; the id says which
// question an answer is for. A question with id 0 gets no answer.

// askKind says what a program asks its node. The comments name the fields that matter.
type askKind uint8

const (
	// askAttach comes first: arg is the protocol's version, data the program's name. The program's
	// userfaultfd comes with it, and its standard error if it has one. The answer's data is a greeting,
	// with which the memory of loans comes.
	askAttach askKind = iota + 1
	// askRegion creates or opens a region: data is a pagetable.Region. So is the answer's data, with
	// which the region's memory comes as a descriptor.
	askRegion
	// askTouch brings the pages of a span here with the right arg.
	askTouch
	// askPin does so and keeps them; data is the site of the view. askUnpin ends a pin.
	askPin
	askUnpin
	// askLock locks the mutex that is called data; its value in the program is number arg. The answer's
	// value is the fencing token, also with ErrOwnerDied, and its data the index of the loan, if the mutex is
	// lent: then askGiveBack unlocks it, once it is wanted, and otherwise askUnlock.
	askLock
	askUnlock
	askGiveBack
	// askTake takes n permits of the pool that is called data, of size off; its value in the program is number
	// arg. The answer's value is the fencing token. askPut puts n permits back.
	askTake
	askPut
	// askWait waits at the barrier that is called data, of arg parties.
	askWait
	// askCancel gives up the question with id arg, which is answered all the same.
	askCancel
	// askInspect puts a question of the control protocol: arg is the kind, data the payload.
	askInspect
	// askHome asks for the home of a page, by its offset.
	askHome
	// askDeclare says what a region is an array of: data is its layout.
	askDeclare
	// askEcho makes memory of n pages in which every trap is answered at once; its descriptor comes with
	// the answer. askEchoEnd ends it.
	askEcho
	askEchoEnd
	// askLeave has the node leave the space.
	askLeave
	// askCause asks why the page at an offset was poisoned: that is the answer's error.
	askCause
	// askAdd adds arg, in two's complement, to the counter that is called data, of class off. askWatch waits until
	// it is at least arg (n is 0) or at most (n is 1). The answer's value is that of the counter.
	askAdd
	askWatch
	// askTyped says what lies in a span of a region: data is a layout, arg twice the distance of objects, plus one in
	// a heap.
	askTyped
	// askCampaign stands for the election that is called data, of class off; its value in the program is number arg.
	// The answer's value is the token, 0 if the election is over. askResign ends the leadership of the value arg, and
	// the election if n is 1. askObserve waits for another leader than the one with token arg; the answer's value
	// is its token, and its data its node.
	askCampaign
	askResign
	askObserve
	// askEnlist makes the program a listener to the condition that is called data, of class off; arg is the listener's
	// number in the program. askListen waits for a signal to that listener, once. askSignal wakes one who listens
	// to the condition, or all if n is 1.
	askEnlist
	askListen
	askSignal
	askKindEnd
)

// bringsDescriptor reports whether a descriptor comes with the answer.
func (k askKind) bringsDescriptor() bool { return k == askAttach || k == askRegion || k == askEcho }

// attachVersion is the version of this protocol. A program and a node of different versions part.
const attachVersion = 6

const (
	questionFields = 8
	replyFields    = 3
	// maxQuestion bounds a question's frame: the longest is about a region with all its homes.
	maxQuestion     = 64 << 10
	maxQuestionData = maxQuestion - 64 // without the header
	// maxReply bounds an answer's frame: the longest is one of the control protocol, with its header.
	maxReply = maxControl + 1<<10
)

// question is what a program asks. In questions about locks, goroutine and site are those of the caller.
type question struct {
	id     uint64
	kind   askKind
	region pagetable.RegionID
	span
	arg             uint64
	goroutine, site uint64
	data            []byte
}

// reply is what the node answers. A code other than 0 is an error: its index in wireErrors plus one,
// with the text in data. With id 0 it says why the node ends the attachment.
type reply struct {
	id, code, value uint64
	data            []byte
}

func (q *question) frame() []byte {
	return attachFrame(q.data, q.id, uint64(q.kind), uint64(q.region), uint64(q.off), uint64(q.n), q.arg,
		q.goroutine, q.site)
}

func (a *reply) frame() []byte { return attachFrame(a.data, a.id, a.code, a.value) }

func attachFrame(data []byte, fields ...uint64) []byte {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	enc := msgpack.NewEncoder(&b)
	_ = enc.EncodeArrayLen(len(fields)) // writes to a bytes.Buffer can't fail
	for _, v := range fields {
		_ = enc.EncodeUint(v)
	}
	b.Write(data)
	binary.BigEndian.PutUint32(b.Bytes(), uint32(b.Len()-4))
	return b.Bytes()
}

func decodeQuestion(b []byte) (question, error) {
	var f [questionFields]uint64
	data, err := decodeAttach(b, f[:])
	if err != nil {
		return question{}, fmt.Errorf("question: %w", err)
	}
	switch {
	case f[1] == 0 || f[1] >= uint64(askKindEnd):
		return question{}, fmt.Errorf("question: kind %d is unknown", f[1])
	case f[2] > 1<<32-1 || f[3] > 1<<62 || f[4] > 1<<62:
		return question{}, fmt.Errorf("question: region %d, bytes [%d, +%d) are out of range", f[2], f[3], f[4])
	}
	return question{
		id: f[0], kind: askKind(f[1]), region: pagetable.RegionID(f[2]), span: span{int64(f[3]), int64(f[4])},
		arg: f[5], goroutine: f[6], site: f[7], data: data,
	}, nil
}

func decodeReply(b []byte) (reply, error) {
	var f [replyFields]uint64
	data, err := decodeAttach(b, f[:])
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("reply: %w", err)
	case f[1] > uint64(len(wireErrors)):
		return reply{}, fmt.Errorf("reply: error code %d is unknown", f[1])
	}
	return reply{f[0], f[1], f[2], data}, nil
}

// decodeAttach reads a frame's header into fields and returns its data, a part of b.
func decodeAttach(b []byte, fields []uint64) (data []byte, err error) {
	in := bytes.NewReader(b)
	dec := msgpack.NewDecoder(in)
	n, err := dec.DecodeArrayLen()
	if err != nil || n != len(fields) {
		return nil, fmt.Errorf("the header is an array of %d, got %d (%v)", len(fields), n, err)
	}
	for i := range fields {
		if fields[i], err = dec.DecodeUint64(); err != nil {
			return nil, fmt.Errorf("field %d: %w", i, err)
		}
	}
	return b[len(b)-in.Len():], nil
}
