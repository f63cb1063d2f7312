package coherence

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// messages draws every message that can be on the wire.
func messages() *rapid.Generator[Message] {
	return rapid.Custom(func(t *rapid.T) Message {
		return Message{
			Kind:      Kind(rapid.Uint8Range(1, uint8(kindEnd)-1).Draw(t, "kind")),
			Page:      pagetable.PageID(rapid.Uint64().Draw(t, "page")),
			Epoch:     rapid.Uint64().Draw(t, "epoch"),
			Access:    pagetable.Access(rapid.Uint8Range(0, uint8(pagetable.WriteAccess)).Draw(t, "access")),
			Requester: pagetable.NodeID(rapid.Uint32().Draw(t, "requester")),
			Txn:       rapid.Uint32().Draw(t, "txn"),
			Content:   Content(rapid.Uint8Range(0, uint8(contentEnd)-1).Draw(t, "content")),
			Version:   rapid.Uint64().Draw(t, "version"),
			Site:      rapid.Uint32().Draw(t, "site"),
		}
	})
}

func TestMessageRoundTrip(t *testing.T) {
	c := NewCodec()
	rapid.Check(t, func(t *rapid.T) {
		m := messages().Draw(t, "message")
		prefix := rapid.Byte().Draw(t, "prefix")
		b := c.Encode(prefix, m)
		if b[0] != prefix {
			t.Fatalf("the prefix is %#x, not %#x", b[0], prefix)
		}
		if got, err := c.Decode(b[1:]); err != nil || got != m {
			t.Fatalf("%v became %v, %v", m, got, err)
		}
	})
}

// TestMessageFieldsAreChecked changes one field of a message to something that no node sends.
func TestMessageFieldsAreChecked(t *testing.T) {
	good := [messageFields]uint64{uint64(Grant), 7, 1, uint64(pagetable.ReadAccess), 0, 1, uint64(Bytes), 0, 0}
	for _, bad := range []struct {
		field int
		value uint64
		want  string
	}{
		{0, 0, "kind 0"},
		{0, uint64(kindEnd), "kind 19"},
		{0, math.MaxUint64, "kind 18446744073709551615"},
		{3, uint64(pagetable.WriteAccess) + 1, "access 3"},
		{4, 1 << 32, "more than 32 bits"},
		{5, 1 << 32, "more than 32 bits"},
		{6, uint64(contentEnd), "content 4"},
		{8, 1 << 32, "more than 32 bits"},
	} {
		f := good
		f[bad.field] = bad.value
		if _, err := fromFields(f); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("field %d = %d: %v, want an error that says %q", bad.field, bad.value, err, bad.want)
		}
	}
	if _, err := fromFields(good); err != nil {
		t.Error(err)
	}
}

// TestCodecDoesNotAllocate: messages are on the way of every fault.
func TestCodecDoesNotAllocate(t *testing.T) {
	c := NewCodec()
	m := Message{Kind: Forward, Page: 1 << 63, Epoch: 1 << 40, Access: pagetable.ReadAccess, Requester: 9, Txn: 1 << 31}
	allocs := testing.AllocsPerRun(100, func() {
		if got, err := c.Decode(c.Encode('p', m)[1:]); err != nil || got != m {
			t.Fatal(got, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// allocated returns how many bytes f allocates, garbage and what goes on beside it included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// bounded fails t unless decoding b takes little memory, whatever lengths b claims.
func bounded(t *testing.T, b []byte, decode func()) {
	t.Helper()
	if got, most := allocated(decode), uint64(1<<20+256*len(b)); got > most {
		t.Errorf("decoding %d bytes allocates %d, more than %d: %.40x", len(b), got, most, b)
	}
}

// decoders are all that read what comes from another node.
var decoders = map[string]func([]byte) error{
	"message": func(b []byte) error { _, err := NewCodec().Decode(b); return err },
	"view":    func(b []byte) error { _, err := DecodeView(b); return err },
	"region":  func(b []byte) error { _, err := DecodeRegion(b); return err },
	"member":  func(b []byte) error { _, err := DecodeMember(b); return err },
}

// TestHostileBytes gives each decoder lengths that nothing stands behind, at each place where it reads
// one.
func TestHostileBytes(t *testing.T) {
	var hostile [][]byte
	for _, claim := range []string{
		"", "\xc0", "\xdd\xff\xff\xff\xff", "\xdd\x7f\xff\xff\xff", "\xdc\xff\xff", "\xdb\xff\xff\xff\xff",
		"\xc6\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xc9\xff\xff\xff\xff\x01", "\xd3\xff\xff\xff\xff\xff\xff\xff\xff",
		"\xca\x7f\xc0\x00\x00", strings.Repeat("\x91", 100_000), strings.Repeat("\xdd\x00\x00\x00\x01", 100_000),
	} {
		hostile = append(hostile, []byte(claim))
		for _, whole := range [][]byte{
			NewCodec().Encode('p', Message{Kind: Request})[1:], EncodeView(sampleView()),
			EncodeRegion(sampleRegion()), EncodeMember(Member{Node: 1, Addr: "host:1"}),
		} {
			for at := range whole {
				hostile = append(hostile, append(bytes.Clone(whole[:at]), claim...))
			}
		}
	}
	for _, decode := range decoders {
		for _, b := range hostile {
			// A name may hold any bytes, so some of these are well formed.
			bounded(t, b, func() { _ = decode(b) })
		}
	}
}

// TestNothingFollows: each decoder refuses bytes behind what it reads.
func TestNothingFollows(t *testing.T) {
	for name, whole := range map[string][]byte{
		"message": NewCodec().Encode('p', Message{Kind: Request})[1:],
		"view":    EncodeView(sampleView()),
		"region":  EncodeRegion(sampleRegion()),
		"member":  EncodeMember(Member{Node: 1, Addr: "host:1"}),
	} {
		if err := decoders[name](whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := decoders[name](append(bytes.Clone(whole), 0)); err == nil || !strings.Contains(err.Error(), "1 bytes") {
			t.Errorf("%s: a byte too many: %v", name, err)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	c := NewCodec()
	for k := Request; k < kindEnd; k++ {
		f.Add(bytes.Clone(c.Encode('p', Message{Kind: k, Page: 1 << 41, Epoch: 3, Txn: 70_000})[1:]))
	}
	f.Add([]byte("\x99\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\xdd\x00\x00\x00\x09\x01\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewCodec()
		m, err := c.Decode(b)
		if err != nil {
			return
		}
		if again, err := c.Decode(c.Encode('p', m)[1:]); err != nil || again != m {
			t.Errorf("%v became %v, %v", m, again, err)
		}
		_ = fmt.Sprint(m) // no value may be one that a trace can't name
	})
}
