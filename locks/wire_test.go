package locks

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/pagetable"
)

// samples returns valid messages of every kind: with the smallest and the largest values of each field,
// and some between.
func samples() []Message {
	var list []Message
	rng := rand.New(rand.NewPCG(1, 1))
	for k := Acquire; k < kindEnd; k++ {
		list = append(list, sample(k, func(low, _ uint64) uint64 { return low }),
			sample(k, func(_, high uint64) uint64 { return high }))
		for range 20 {
			list = append(list, sample(k, func(low, high uint64) uint64 {
				v := rng.Uint64() >> rng.IntN(64)
				return max(low, min(high, v))
			}))
		}
	}
	return list
}

// sample returns a message whose fields pick chooses between their limits.
func sample(k Kind, pick func(low, high uint64) uint64) Message {
	const all = 1<<64 - 1
	f := layouts[k]
	m := Message{Kind: k, Epoch: pick(0, MaxEpoch)}
	set := func(on fields, low, high uint64, to func(uint64)) {
		if f&on != 0 {
			to(pick(low, high))
		}
	}
	set(hasMutexName, 1, MaxName, func(v uint64) { m.Name = strings.Repeat("é", int(v))[:v]; m.ID = MutexID(m.Name) })
	set(hasBarrierName, 1, MaxName, func(v uint64) { m.Name = strings.Repeat("x", int(v)); m.ID = BarrierID(m.Name) })
	set(hasPoolName, 1, MaxName, func(v uint64) { m.Name = strings.Repeat("p", int(v)) })
	set(hasID, 0, all, func(v uint64) { m.ID = ID(v) })
	set(hasNode, 1, 1<<32-1, func(v uint64) { m.Node = pagetable.NodeID(v) })
	set(hasToken, 0, all, func(v uint64) { m.Token = Token(v) })
	set(hasParties, 1, MaxParties, func(v uint64) { m.Parties = uint32(v) })
	set(hasSize, 1, Everything, func(v uint64) { m.Size = v })
	set(hasWaiter, 1, all, func(v uint64) { m.Waiter = Waiter(v) })
	set(hasPhase, 0, all, func(v uint64) { m.Phase = v })
	if f&hasSize != 0 {
		set(hasCount, 1, m.Size, func(v uint64) { m.Count = v })
	} else {
		set(hasCount, 0, maxCount, func(v uint64) { m.Count = v })
	}
	set(hasReleased, 0, all, func(v uint64) { m.Released = v })
	set(hasStatus, uint64(Waiting), uint64(Held), func(v uint64) { m.Status = Status(v) })
	if f&hasPoolName != 0 {
		m.ID = PoolID(m.Name, m.Size)
	}
	set(hasReason, 0, uint64(reasonEnd-1), func(v uint64) { m.Reason = Reason(v) })
	set(hasServedName, 1, MaxName, func(v uint64) { m.Name = strings.Repeat("s", int(v)) })
	set(hasClass, 1, uint64(classEnd-1), func(v uint64) { m.Class = Class(v); m.ID = Served{m.Class, m.Name}.ID() })
	set(hasNumber, 0, all, func(v uint64) { m.Number = v })
	set(hasValue, 0, all, func(v uint64) { m.Value = unfold(v) })
	set(hasLeader, 0, 1<<32-1, func(v uint64) { m.Node = pagetable.NodeID(v) })
	set(hasRange, 0, all, func(v uint64) { m.Low, m.High = unfold(v), unfold(^v) })
	return m
}

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range samples() {
		got, err := Decode(m.Append(nil))
		if err != nil || got != m {
			t.Fatalf("%v became %v, %v", m, got, err)
		}
	}
}

// TestWireIsMsgpack has the library read what Append writes.
func TestWireIsMsgpack(t *testing.T) {
	for _, m := range samples() {
		d := msgpack.NewDecoder(bytes.NewReader(m.Append(nil)))
		values := 0
		for ; ; values++ {
			v, err := d.DecodeInterfaceLoose()
			if err != nil {
				break
			}
			if s, ok := v.(string); ok && s != m.Name {
				t.Errorf("%v: the library reads the name %q", m, s)
			}
		}
		want := 2
		for f := layouts[m.Kind]; f != 0; f &= f - 1 {
			want++
		}
		if layouts[m.Kind]&hasRange != 0 {
			want++ // its two ends
		}
		if values != want {
			t.Errorf("%v: the library reads %d values, want %d", m, values, want)
		}
	}
}

func TestDecodeRejects(t *testing.T) {
	grant := Message{Kind: Grant, Epoch: 300, ID: 7, Token: 1 << 40}.Append(nil)
	acquire := Message{Kind: Acquire, Epoch: 1, Name: "abc"}.Append(nil)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "too early"},
		{"kind 0", []byte{0, 1}, "kind: 0 is out of range"},
		{"kind beyond the last", []byte{byte(kindEnd), 1}, fmt.Sprintf("kind: %d is out of range", kindEnd)},
		{"a message cut off", grant[:len(grant)-2], "token: message ends too early"},
		{"a trailing byte", append(bytes.Clone(grant), 0), "bytes after the end"},
		{"a longer form", []byte{byte(ReportsDone), 0xcc, 1, 0}, "epoch: value is not in its shortest form"},
		{"an epoch too large", []byte{byte(ReportsDone), 0xce, 1, 0, 0, 0}, "epoch: 16777216 is out of range"},
		{"a negative number", []byte{byte(ReportsDone), 0xff}, "code 0xff is not an unsigned integer"},
		{"an empty name", []byte{byte(Acquire), 1, 0xa0}, "name: 0 bytes"},
		{"a name that is longer than the message", []byte{byte(Acquire), 1, 0xd9, 40, 'x'}, "name: message ends too early"},
		{"a name too long", append([]byte{byte(Acquire), 1, 0xd9, 129}, make([]byte, 129)...), "name: 129 bytes"},
		{"a name of 32 bits of length", []byte{byte(Acquire), 1, 0xdb, 0xff, 0xff, 0xff, 0xff}, "code 0xdb is not a short string"},
		{"a name in a longer form", append([]byte{byte(Acquire), 1, 0xd9}, acquire[2:]...), "name"},
		{"an array", []byte{byte(Acquire), 1, 0x91, 0x91, 0x91}, "code 0x91"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, err := Decode(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Decode(%x) = %v, %v; want an error with %q", c.b, m, err, c.want)
			}
		})
	}
}

// FuzzDecode: whatever the bytes are, Decode returns an error, or a message with exactly these bytes
// that is valid for its kind.
func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		b := m.Append(nil)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add(bytes.Repeat([]byte{0x91}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			if m != (Message{}) {
				t.Errorf("%v comes with the error %v", m, err)
			}
			return
		}
		if again := m.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x was read as %v, which is %x", b, m, again)
		}
		if layouts[m.Kind]&hasName != 0 && CheckName(m.Name) != nil {
			t.Errorf("%v has a name that is not allowed", m)
		}
		_ = m.String()
	})
}
