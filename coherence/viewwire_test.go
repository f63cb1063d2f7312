package coherence

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

func sampleRegion() pagetable.Region {
	return pagetable.Region{
		ID: 3, Name: "grid", Base: pagetable.WindowStart, Size: 1 << 20, PageSize: 4096,
		Placement: pagetable.Placement{Kind: pagetable.Blocked, Nodes: []pagetable.NodeID{1, 2, 2}}, Layout: "float64",
	}
}

// sampleView returns a view with three members, one of them leaving, two regions and placed locks.
func sampleView() View {
	v := newCluster(3, 1, 2).latest()
	r := sampleRegion()
	r.Placement.Nodes = []pagetable.NodeID{3, 1}
	v, _, err := v.AddRegion(r)
	if err != nil {
		panic(err)
	}
	if v, err = v.PlaceLocks().StartLeave(2); err != nil {
		panic(err)
	}
	return v
}

// TestDecodeViewRefuses gives the decoder views that are well formed and can't be.
func TestDecodeViewRefuses(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(v *View)
	}{
		{"not ascending", func(v *View) { v.Members[0].Node = 0 }},
		{"not ascending", func(v *View) { v.Members[1].Node = 1 }},
		{"not ascending", func(v *View) { slices.Reverse(v.Members) }},
		{"coordinator n9 is no member", func(v *View) { v.Coordinator = 9 }},
		{"coordinator - is no member", func(v *View) { v.Coordinator = 0 }},
		{"array of 0", func(v *View) { v.Members = nil }},
		{"array of 1025", func(v *View) { v.Members = make([]Member, MaxMembers+1) }},
		{"text of 257 bytes", func(v *View) { v.Members[0].Addr = strings.Repeat("a", maxAddrLen+1) }},
		{"number 2147483648", func(v *View) { v.Members[0].Rank = 1 << 31 }},
		{"number 2", func(v *View) { v.Locks.Kind = 2 }},
		{"number 16777217", func(v *View) { v.nextRegion = pagetable.MaxRegionID + 2 }},
	} {
		v := sampleView()
		v.Members = slices.Clone(v.Members)
		tc.change(&v)
		if _, err := DecodeView(EncodeView(v)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want an error that says %q", err, tc.want)
		}
	}
}

func FuzzDecodeView(f *testing.F) {
	f.Add(EncodeView(FoundingView(Member{Addr: "127.0.0.1:7000", Incarnation: 1 << 60, Rank: 3})))
	f.Add(EncodeView(sampleView()))
	lost := sampleView().Lose([]pagetable.NodeID{1})
	f.Add(EncodeView(lost.TakeOver(2, 9)))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, func() {
			v, err := DecodeView(b)
			if err != nil {
				return
			}
			if err := checkView(v); err != nil {
				t.Errorf("took a view that can't be: %v", err)
			}
			again, err := DecodeView(EncodeView(v))
			if err != nil || !sameView(v, again) {
				t.Errorf("%+v became %+v, %v", v, again, err)
			}
		})
	})
}

func FuzzDecodeRegion(f *testing.F) {
	f.Add(EncodeRegion(pagetable.Region{Name: "r"}))
	f.Add(EncodeRegion(sampleRegion()))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, func() {
			r, err := DecodeRegion(b)
			if err != nil {
				return
			}
			if again, err := DecodeRegion(EncodeRegion(r)); err != nil || !sameRegionBytes(r, again) {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		})
	})
}

func FuzzDecodeMember(f *testing.F) {
	f.Add(EncodeMember(Member{}))
	f.Add(EncodeMember(Member{Node: 1 << 31, Addr: strings.Repeat("a", maxAddrLen), Incarnation: 1 << 63, Rank: 7, Successor: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, func() {
			m, err := DecodeMember(b)
			if err != nil {
				return
			}
			if again, err := DecodeMember(EncodeMember(m)); err != nil || again != m {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		})
	})
}

// sameView compares by value.
func sameView(v, o View) bool { return bytes.Equal(EncodeView(v), EncodeView(o)) }

func sameRegionBytes(r, o pagetable.Region) bool {
	return fmt.Sprintf("%#v", r) == fmt.Sprintf("%#v", o)
}

// checkView returns which invariant of a view does not hold.
func checkView(v View) error {
	nodes := v.Nodes()
	switch {
	case len(nodes) == 0 || len(nodes) > MaxMembers:
		return fmt.Errorf("%d members", len(nodes))
	case nodes[0] == 0 || !slices.IsSorted(nodes) || len(slices.Compact(slices.Clone(nodes))) != len(nodes):
		return fmt.Errorf("members %v are not ascending from 1", nodes)
	case !v.Has(v.Coordinator):
		return fmt.Errorf("coordinator %v is no member", v.Coordinator)
	}
	for r := range v.Regions.All() {
		if err := r.Validate(); err != nil {
			return err
		}
	}
	return nil
}
