package coherence

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// TestNoticesStayBounded: a million intervals of few pages leave as little as a thousand.
func TestNoticesStayBounded(t *testing.T) {
	const pages, intervals = 10, 1_000_000
	var a, b Notices
	var told []Notice
	longest := 0
	for i := uint64(1); i <= intervals; i++ {
		from, to := &a, &b
		if i%2 == 0 {
			from, to = to, from
		}
		from.Wrote(pagetable.PageID(i%pages), Flushed{Version: i, By: 9})
		told = from.Tell(pagetable.NodeID(2-i%2), told[:0]) // the third node is never told
		to.Learn(pagetable.NodeID(1+i%2), told)
		to.Acquire(nil)
		longest = max(longest, len(from.log))
		if len(told) > 1 {
			t.Fatalf("interval %d tells %v, want what is new", i, told)
		}
	}
	if longest > 2*pages+minLog || len(a.known) != pages {
		t.Errorf("up to %d entries for %d pages, %d known", longest, pages, len(a.known))
	}
	if told = a.Tell(3, nil); len(told) != pages {
		t.Errorf("a node that was never told hears of %d pages, want %d", len(told), pages)
	}
}

// TestIntervalsWrap: the numbers of intervals start over.
func TestIntervalsWrap(t *testing.T) {
	v := Intervals{closed: 1<<32 - 2}
	for range 3 {
		v.Wrote(7)
		before, _ := v.Close()
		v.Wrote(8)
		after, pages := v.Close()
		if !slices.Equal(pages, []pagetable.PageID{8}) {
			t.Fatalf("pages %v", pages)
		}
		v.Flushed(1, Flushed{Interval: after})
		if v.Settled(before) || v.Settled(after) {
			t.Fatalf("%d and %d are settled, and %d is not flushed", before, after, before)
		}
		v.Flushed(1, Flushed{Interval: before})
		if !v.Settled(before) || !v.Settled(after) || !v.Idle() {
			t.Fatalf("%d and %d are flushed, and not settled", before, after)
		}
	}
}

func TestNoticesRoundTrip(t *testing.T) {
	c := NewCodec()
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Notice {
			return Notice{pagetable.PageID(rapid.Uint64().Draw(t, "page")), rapid.Uint64Min(1).Draw(t, "version")}
		}), 0, 50).Draw(t, "notices")
		b := c.EncodeNotices('n', ns)
		got, err := c.DecodeNotices(nil, b[1:])
		if err != nil || !slices.Equal(got, ns) {
			t.Fatalf("%v became %v, %v", ns, got, err)
		}
		if _, err := c.DecodeNotices(nil, b[1:len(b)-1]); err == nil {
			t.Fatal("notices that lack their end were taken")
		}
	})
}

// TestNoticesAreChecked gives the decoder what no node sends.
func TestNoticesAreChecked(t *testing.T) {
	c := NewCodec()
	for _, b := range [][]byte{
		{}, {0x91, 1}, {0x92, 1, 0}, {0x92, 1, 1, 1}, {0xdd, 0xff, 0xff, 0xff, 0xfe}, {0xdc, 0x40, 0x02}, {0xc0},
	} {
		if ns, err := c.DecodeNotices(nil, b); err == nil {
			t.Errorf("%x is taken for %v", b, ns)
		}
	}
}

// FuzzDecodeNotices: notices take memory that their bytes pay for, whatever their length says.
func FuzzDecodeNotices(f *testing.F) {
	c := NewCodec()
	f.Add(slices.Clone(c.EncodeNotices('n', []Notice{{1, 2}, {3, 4}})[1:]))
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xfe, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		ns, err := c.DecodeNotices(nil, b)
		if err == nil && 2*len(ns) > len(b) {
			t.Fatalf("%d notices of %d bytes", len(ns), len(b))
		}
	})
}
