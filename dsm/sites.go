package dsm

import (
	"fmt"
	"sync"

	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// sites numbers the places in programs that make a node fault, so that an event names one in four bytes.
// Numbers begin at 1; 0 is an unknown place.
type sites struct {
	calls siteCache
	mu    sync.Mutex // guards what follows
	list  []place
	known map[place]uint32
}

// place is a line of this program, or an instruction of an attached one.
type place struct {
	of             *symbols // of an attached program
	pc             uint64   // there, as in its executable
	line, function string   // of this program
}

// maxPlaces bounds the places of a node. Any more are unknown.
const maxPlaces = 1 << 16

// number returns the number of a place.
func (t *sites) number(p place) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	id, ok := t.known[p]
	if ok || len(t.list) == maxPlaces {
		return id
	}
	if t.known == nil {
		t.known = map[place]uint32{}
	}
	t.list = append(t.list, p)
	id = uint32(len(t.list))
	t.known[p] = id
	return id
}

// since returns the sites with numbers above after, at most most of them.
func (t *sites) since(after uint32, most int, node pagetable.NodeID) []trace.Site {
	t.mu.Lock()
	places := t.list[min(int(after), len(t.list)):]
	t.mu.Unlock()
	var list []trace.Site
	for i, p := range places[:min(len(places), most)] {
		line, function := p.where()
		list = append(list, trace.Site{Node: node, ID: after + uint32(i) + 1, Line: line, Function: function})
	}
	return list
}

// where returns "file:line" and the function of site number id.
func (t *sites) where(id uint32) (line, function string) {
	t.mu.Lock()
	var p place
	if id > 0 && int(id) <= len(t.list) {
		p = t.list[id-1]
	}
	t.mu.Unlock()
	return p.where()
}

func (p place) where() (line, function string) {
	if p.of == nil {
		return p.line, p.function
	}
	file, n, fn := p.of.table.PCToLine(p.pc)
	if fn == nil {
		return "", ""
	}
	return fmt.Sprintf("%s:%d", file, n), fn.Name
}
