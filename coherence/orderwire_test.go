package coherence

import (
	"bytes"
	"reflect"
	"testing"
)

var (
	someFlush = Message{Kind: Flush, Page: 5, Epoch: 9, Txn: 7, Content: Diff}
	someStamp = Stamp{
		Moment: Moment{3, 7}, Epoch: 8, Before: VectorTime{{1, 4}, {2, 1<<32 - 1}, {1<<32 - 1, 1}}, Where: "main.go:12 (main.work)",
	}
)

func (c *Codec) encodeSome(s Stamp) []byte {
	return bytes.Clone(c.EncodeStamped('s', someFlush, s)[1:])
}

func TestStampWire(t *testing.T) {
	c := NewCodec()
	m, s, err := c.DecodeStamped(3, c.encodeSome(someStamp))
	if err != nil || m != someFlush || !reflect.DeepEqual(s, someStamp) {
		t.Errorf("%v %+v comes back as %v %+v, %v", someFlush, someStamp, m, s, err)
	}
	lt := LockTime{Epoch: 9, Lock: 1<<64 - 1, Before: someStamp.Before}
	back, err := c.DecodeLockTime(bytes.Clone(c.EncodeLockTime('t', lt)[1:]))
	if err != nil || !reflect.DeepEqual(back, lt) {
		t.Errorf("%+v comes back as %+v, %v", lt, back, err)
	}
}

// TestStampWireRefuses: what no node sends is an error.
func TestStampWireRefuses(t *testing.T) {
	c := NewCodec()
	good := c.encodeSome(someStamp)
	backwards := someStamp
	backwards.Before = VectorTime{{2, 1}, {1, 1}}
	grant := someFlush
	grant.Kind = Grant
	for name, b := range map[string][]byte{
		"cut off": good[:len(good)-1], "more than one": append(bytes.Clone(good), 0), "nothing": nil,
		"not ascending": c.encodeSome(backwards),
		"no flush":      bytes.Clone(c.EncodeStamped('s', grant, someStamp)[1:]),
		"no stamp":      bytes.Clone(c.Encode('s', someFlush)[1:]),
	} {
		if m, s, err := c.DecodeStamped(3, b); err == nil {
			t.Errorf("%s: taken for %v %+v", name, m, s)
		}
	}
}

func FuzzDecodeStamped(f *testing.F) {
	c := NewCodec()
	f.Add(c.encodeSome(someStamp))
	f.Add(bytes.Clone(c.EncodeLockTime('t', LockTime{1, 2, someStamp.Before})[1:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, s, err := c.DecodeStamped(3, b); err == nil {
			m2, s2, err := c.DecodeStamped(3, bytes.Clone(c.EncodeStamped('s', m, s)[1:]))
			if err != nil || m2 != m || !reflect.DeepEqual(s2, s) {
				t.Errorf("%v %+v comes back as %v %+v, %v", m, s, m2, s2, err)
			}
		}
		if lt, err := c.DecodeLockTime(b); err == nil {
			again, err := c.DecodeLockTime(bytes.Clone(c.EncodeLockTime('t', lt)[1:]))
			if err != nil || !reflect.DeepEqual(again, lt) {
				t.Errorf("%+v comes back as %+v, %v", lt, again, err)
			}
		}
	})
}
