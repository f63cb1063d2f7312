package locks

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"pagemesh/pagetable"
)

// The wire form of a message is a sequence of msgpack values: the kind, the epoch, and then the
// fields that layouts lists for the kind, in the order of the fields constants. A name stands for the
// id, which is its hash. All values but the name are unsigned integers; those that may be negative are folded
// into such (-1 is 1, 1 is 2). Each has exactly one form, the
// shortest, so that equal messages are equal bytes.
//
// The codec uses the library's codes but not its Encoder and Decoder: two types of value, both with an
// upper bound on their length, take fewer lines than an adapter to io.Writer and io.Reader, and Append
// allocates nothing but the growth of its argument.

// fields is a set of message fields.
type fields uint32

const (
	hasMutexName fields = 1 << iota
	hasBarrierName
	hasPoolName
	hasID
	hasNode
	hasToken
	hasParties
	hasSize
	hasWaiter
	hasPhase
	hasCount
	hasReleased
	hasStatus
	hasReason
	hasServedName
	hasClass
	hasNumber
	hasValue
	hasRange
	hasLeader

	hasName = hasMutexName | hasBarrierName | hasPoolName | hasServedName
	served  = hasServedName | hasClass
)

var layouts = [kindEnd]fields{
	Acquire:       hasMutexName,
	Grant:         hasID | hasToken | hasReason,
	Forward:       hasID | hasNode,
	Pass:          hasID | hasToken | hasReason,
	Granted:       hasID | hasToken | hasReason,
	Told:          hasID | hasToken,
	Return:        hasID | hasToken | hasReason,
	Arrive:        hasBarrierName | hasParties | hasCount | hasReleased,
	Release:       hasID | hasParties | hasPhase | hasCount | hasNumber,
	Hurry:         hasID | hasParties,
	Withdraw:      hasID | hasParties,
	Withdrawn:     hasID | hasParties,
	Refuse:        hasID | hasParties | hasCount | hasReason,
	ReportMutex:   hasMutexName | hasToken | hasStatus | hasReason,
	ReportBarrier: hasBarrierName | hasParties | hasCount | hasReleased,
	Take:          hasPoolName | hasSize | hasWaiter | hasCount,
	Give:          hasID | hasToken | hasSize | hasWaiter | hasCount,
	Deny:          hasID | hasSize | hasWaiter | hasReason,
	Drop:          hasID | hasSize | hasWaiter,
	Recall:        hasID | hasSize,
	PutBack:       hasID | hasToken | hasSize | hasCount,
	ReportPool:    hasPoolName | hasToken | hasSize | hasCount,
	Handover:      hasBarrierName | hasNode | hasParties | hasPhase | hasReleased | hasReason,
	HandoverMutex: hasMutexName | hasToken | hasReason,
	ReportsDone:   hasCount | hasReason,
	Add:           served | hasNumber | hasValue,
	Added:         hasID | hasNumber | hasValue | hasReason,
	Watch:         served | hasWaiter | hasRange,
	Reached:       hasID | hasWaiter | hasValue | hasReason,
	Forgo:         hasID | hasWaiter,
	ReportCounter: served,
	HandCounter:   served | hasValue | hasReason,
	HandAdder:     served | hasNode | hasNumber | hasValue,
	Campaign:      served | hasWaiter,
	Elect:         hasID | hasToken | hasWaiter | hasReason,
	Resign:        hasID | hasToken | hasReason,
	Observe:       served | hasToken | hasWaiter,
	Observed:      hasID | hasToken | hasWaiter | hasLeader,
	ReportLeader:  served | hasToken | hasReason,
	HandElection:  served,
	Enlist:        served | hasWaiter,
	Enlisted:      hasID | hasWaiter,
	Signal:        served,
	Broadcast:     served,
	Notify:        hasID | hasWaiter,
}

// maxCount bounds Message.Count: more goroutines than one process can have.
const maxCount = 1 << 32

var (
	errShort    = errors.New("message ends too early")
	errTrailing = errors.New("bytes after the end of the message")
	errForm     = errors.New("value is not in its shortest form")
)

// Append appends the wire form of m to b. m must be valid for its kind.
func (m Message) Append(b []byte) []byte {
	f := layouts[m.Kind]
	b = appendUint(b, uint64(m.Kind))
	b = appendUint(b, m.Epoch)
	if f&hasName != 0 {
		b = appendName(b, m.Name)
	}
	if f&hasID != 0 {
		b = appendUint(b, uint64(m.ID))
	}
	if f&hasNode != 0 {
		b = appendUint(b, uint64(m.Node))
	}
	if f&hasToken != 0 {
		b = appendUint(b, uint64(m.Token))
	}
	if f&hasParties != 0 {
		b = appendUint(b, uint64(m.Parties))
	}
	if f&hasSize != 0 {
		b = appendUint(b, m.Size)
	}
	if f&hasWaiter != 0 {
		b = appendUint(b, uint64(m.Waiter))
	}
	if f&hasPhase != 0 {
		b = appendUint(b, m.Phase)
	}
	if f&hasCount != 0 {
		b = appendUint(b, m.Count)
	}
	if f&hasReleased != 0 {
		b = appendUint(b, m.Released)
	}
	if f&hasStatus != 0 {
		b = appendUint(b, uint64(m.Status))
	}
	if f&hasReason != 0 {
		b = appendUint(b, uint64(m.Reason))
	}
	return m.appendServed(b, f)
}

// appendServed appends the fields that only locks have that are served.
func (m Message) appendServed(b []byte, f fields) []byte {
	if f&hasClass != 0 {
		b = appendUint(b, uint64(m.Class))
	}
	if f&hasNumber != 0 {
		b = appendUint(b, m.Number)
	}
	if f&hasValue != 0 {
		b = appendUint(b, fold(m.Value))
	}
	if f&hasRange != 0 {
		b = appendUint(appendUint(b, fold(m.Low)), fold(m.High))
	}
	if f&hasLeader != 0 {
		b = appendUint(b, uint64(m.Node))
	}
	return b
}

// fold makes a small unsigned number of a number near 0, and unfold the number of that.
func fold(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unfold(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// appendUint appends v in the shortest msgpack form.
func appendUint(b []byte, v uint64) []byte {
	switch {
	case v <= uint64(msgpcode.PosFixedNumHigh):
		return append(b, byte(v))
	case v < 1<<8:
		return append(b, msgpcode.Uint8, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, msgpcode.Uint16), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, msgpcode.Uint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, msgpcode.Uint64), v)
}

// fixedStrMax is the longest string whose length fits the code byte.
const fixedStrMax = 31

// appendName appends a string of at most MaxName bytes in the shortest msgpack form.
func appendName(b []byte, s string) []byte {
	if len(s) <= fixedStrMax {
		b = append(b, msgpcode.FixedStrLow|byte(len(s)))
	} else {
		b = append(b, msgpcode.Str8, byte(len(s)))
	}
	return append(b, s...)
}

// Decode reads a message that fills b. It keeps nothing of b. The message is valid for its kind, with
// ID set in every kind that is about a lock. An error says what is wrong with the bytes.
func Decode(b []byte) (Message, error) {
	d := decoder{b: b}
	m := Message{Kind: Kind(d.uint("kind", 1, uint64(kindEnd-1)))}
	if d.err == nil {
		d.message(&m)
	}
	if d.err == nil && len(d.b) > 0 {
		d.err = errTrailing
	}
	if d.err != nil {
		return Message{}, fmt.Errorf("decode lock message: %w", d.err)
	}
	return m, nil
}

// decoder reads values from the front of b. After an error it returns zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) message(m *Message) {
	const all = 1<<64 - 1
	f := layouts[m.Kind]
	m.Epoch = d.uint("epoch", 0, MaxEpoch)
	if f&hasName != 0 {
		m.Name = d.name()
	}
	if f&hasID != 0 {
		m.ID = ID(d.uint("id", 0, all))
	}
	if f&hasNode != 0 {
		m.Node = pagetable.NodeID(d.uint("node", 1, 1<<32-1))
	}
	if f&hasToken != 0 {
		m.Token = Token(d.uint("token", 0, all))
	}
	if f&hasParties != 0 {
		m.Parties = uint32(d.uint("parties", 1, MaxParties))
	}
	if f&hasSize != 0 {
		m.Size = d.uint("size", 1, Everything)
	}
	if f&hasWaiter != 0 {
		m.Waiter = Waiter(d.uint("waiter", 1, all))
	}
	if f&hasPhase != 0 {
		m.Phase = d.uint("phase", 0, all)
	}
	if f&hasCount != 0 {
		m.Count = d.uint("count", 0, maxCount)
	}
	if f&hasReleased != 0 {
		m.Released = d.uint("released", 0, all)
	}
	if f&hasStatus != 0 {
		m.Status = Status(d.uint("status", uint64(Waiting), uint64(Gone)))
	}
	if f&hasReason != 0 {
		m.Reason = Reason(d.uint("reason", 0, uint64(reasonEnd-1)))
	}
	d.served(m, f)
	switch {
	case f&hasMutexName != 0:
		m.ID = MutexID(m.Name)
	case f&hasBarrierName != 0:
		m.ID = BarrierID(m.Name)
	case f&hasPoolName != 0:
		m.ID = PoolID(m.Name, m.Size)
	case f&hasServedName != 0:
		m.ID = Served{m.Class, m.Name}.ID()
	}
	if f&hasSize != 0 && f&hasCount != 0 {
		d.permits(m)
	}
}

// served reads the fields that only locks have that are served.
func (d *decoder) served(m *Message, f fields) {
	const all = 1<<64 - 1
	if f&hasClass != 0 {
		m.Class = Class(d.uint("class", 1, uint64(classEnd-1)))
	}
	if f&hasNumber != 0 {
		m.Number = d.uint("number", 0, all)
	}
	if f&hasValue != 0 {
		m.Value = unfold(d.uint("value", 0, all))
	}
	if f&hasRange != 0 {
		m.Low, m.High = unfold(d.uint("low", 0, all)), unfold(d.uint("high", 0, all))
	}
	if f&hasLeader != 0 {
		m.Node = pagetable.NodeID(d.uint("leader", 0, 1<<32-1))
	}
}

// permits checks how many permits a message is about.
func (d *decoder) permits(m *Message) {
	if d.err == nil && (m.Count == 0 || m.Count > m.Size) {
		d.fail("count", fmt.Errorf("%d permits of %d", m.Count, m.Size))
	}
}

// uint reads an unsigned integer from low to high. what names it in an error.
func (d *decoder) uint(what string, low, high uint64) uint64 {
	v, err := d.number()
	if err == nil && (v < low || v > high) {
		err = fmt.Errorf("%d is out of range: want %d to %d", v, low, high)
	}
	if err != nil {
		d.fail(what, err)
		return 0
	}
	return v
}

func (d *decoder) fail(what string, err error) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", what, err)
	}
	d.b = nil
}

// number reads an unsigned integer in its shortest form.
func (d *decoder) number() (uint64, error) {
	if len(d.b) == 0 {
		return 0, errShort
	}
	code := d.b[0]
	if code <= msgpcode.PosFixedNumHigh {
		d.b = d.b[1:]
		return uint64(code), nil
	}
	if code < msgpcode.Uint8 || code > msgpcode.Uint64 {
		return 0, fmt.Errorf("code %#x is not an unsigned integer", code)
	}
	size := 1 << (code - msgpcode.Uint8)
	if len(d.b) < 1+size {
		return 0, errShort
	}
	var v uint64
	for _, c := range d.b[1 : 1+size] {
		v = v<<8 | uint64(c)
	}
	d.b = d.b[1+size:]
	if shortest := numberSize(v); shortest != size {
		return 0, errForm
	}
	return v, nil
}

// numberSize returns how many bytes follow the code in the shortest form of v.
func numberSize(v uint64) int {
	switch {
	case v <= uint64(msgpcode.PosFixedNumHigh):
		return 0
	case v < 1<<8:
		return 1
	case v < 1<<16:
		return 2
	case v < 1<<32:
		return 4
	}
	return 8
}

// name reads the name of a lock.
func (d *decoder) name() string {
	n, size, err := d.nameHeader()
	switch {
	case err != nil:
	case n == 0 || n > MaxName:
		err = fmt.Errorf("%d bytes: want 1 to %d", n, MaxName)
	case len(d.b) < size+n:
		err = errShort
	}
	if err != nil {
		d.fail("name", err)
		return ""
	}
	s := string(d.b[size : size+n])
	d.b = d.b[size+n:]
	return s
}

// nameHeader returns the length of the string at the front of b and the size of its header.
func (d *decoder) nameHeader() (n, size int, err error) {
	switch {
	case len(d.b) == 0:
		return 0, 0, errShort
	case msgpcode.IsFixedString(d.b[0]):
		return int(d.b[0] & msgpcode.FixedStrMask), 1, nil
	case d.b[0] != msgpcode.Str8:
		return 0, 0, fmt.Errorf("code %#x is not a short string", d.b[0])
	case len(d.b) < 2:
		return 0, 0, errShort
	case d.b[1] <= fixedStrMax:
		return 0, 0, errForm
	}
	return int(d.b[1]), 2, nil
}
