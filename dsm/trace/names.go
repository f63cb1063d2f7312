package trace

import (
	"fmt"

	"pagemesh/pagetable"
)

// Names knows what the numbers in events stand for. The zero Names knows nothing.
type Names struct {
	regions map[pagetable.RegionID]Region
	sites   map[siteKey]Site
	locks   map[pagetable.PageID]string
}

type siteKey struct {
	node pagetable.NodeID
	id   uint32
}

// Add takes what a chunk says.
func (n *Names) Add(ch *Chunk) {
	if n.sites == nil {
		n.regions, n.sites, n.locks = map[pagetable.RegionID]Region{}, map[siteKey]Site{}, map[pagetable.PageID]string{}
	}
	for _, r := range ch.Regions {
		n.regions[r.ID] = r
	}
	for _, s := range ch.Sites {
		n.sites[siteKey{s.Node, s.ID}] = s
	}
	for _, l := range ch.Locks {
		n.locks[l.ID] = l.Text
	}
}

// Region returns what is known of a region.
func (n *Names) Region(id pagetable.RegionID) (Region, bool) {
	r, ok := n.regions[id]
	return r, ok
}

// Site returns the line with that number at a node.
func (n *Names) Site(node pagetable.NodeID, id uint32) (Site, bool) {
	s, ok := n.sites[siteKey{node, id}]
	return s, ok
}

// Of returns what an event is about: "region[page]", or what a lock is called.
func (n *Names) Of(e *Event) string {
	if e.Kind.OfLock() {
		if text, ok := n.locks[e.Page]; ok {
			return text
		}
		return fmt.Sprintf("lock %016x", uint64(e.Page))
	}
	if r, ok := n.regions[e.Page.Region()]; ok {
		return fmt.Sprintf("%s[%d]", r.Name, e.Page.Index())
	}
	return e.Page.String()
}
