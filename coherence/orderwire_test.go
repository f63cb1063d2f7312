package coherence

import (
	"bytes"
	"reflect"
	"testing"
)

var someStamp = Stamp{
	Moment: Moment{3, 7}, Epoch: 9, Before: VectorTime{{1, 4}, {2, 1<<32 - 1}, {1<<32 - 1, 1}}, Where: "main.work main.go:12",
}

func TestStampWire(t *testing.T) {
	c := NewCodec()
	got, err := c.DecodeStamp(3, bytes.Clone(c.EncodeStamp('s', someStamp)[1:]))
	if err != nil || !reflect.DeepEqual(got, someStamp) {
		t.Errorf("%+v comes back as %+v, %v", someStamp, got, err)
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
	good := bytes.Clone(c.EncodeStamp('s', someStamp)[1:])
	backwards := someStamp
	backwards.Before = VectorTime{{2, 1}, {1, 1}}
	never := someStamp
	never.Interval = 0
	for name, b := range map[string][]byte{
		"cut off": good[:len(good)-1], "more than one": append(bytes.Clone(good), 0), "nothing": nil,
		"not ascending": bytes.Clone(c.EncodeStamp('s', backwards)[1:]),
		"no interval":   bytes.Clone(c.EncodeStamp('s', never)[1:]),
	} {
		if s, err := c.DecodeStamp(3, b); err == nil {
			t.Errorf("%s: taken for %+v", name, s)
		}
	}
}

func FuzzDecodeStamp(f *testing.F) {
	c := NewCodec()
	f.Add(bytes.Clone(c.EncodeStamp('s', someStamp)[1:]))
	f.Add(bytes.Clone(c.EncodeLockTime('t', LockTime{1, 2, someStamp.Before})[1:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := c.DecodeStamp(3, b); err == nil {
			again, err := c.DecodeStamp(3, bytes.Clone(c.EncodeStamp('s', s)[1:]))
			if err != nil || !reflect.DeepEqual(again, s) {
				t.Errorf("%+v comes back as %+v, %v", s, again, err)
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
