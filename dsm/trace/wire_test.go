package trace

import (
	"bytes"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// chunks draws chunks with everything that they can hold.
func chunks() *rapid.Generator[Chunk] {
	node := rapid.Custom(func(t *rapid.T) pagetable.NodeID { return pagetable.NodeID(rapid.Uint32().Draw(t, "node")) })
	access := rapid.Custom(func(t *rapid.T) pagetable.Access {
		return pagetable.Access(rapid.Uint8Range(0, uint8(pagetable.WriteAccess)).Draw(t, "access"))
	})
	text := rapid.StringN(0, 20, 40)
	return rapid.Custom(func(t *rapid.T) Chunk {
		return Chunk{
			Until: rapid.Int64().Draw(t, "until"),
			Clocks: list(t, rapid.Custom(func(t *rapid.T) Clock {
				return Clock{node.Draw(t, "node"), rapid.Int64().Draw(t, "ahead"), rapid.Int64Range(0, math.MaxInt64).Draw(t, "error")}
			})),
			Regions: list(t, rapid.Custom(func(t *rapid.T) Region {
				return Region{
					ID: pagetable.RegionID(rapid.Uint32Range(0, uint32(pagetable.MaxRegionID)).Draw(t, "id")), Name: text.Draw(t, "name"),
					Size: rapid.Uint64Range(0, pagetable.MaxRegionSize).Draw(t, "size"), PageSize: rapid.IntRange(0, pagetable.MaxPageSize).Draw(t, "page size"),
					Consistency: pagetable.Consistency(rapid.Uint8Range(0, 1).Draw(t, "consistency")), Layout: text.Draw(t, "layout"),
				}
			})),
			Sites: list(t, rapid.Custom(func(t *rapid.T) Site {
				return Site{node.Draw(t, "node"), rapid.Uint32().Draw(t, "id"), text.Draw(t, "line"), text.Draw(t, "function")}
			})),
			Locks: list(t, rapid.Custom(func(t *rapid.T) Name {
				return Name{pagetable.PageID(rapid.Uint64().Draw(t, "id")), text.Draw(t, "text")}
			})),
			Lost: list(t, rapid.Custom(func(t *rapid.T) Loss {
				return Loss{node.Draw(t, "node"), rapid.Uint64().Draw(t, "events")}
			})),
			Events: list(t, rapid.Custom(func(t *rapid.T) Event {
				return Event{
					Time: rapid.Int64().Draw(t, "time"), Page: pagetable.PageID(rapid.Uint64().Draw(t, "page")), Wait: rapid.Int64().Draw(t, "wait"),
					Txn: rapid.Uint64().Draw(t, "txn"), Words: rapid.Uint64().Draw(t, "words"), Node: node.Draw(t, "node"), Other: node.Draw(t, "other"),
					Bytes: rapid.Uint32().Draw(t, "bytes"), Changed: rapid.Uint32().Draw(t, "changed"), Offset: rapid.Uint32().Draw(t, "offset"),
					Length: rapid.Uint32().Draw(t, "length"), Site: rapid.Uint32().Draw(t, "site"),
					Cause: Cause{node.Draw(t, "cause"), rapid.Uint32().Draw(t, "cause's site"), access.Draw(t, "cause's access")},
					Kind:  Kind(rapid.Uint8Range(1, uint8(kindEnd)-1).Draw(t, "kind")), Access: access.Draw(t, "access"), Held: access.Draw(t, "held"),
					Guessed: rapid.Bool().Draw(t, "guessed"),
				}
			})),
		}
	})
}

// list draws a list that is nil if it is empty, as a decoded one is.
func list[T any](t *rapid.T, of *rapid.Generator[T]) []T {
	l := rapid.SliceOfN(of, 0, 5).Draw(t, "list")
	if len(l) == 0 {
		return nil
	}
	return l
}

func TestChunkRoundTrip(t *testing.T) {
	c := NewCodec()
	rapid.Check(t, func(t *rapid.T) {
		ch := chunks().Draw(t, "chunk")
		if got, err := c.Decode(c.Encode(&ch)); err != nil || !reflect.DeepEqual(got, ch) {
			t.Fatalf("%+v became\n%+v, %v", ch, got, err)
		}
	})
}

func TestFullChunkFits(t *testing.T) {
	e := Event{
		Time: math.MaxInt64, Page: math.MaxUint64, Wait: math.MinInt64, Txn: math.MaxUint64, Words: math.MaxUint64, Node: math.MaxUint32,
		Other: math.MaxUint32, Bytes: math.MaxUint32, Changed: math.MaxUint32, Offset: math.MaxUint32, Length: math.MaxUint32,
		Site: math.MaxUint32, Cause: Cause{math.MaxUint32, math.MaxUint32, pagetable.WriteAccess}, Kind: Barrier, Access: pagetable.WriteAccess,
		Held: pagetable.WriteAccess, Guessed: true,
	}
	long := strings.Repeat("x", 2*MaxText)
	ch := Chunk{
		Until: math.MinInt64, Clocks: slicesOf(MaxNames, Clock{math.MaxUint32, math.MinInt64, math.MaxInt64}),
		Regions: slicesOf(MaxNames, Region{ID: pagetable.MaxRegionID, Name: long, Size: pagetable.MaxRegionSize, PageSize: pagetable.MaxPageSize, Layout: long}),
		Sites:   slicesOf(MaxNames, Site{math.MaxUint32, math.MaxUint32, long, long}), Locks: slicesOf(MaxNames, Name{math.MaxUint64, long}),
		Lost: slicesOf(MaxNames, Loss{math.MaxUint32, math.MaxUint64}), Events: slicesOf(MaxEvents, e),
	}
	for i := range ch.Events {
		if i%2 == 1 {
			ch.Events[i].Time = math.MinInt64
		}
	}
	c := NewCodec()
	b := c.Encode(&ch)
	if len(b) > MaxChunk {
		t.Errorf("it has %d bytes, at most %d are allowed", len(b), MaxChunk)
	}
	got, err := c.Decode(b)
	if err != nil || len(got.Sites[0].Line) != MaxText {
		t.Error(err)
	}
}

func slicesOf[T any](n int, v T) []T {
	l := make([]T, n)
	for i := range l {
		l[i] = v
	}
	return l
}

// TestFieldsAreChecked changes one field of an event to something that no node records.
func TestFieldsAreChecked(t *testing.T) {
	good := (&Event{Kind: Served, Access: pagetable.ReadAccess}).fields(0)
	if _, err := fromFields(&good, 0); err != nil {
		t.Error(err)
	}
	for _, bad := range []struct {
		field int
		value uint64
		want  string
	}{
		{0, 0, "kind"}, {0, uint64(kindEnd), "kind"}, {0, uint64(Fault) | 3<<8, "kind"}, {0, uint64(Fault) | 3<<16, "kind"},
		{0, uint64(Fault) | 3<<24, "kind"}, {0, uint64(Fault) | 1<<33, "kind"},
		{3, 1 << 32, "field 3"}, {4, 1 << 32, "field 4"}, {8, 1 << 32, "field 8"}, {9, 1 << 32, "field 9"}, {10, 1 << 32, "field 10"},
		{11, 1 << 32, "field 11"}, {12, 1 << 32, "field 12"}, {13, 1 << 32, "field 13"}, {14, 1 << 32, "field 14"},
	} {
		f := good
		f[bad.field] = bad.value
		if _, err := fromFields(&f, 0); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("field %d = %#x: %v, want an error that says %q", bad.field, bad.value, err, bad.want)
		}
	}
}

func samples() [][]byte {
	c := NewCodec()
	full := Chunk{
		Until: 5, Clocks: []Clock{{1, -5, 3}}, Regions: []Region{{ID: 1, Name: "r", Size: 4096, PageSize: 4096, Layout: "[]int"}},
		Sites: []Site{{1, 1, "a.go:1", "main.main"}}, Locks: []Name{{7, `mutex "m"`}}, Lost: []Loss{{1, 2}},
		Events: []Event{{Kind: Fault, Time: 17, Node: 1}, {Kind: Served, Time: 15, Node: 2, Cause: Cause{1, 1, pagetable.WriteAccess}}},
	}
	return [][]byte{bytes.Clone(c.Encode(&Chunk{})), bytes.Clone(c.Encode(&full))}
}

// TestHostileChunks puts lengths that nothing stands behind at each place of a chunk.
func TestHostileChunks(t *testing.T) {
	c := NewCodec()
	for _, whole := range samples() {
		for at := range whole {
			for _, claim := range []string{
				"", "\xc0", "\xdd\xff\xff\xff\xff", "\xdd\x7f\xff\xff\xff", "\xdc\x10\x00", "\xdb\xff\xff\xff\xff", "\xda\x03\xff", "\xc6\xff\xff\xff\xff",
				"\xdf\xff\xff\xff\xff", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xd3\xff\xff\xff\xff\xff\xff\xff\xff", "\xca\x7f\xc0\x00\x00",
			} {
				b := append(bytes.Clone(whole[:at]), claim...)
				if n := allocated(func() { _, _ = c.Decode(b) }); n > 1<<20 {
					t.Errorf("%d bytes are allocated for %q", n, b)
				}
			}
		}
		if _, err := c.Decode(append(bytes.Clone(whole), 0)); err == nil || !strings.Contains(err.Error(), "1 bytes after") {
			t.Errorf("a byte too many: %v", err)
		}
	}
}

// allocated returns how many bytes f allocates, with what goes on beside it.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzDecodeChunk(f *testing.F) {
	for _, b := range samples() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewCodec()
		ch, err := c.Decode(b)
		if err != nil {
			return
		}
		again, err := c.Decode(c.Encode(&ch))
		if err != nil || !reflect.DeepEqual(again, ch) {
			t.Errorf("%+v became\n%+v, %v", ch, again, err)
		}
		for _, e := range ch.Events {
			_ = e.String() // no value may be one that can't be shown
		}
		var m Merger
		if n := len(m.Add(&ch)) + len(m.Rest()); n != len(ch.Events) {
			t.Errorf("%d of %d events are merged", n, len(ch.Events))
		}
	})
}
