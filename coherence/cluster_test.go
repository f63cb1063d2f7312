package coherence

import (
	"fmt"
	"slices"
	"strings"

	"pagemesh/pagetable"
)

// cluster is a whole space in one value: its views, the pages at every node, and the packets between
// them. It does with the real core what package dsm does, one event at a time, and knows what every
// access must see. The explorer, the simulator and the scenarios differ in who picks the events.
//
// A page's bytes are a version: 0 is zeros, each write makes the next one. A version is read from the
// frame when a packet is sent and put into a frame when it is installed, as bytes would be.
type cluster struct {
	views []ordered // all, first to last
	nodes []node    // node n is at n-1
	// places holds what each node knows of each page, all pages of a node side by side.
	places []slot
	pages  int
	links  []link // those with packets under way
	memory []memory
	// crashes and leaves are how many more the explorer may cause, joins the programs of nodes that it
	// may let join.
	crashes, leaves int
	joins           []string
	*scratch
}

// ordered is a view, and the home of each page in it.
type ordered struct {
	View
	homes []pagetable.NodeID
}

// node is what one node does, its pages aside.
type node struct {
	status  status
	leaving bool
	view    int // index of the view it has installed
}

// status is whether a node takes part.
type status uint8

const (
	running status = iota
	// crashed: it does nothing more, but what it has sent is under way.
	crashed
	// left: it has handed everything over, and a view without it is ordered.
	left
)

// slot points to a place, which is shared with other clusters until this one needs to change it.
type slot struct {
	place *place
	own   bool
}

// place is what a node knows of one page.
type place struct {
	page    Page
	live    bool   // page is made
	frame   uint32 // version of the bytes
	waiting counts // faults that wait
	todo    counts // accesses that the explorer may still start
	vacate  vacating
}

// op is what a fault does once its page is there.
type op uint8

const (
	read op = iota
	write
	pinRead
	pinWrite
	// evict is no fault: the node wants to be rid of its copy.
	evict
	// fetch does nothing: a node that leaves wants the page to hand it over.
	fetch
	opEnd
)

var opNames = [opEnd]string{"read", "write", "pin-read", "pin-write", "evict", "fetch"}

func (o op) String() string { return opNames[o] }

func (o op) access() pagetable.Access {
	if o == read || o == pinRead {
		return pagetable.ReadAccess
	}
	return pagetable.WriteAccess
}

// counts says how many there are of each op. The order of faults at one node does not matter: those
// that one right serves are served at once.
type counts [opEnd]uint8

// vacating is how far a leaving node has brought a page, as its program sees it.
type vacating uint8

const (
	vacateNext vacating = iota
	// fetchNext: the page must come here before it can be handed over.
	fetchNext
	// vacateBegun: Surrender or HandOff was called.
	vacateBegun
)

// link holds the packets from one node to another, in the order in which they were sent.
type link struct {
	from, to pagetable.NodeID
	packets  []packet // never written to in place, since clones share it
}

// packet is a message with its page's bytes.
type packet struct {
	Message
	version uint32 // valid if Content is Bytes
}

// String adds the version to the message.
func (p packet) String() string {
	if p.Content != Bytes {
		return p.Message.String()
	}
	return fmt.Sprintf("%v v%d", p.Message, p.version)
}

// memory is the reference for one page.
type memory struct {
	latest uint32 // version of the last write
	// exposed: a crash hit a node that was the page's home or held it, so it may be lost.
	exposed bool
}

// scratch is what clones share: it holds nothing between two events.
type scratch struct {
	rd     Ready
	local  []Message
	rights []pagetable.Access
	census census
	// suspect is the page that was last looked at: the culprit, if a promise is broken.
	suspect int
	// log receives one line for each effect if it is not nil.
	log func(format string, args ...any)
	// pinned is told of each pin, by the event that will end it, if it is not nil.
	pinned func(event)
}

// census counts what a cluster and its clones have been through.
type census struct {
	kinds    [kindEnd]int // messages handled
	deferred int          // messages that had to wait for a pin
	lost     int          // times that waiting accesses ended because the page was lost
	holders  int          // the most nodes that had one page at once
}

// newCluster returns a space of that many nodes with one page for each of homes.
func newCluster(nodes int, homes ...pagetable.NodeID) *cluster {
	v := FoundingView(Member{Addr: "1"})
	for i := 2; i <= nodes; i++ {
		next, n, err := v.Reserve()
		if err != nil {
			panic(err)
		}
		v = next.Join(Member{Node: n, Addr: fmt.Sprint(i)})
	}
	v, _, err := v.AddRegion(pagetable.Region{
		Name: "region", Size: uint64(len(homes)) * pagetable.MinPageSize, PageSize: pagetable.MinPageSize,
		Placement: pagetable.Placement{Kind: pagetable.Blocked, Nodes: homes},
	})
	if err != nil {
		panic(err)
	}
	c := &cluster{pages: len(homes), memory: make([]memory, len(homes)), scratch: &scratch{}}
	c.order(v)
	for range nodes {
		c.addNode()
	}
	return c
}

// addNode makes room for one more node, which has the latest view.
func (c *cluster) addNode() {
	c.nodes = append(c.nodes, node{view: len(c.views) - 1})
	for range c.pages {
		c.places = append(c.places, slot{&place{}, true})
	}
}

// give lets the explorer start the accesses of a program at any time, in any order: r and w read and
// write, e evicts, R and W do so through a pin, which ends at any later time. A bar begins the next page.
func (c *cluster) give(n pagetable.NodeID, program string) {
	for page, accesses := range strings.Split(program, "|") {
		for _, letter := range accesses {
			c.at(n, page).todo[strings.IndexRune("rwRWe", letter)]++
		}
	}
}

func (c *cluster) clone() *cluster {
	d := *c
	d.views = slices.Clip(c.views)
	d.nodes = slices.Clone(c.nodes)
	d.links = slices.Clone(c.links)
	d.memory = slices.Clone(c.memory)
	for i := range c.places {
		c.places[i].own = false
	}
	d.places = slices.Clone(c.places)
	return &d
}

// clonePage returns a copy of p that shares nothing that is written to.
func clonePage(p Page) Page {
	if p.dir != nil {
		d := *p.dir
		d.queue = slices.Clone(d.queue)
		p.dir = &d
	}
	return p
}

func (c *cluster) index(n pagetable.NodeID, page int) int { return (int(n)-1)*c.pages + page }

// look returns a place that must not be changed.
func (c *cluster) look(n pagetable.NodeID, page int) *place { return c.places[c.index(n, page)].place }

// at returns a place that may be changed.
func (c *cluster) at(n pagetable.NodeID, page int) *place {
	s := &c.places[c.index(n, page)]
	if !s.own {
		pl := *s.place
		pl.page = clonePage(pl.page)
		*s = slot{&pl, true}
	}
	return s.place
}

// touch returns a place whose page is made.
func (c *cluster) touch(n pagetable.NodeID, page int) *place {
	pl := c.at(n, page)
	if !pl.live {
		v := c.viewOf(n)
		pl.page = MakePage(pagetable.MakePageID(1, uint64(page)), n, v.homes[page], v.Epoch)
		pl.live = true
	}
	return pl
}

func (c *cluster) node(n pagetable.NodeID) *node      { return &c.nodes[n-1] }
func (c *cluster) viewOf(n pagetable.NodeID) ordered  { return c.views[c.node(n).view] }
func (c *cluster) latest() View                       { return c.views[len(c.views)-1].View }
func (c *cluster) isRunning(n pagetable.NodeID) bool  { return c.node(n).status == running }
func (c *cluster) isUpToDate(n pagetable.NodeID) bool { return c.node(n).view == len(c.views)-1 }

// order makes v the latest view.
func (c *cluster) order(v View) {
	r, ok := v.Regions.ByID(1)
	if !ok {
		panic("cluster: no region")
	}
	homes := make([]pagetable.NodeID, c.pages)
	for page := range homes {
		homes[page] = v.Home(r, uint64(page))
	}
	c.views = append(c.views, ordered{v, homes})
	if c.log != nil {
		c.log("view %d: epoch %d, members %v, staying %v", len(c.views)-1, v.Epoch, v.Nodes(), v.Staying())
	}
}

// home returns a page's home in the latest view.
func (c *cluster) home(page int) pagetable.NodeID { return c.views[len(c.views)-1].homes[page] }

// post puts a packet under way.
func (c *cluster) post(p packet) {
	if !c.isRunning(p.To) {
		return
	}
	for i := range c.links {
		if l := &c.links[i]; l.from == p.From && l.to == p.To {
			l.packets = append(slices.Clip(l.packets), p)
			return
		}
	}
	c.links = append(c.links, link{p.From, p.To, []packet{p}})
}

// take removes the first packet from a link that has one.
func (c *cluster) take(from, to pagetable.NodeID) packet {
	i := slices.IndexFunc(c.links, func(l link) bool { return l.from == from && l.to == to })
	l := &c.links[i]
	p := l.packets[0]
	if l.packets = l.packets[1:]; len(l.packets) == 0 {
		c.links = slices.Delete(c.links, i, i+1)
	}
	return p
}

// cut drops what is under way on the links that f chooses.
func (c *cluster) cut(f func(l link) bool) { c.links = slices.DeleteFunc(c.links, f) }

// add puts another census together with this one.
func (n *census) add(o census) {
	for i := range n.kinds {
		n.kinds[i] += o.kinds[i]
	}
	n.deferred += o.deferred
	n.lost += o.lost
	n.holders = max(n.holders, o.holders)
}
