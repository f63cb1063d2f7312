package coherence

import (
	"cmp"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"pagemesh/pagetable"
)

// fingerprint appends bytes that differ for clusters with different futures. Three things are left out
// because no future depends on them:
//
//   - the number of a version: a page's bytes are zeros, the last write, or neither;
//   - the number of a transaction: it is only compared with the home's present one, so what counts is
//     the distance;
//   - the order of packets on different links, and of views that every running node has.
func (c *cluster) fingerprint(b []byte) []byte {
	b = append(b, byte(c.crashes), byte(c.leaves), byte(len(c.joins)))
	oldest := len(c.views) - 1
	for i := range c.nodes {
		n := &c.nodes[i]
		b = append(b, byte(n.status), bit(n.leaving), byte(n.view))
		if n.status == running {
			oldest = min(oldest, n.view)
		}
	}
	for _, v := range c.views[oldest:] {
		b = fingerprintView(v, b)
	}
	for page := range c.pages {
		b = c.fingerprintPage(page, b)
	}
	slices.SortFunc(c.links, func(l, o link) int {
		return cmp.Or(cmp.Compare(l.from, o.from), cmp.Compare(l.to, o.to))
	})
	for _, l := range c.links {
		b = append(b, byte(l.from), byte(l.to), byte(len(l.packets)))
		for _, p := range l.packets {
			page := int(p.Page.Index())
			b = append(b, byte(page), bit(p.Content == Bytes && p.version == c.memory[page].latest))
			b = fingerprintMessage(p.Message, c.firstTxn(page), b)
		}
	}
	return b
}

func fingerprintView(v ordered, b []byte) []byte {
	b = append(b, byte(len(v.Members)), byte(v.Departed), byte(v.Coordinator))
	b = binary.AppendUvarint(b, v.Epoch)
	for _, m := range v.Members {
		b = append(b, byte(m.Node), byte(m.Successor))
	}
	for _, home := range v.homes {
		b = append(b, byte(home))
	}
	return b
}

func bit(set bool) byte {
	if set {
		return 1
	}
	return 0
}

func (c *cluster) fingerprintPage(page int, b []byte) []byte {
	mem := &c.memory[page]
	b = append(b, bit(mem.latest > 0), bit(mem.exposed))
	base := c.firstTxn(page)
	for i := range c.nodes {
		n := pagetable.NodeID(i + 1)
		pl := c.look(n, page)
		if !c.isRunning(n) {
			continue
		}
		b = append(b, bit(pl.live), bit(pl.frame == mem.latest), byte(pl.vacate))
		b = append(b, pl.todo[:]...)
		if !pl.live {
			continue
		}
		b = append(b, pl.waiting[:]...)
		b = fingerprintProtocol(&pl.page, base, b)
	}
	return b
}

// firstTxn returns the present transaction number at the first running node that has a directory entry.
func (c *cluster) firstTxn(page int) uint32 {
	for i := range c.nodes {
		n := pagetable.NodeID(i + 1)
		if d := c.look(n, page).page.dir; d != nil && c.isRunning(n) {
			return d.txn.number
		}
	}
	return 0
}

func fingerprintProtocol(p *Page, base uint32, b []byte) []byte {
	cp := &p.copy
	b = binary.AppendUvarint(b, p.epoch)
	b = append(b, byte(p.home), byte(p.departure), byte(cp.access), byte(cp.pending),
		byte(cp.want), bit(cp.zero), byte(cp.readers), byte(cp.writers), bit(cp.delayed))
	if cp.delayed {
		b = fingerprintMessage(cp.deferred, base, b)
	}
	d := p.dir
	if d == nil {
		return append(b, 0xff)
	}
	t := &d.txn
	b = append(b, byte(d.state), byte(d.owner), byte(t.node), byte(t.access), bit(t.evicts), byte(t.phase), byte(t.supplier),
		bit(t.orphaned), byte(len(d.queue)))
	b = appendSet(b, d.copies)
	b = appendSet(b, t.waiting)
	b = binary.BigEndian.AppendUint32(b, t.number-base)
	for _, r := range d.queue {
		b = append(b, byte(r.node), byte(r.access), bit(r.evicts))
	}
	return b
}

// appendSet appends a set of nodes with ids up to 8.
func appendSet(b []byte, s pagetable.CopySet) []byte {
	var bits byte
	for n := range s.All() {
		bits |= 1 << (n - 1)
	}
	return append(b, bits)
}

func fingerprintMessage(m Message, base uint32, b []byte) []byte {
	b = binary.AppendUvarint(b, m.Epoch)
	b = append(b, byte(m.Kind), byte(m.From), byte(m.To), byte(m.Access), byte(m.Requester), byte(m.Content))
	if m.Txn == 0 {
		return append(b, 0)
	}
	return binary.BigEndian.AppendUint32(append(b, 1), m.Txn-base)
}

// TestFingerprintKnowsEveryField fails when a field comes to the protocol's state: the fingerprint has
// to tell states apart that differ in it.
func TestFingerprintKnowsEveryField(t *testing.T) {
	for _, known := range []struct {
		state  any
		fields []string
	}{
		{Page{}, []string{"id", "self", "home", "epoch", "copy", "dir", "departure", "release"}},
		{copyState{}, []string{"access", "pending", "want", "zero", "readers", "writers", "deferred", "delayed"}},
		{directory{}, []string{"state", "owner", "copies", "txn", "queue"}},
		{transaction{}, []string{"request", "phase", "supplier", "orphaned", "waiting", "number"}},
		{request{}, []string{"node", "access", "evicts", "site"}},
		{release{}, []string{"version", "needed", "since", "twin", "streak", "kept", "flights", "lost", "following", "homed", "shared", "noted", "watched", "followers"}},
		{streak{}, []string{"last", "length"}},
		{following{}, []string{"on", "patience", "idle", "news", "missed"}},
		{Message{}, []string{"Kind", "Page", "From", "To", "Epoch", "Access", "Requester", "Txn", "Content", "Version", "Site"}},
	} {
		typ := reflect.TypeOf(known.state)
		var fields []string
		for i := range typ.NumField() {
			fields = append(fields, typ.Field(i).Name)
		}
		if !slices.Equal(fields, known.fields) {
			t.Errorf("%v has the fields %v, the fingerprint was made for %v", typ, fields, known.fields)
		}
	}
}
