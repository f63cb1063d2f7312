package coherence

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/pagetable"
)

// Limits of what a view on the wire may hold, beside the number of bytes.
const (
	maxAddrLen    = 256
	maxRegions    = 1 << 20
	viewFields    = 10
	memberFields  = 5
	regionFields  = 8
	maxPlacement  = MaxMembers
	minRegionWire = 9 // bytes that a region takes at least
)

// EncodeView returns v's wire form.
func EncodeView(v View) []byte {
	var out bytes.Buffer
	w := viewWriter{msgpack.NewEncoder(&out)}
	w.array(viewFields)
	w.uint(v.Term)
	w.uint(v.Version)
	w.uint(v.Epoch)
	w.uint(uint64(v.Coordinator))
	w.uint(uint64(v.Departed))
	w.uint(uint64(v.nextNode))
	w.uint(uint64(v.nextRegion))
	w.placement(v.Locks)
	w.array(len(v.Members))
	for _, m := range v.Members {
		w.member(m)
	}
	w.array(v.Regions.Len())
	for r := range v.Regions.All() {
		w.region(r)
	}
	return out.Bytes()
}

// EncodeRegion returns r's wire form.
func EncodeRegion(r pagetable.Region) []byte {
	var out bytes.Buffer
	viewWriter{msgpack.NewEncoder(&out)}.region(r)
	return out.Bytes()
}

// viewWriter writes to a bytes.Buffer, which can't fail.
type viewWriter struct{ enc *msgpack.Encoder }

func (w viewWriter) array(n int)     { _ = w.enc.EncodeArrayLen(n) }
func (w viewWriter) uint(v uint64)   { _ = w.enc.EncodeUint(v) }
func (w viewWriter) string(s string) { _ = w.enc.EncodeString(s) }

func (w viewWriter) member(m Member) {
	w.array(memberFields)
	w.uint(uint64(m.Node))
	w.string(m.Addr)
	w.uint(m.Incarnation)
	w.uint(uint64(m.Rank))
	w.uint(uint64(m.Successor))
}

func (w viewWriter) region(r pagetable.Region) {
	w.array(regionFields)
	w.uint(uint64(r.ID))
	w.string(r.Name)
	w.uint(uint64(r.Base))
	w.uint(r.Size)
	w.uint(uint64(r.PageSize))
	w.placement(r.Placement)
	w.string(r.Layout)
	w.uint(uint64(r.Consistency))
}

func (w viewWriter) placement(p pagetable.Placement) {
	w.array(len(p.Nodes) + 1)
	w.uint(uint64(p.Kind))
	for _, n := range p.Nodes {
		w.uint(uint64(n))
	}
}

// DecodeView reads a view that fills b exactly. Its memory is bounded by a small multiple of len(b).
func DecodeView(b []byte) (View, error) {
	r := newViewReader(b)
	r.array(viewFields, viewFields, 1)
	v := View{Term: r.uint(1<<64 - 1), Version: r.uint(1<<64 - 1), Epoch: r.uint(1<<64 - 1)}
	v.Coordinator = pagetable.NodeID(r.uint(1<<32 - 1))
	v.Departed = pagetable.NodeID(r.uint(1<<32 - 1))
	v.nextNode = pagetable.NodeID(r.uint(1<<32 - 1))
	v.nextRegion = pagetable.RegionID(r.uint(uint64(pagetable.MaxRegionID) + 1))
	v.Locks = r.placement()
	var last pagetable.NodeID
	for range r.array(1, MaxMembers, memberFields) {
		m := r.member()
		if m.Node <= last {
			r.fail("members are not ascending from 1: %v after %v", m.Node, last)
		}
		if r.err == nil {
			v.Members = append(v.Members, m)
		}
		last = m.Node
	}
	v.Regions = r.regions()
	if r.err == nil && !v.Has(v.Coordinator) {
		r.fail("coordinator %v is no member", v.Coordinator)
	}
	return v, r.end()
}

// DecodeRegion reads a region that fills b exactly. Its options are not checked.
func DecodeRegion(b []byte) (pagetable.Region, error) {
	r := newViewReader(b)
	reg := r.region()
	return reg, r.end()
}

// viewReader keeps the first error; after it every read returns zero.
type viewReader struct {
	in  *bytes.Reader
	dec *msgpack.Decoder
	err error
}

func newViewReader(b []byte) *viewReader {
	in := bytes.NewReader(b)
	return &viewReader{in: in, dec: msgpack.NewDecoder(in)}
}

func (r *viewReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("coherence: view: "+format, args...)
	}
}

// array reads a length from low to high of elements that take at least size bytes each.
func (r *viewReader) array(low, high, size int) int {
	if r.err != nil {
		return 0
	}
	n, err := r.dec.DecodeArrayLen()
	if err != nil || n < low || n > high || n*size > r.in.Len() {
		r.fail("array of %d where %d to %d are allowed and %d bytes remain (%v)", n, low, high, r.in.Len(), err)
		return 0
	}
	return n
}

func (r *viewReader) uint(high uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, err := r.dec.DecodeUint64()
	if err != nil || v > high {
		r.fail("number %d where at most %d is allowed (%v)", v, high, err)
		return 0
	}
	return v
}

// string checks the length before the bytes are allocated.
func (r *viewReader) string(maxLen int) string {
	if r.err != nil {
		return ""
	}
	n, err := r.dec.DecodeBytesLen()
	if err != nil || n < 0 || n > maxLen || n > r.in.Len() {
		r.fail("text of %d bytes where at most %d are allowed (%v)", n, maxLen, err)
		return ""
	}
	b := make([]byte, n)
	if err := r.dec.ReadFull(b); err != nil {
		r.fail("text: %v", err)
		return ""
	}
	return string(b)
}

func (r *viewReader) member() Member {
	r.array(memberFields, memberFields, 1)
	return Member{
		Node: pagetable.NodeID(r.uint(1<<32 - 1)), Addr: r.string(maxAddrLen), Incarnation: r.uint(1<<64 - 1),
		Rank: int(r.uint(1<<31 - 1)), Successor: pagetable.NodeID(r.uint(1<<32 - 1)),
	}
}

func (r *viewReader) regions() *pagetable.RegionMap {
	m := pagetable.NewRegionMap()
	for range r.array(0, maxRegions, minRegionWire) {
		reg := r.region()
		if r.err != nil {
			break
		}
		if err := m.Insert(reg); err != nil {
			r.fail("%v", err)
		}
	}
	return m
}

func (r *viewReader) region() pagetable.Region {
	r.array(regionFields, regionFields, 1)
	return pagetable.Region{
		ID: pagetable.RegionID(r.uint(uint64(pagetable.MaxRegionID))), Name: r.string(pagetable.MaxNameLen),
		Base: pagetable.Addr(r.uint(uint64(pagetable.WindowEnd))), Size: r.uint(pagetable.MaxRegionSize),
		PageSize: int(r.uint(pagetable.MaxPageSize)), Placement: r.placement(),
		Layout:      r.string(pagetable.MaxLayoutLen),
		Consistency: pagetable.Consistency(r.uint(uint64(pagetable.Release))),
	}
}

func (r *viewReader) placement() pagetable.Placement {
	n := r.array(1, maxPlacement+1, 1)
	p := pagetable.Placement{Kind: pagetable.PlacementKind(r.uint(uint64(pagetable.Blocked)))}
	for range n - 1 {
		p.Nodes = append(p.Nodes, pagetable.NodeID(r.uint(1<<32-1)))
	}
	return p
}

func (r *viewReader) end() error {
	if r.err == nil && r.in.Len() != 0 {
		r.fail("%d bytes too many", r.in.Len())
	}
	return r.err
}

// EncodeMember returns m's wire form.
func EncodeMember(m Member) []byte {
	var out bytes.Buffer
	viewWriter{msgpack.NewEncoder(&out)}.member(m)
	return out.Bytes()
}

// DecodeMember reads a member that fills b exactly.
func DecodeMember(b []byte) (Member, error) {
	r := newViewReader(b)
	m := r.member()
	return m, r.end()
}
