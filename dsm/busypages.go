package dsm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"pagemesh/dsm/layout"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// PageQuery selects pages.
type PageQuery struct {
	Region string `json:"region"` // only pages of this region; "" for all
	Page   int64  `json:"page"`   // only this page of the region; negative for all
	Top    int    `json:"top"`    // at most that many, the busiest; 0 for all that have traffic
}

// A node may know of millions of pages, and an answer must fit a packet. So the members are asked first
// for the weights of all pages, some at a time, and then for what they know of the pages that are wanted.
const (
	weightsPerAnswer = 1 << 15 // of at most 90 bytes each
	pagesPerAnswer   = 32
	// maxSpans is how many spans of a writer are told, the first ones: enough to see how nodes share
	// the page.
	maxSpans = 1 << 11
)

// weight is how busy a page is at one member, or at all.
type weight struct {
	Page  pagetable.PageID `json:"p"`
	Stall uint64           `json:"s"` // nanoseconds
	Bytes uint64           `json:"b"` // received
}

// pageQuestion is what a member is asked: what it knows of the named pages, or, if none is named, for
// the weights of those that follow After.
type pageQuestion struct {
	Region string             `json:"region"` // only pages of this region; "" for all
	After  pagetable.PageID   `json:"after"`
	Pages  []pagetable.PageID `json:"pages"`
}

// busyPages sums up what all members have counted on the pages that q selects, the busiest first.
func (s *node) busyPages(ctx context.Context, q PageQuery) ([]PageStats, error) {
	pages, err := s.selectPages(ctx, q)
	if err != nil {
		return nil, err
	}
	merge := mergedPages{}
	for some := range slices.Chunk(pages, pagesPerAnswer) {
		question, err := marshal(pageQuestion{Pages: some})
		if err != nil {
			return nil, err
		}
		if _, err := askAll(ctx, s, callPages, question, func(one []PageStats, _ []struct{}) []struct{} {
			merge.add(one)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	list := merge.busiest()
	for i := range list {
		if r, ok := s.view().Regions.ByName(list[i].Region); ok {
			if whole, ok := declared(r); ok {
				list[i].Types = []layout.Range{whole}
			}
		}
	}
	return list, nil
}

// selectPages returns the pages that q selects, the busiest first.
func (s *node) selectPages(ctx context.Context, q PageQuery) ([]pagetable.PageID, error) {
	if q.Page >= 0 {
		return s.named(q), nil
	}
	sum := map[pagetable.PageID]weight{}
	for _, n := range s.view().Nodes() {
		err := s.weigh(ctx, n, q.Region, sum)
		if err != nil && (!errors.Is(err, ErrNodeLost) || s.refusal() != nil) {
			return nil, err
		}
	}
	order := slices.SortedFunc(maps.Values(sum), func(a, b weight) int {
		return cmp.Or(cmp.Compare(b.Stall, a.Stall), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Page, b.Page))
	})
	if q.Top > 0 && len(order) > q.Top {
		order = order[:q.Top]
	}
	var pages []pagetable.PageID
	for _, w := range order {
		pages = append(pages, w.Page)
	}
	return pages, nil
}

// named returns the page with q's index of each region that q selects.
func (s *node) named(q PageQuery) (pages []pagetable.PageID) {
	for id, r := range s.cur.Load().regions {
		if (q.Region == "" || q.Region == r.name()) && uint64(q.Page) < r.meta.Load().Pages() {
			pages = append(pages, pagetable.MakePageID(id, uint64(q.Page)))
		}
	}
	return pages
}

// weigh adds the weights of a member's pages to sum.
func (s *node) weigh(ctx context.Context, n pagetable.NodeID, region string, sum map[pagetable.PageID]weight) error {
	q := pageQuestion{Region: region}
	for {
		question, err := marshal(q)
		if err != nil {
			return err
		}
		some, err := askMember[[]weight](ctx, s, n, callPages, question)
		if err != nil {
			return err
		}
		for _, w := range some {
			before := sum[w.Page]
			sum[w.Page] = weight{w.Page, before.Stall + w.Stall, before.Bytes + w.Bytes}
			q.After = w.Page
		}
		if len(some) < weightsPerAnswer {
			return nil
		}
	}
}

// answerPages answers a pageQuestion.
func (s *node) answerPages(question []byte) ([]byte, error) {
	var q pageQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("page question: %w", err)
	}
	if len(q.Pages) == 0 {
		return marshal(s.weights(q))
	}
	list := []PageStats{}
	for _, p := range q.Pages {
		if r := s.cur.Load().regions[p.Region()]; r != nil {
			list = r.appendStats(list, p.Index())
		}
	}
	return marshal(list)
}

// weights returns the weights of pages with traffic that follow q.After, ascending.
func (s *node) weights(q pageQuestion) []weight {
	list := []weight{}
	regions := s.cur.Load().regions
	for _, id := range slices.Sorted(maps.Keys(regions)) {
		r := regions[id]
		if q.Region != "" && q.Region != r.name() || id < q.After.Region() {
			continue
		}
		for index, pg := range r.pages.All() {
			p := pagetable.MakePageID(id, index)
			if p <= q.After {
				continue
			}
			pg.mu.Lock()
			c, live := pg.traffic.Counts, pg.live && !pg.closed
			pg.mu.Unlock()
			if live && c != (Counts{}) {
				list = append(list, weight{p, c.StallNanos, c.BytesIn})
			}
			if len(list) == weightsPerAnswer {
				return list
			}
		}
	}
	return list
}

// appendStats appends what this node knows of one page, if anything.
func (r *region) appendStats(list []PageStats, index uint64) []PageStats {
	pg := r.pages.Get(index)
	if pg == nil {
		return list
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if !pg.live || pg.closed {
		return list
	}
	if !pg.written() {
		pg.traffic.look(r.frame(index))
	}
	return append(list, r.pageStats(index, pg))
}

// pageStats describes one page. The caller holds pg.mu.
func (r *region) pageStats(index uint64, pg *page) PageStats {
	t := &pg.traffic
	st := PageStats{
		Region: r.name(), Page: index, Offset: index << r.shift, Size: r.pageSize(), Home: pg.proto.Home(),
		Counts: t.Counts, Nodes: []pagetable.NodeID{}, Writers: []Writer{}, Sites: t.siteStats(r.s),
	}
	if t.ReadFaults+t.WriteFaults+t.Upgrades > 0 {
		st.Nodes = append(st.Nodes, r.s.self)
	}
	if words := t.written.Words(); words > 0 {
		wr := Writer{Node: r.s.self, Words: words}
		for _, sp := range spansOf(&t.written) {
			wr.Spans = append(wr.Spans, Span(sp))
		}
		st.Writers = append(st.Writers, wr)
	}
	st.Sharing = t.sharing(r.s.self)
	st.Types = r.types.within(st.Offset, st.Offset+uint64(st.Size))
	return st
}

// sharing returns this node's part in the sharing of the page.
func (t *traffic) sharing(self pagetable.NodeID) sharing.Page {
	p := sharing.Page{Asked: uint64(t.asked), Queued: uint64(t.queued), Nodes: []sharing.Node{}}
	switch {
	case t.sharer != nil:
		p.Nodes = append(p.Nodes, t.sharer.part(self))
	case t.faults() > 0 || t.written.Words() > 0:
		p.Nodes = append(p.Nodes, sharing.Node{Node: self, Counts: t.firsts(), Written: spansOf(&t.written),
			Again: []sharing.Span{}, Read: []sharing.Span{}, ReadAgain: []sharing.Span{}})
	}
	return p
}

// mergedPages sums up what the members say of the same page.
type mergedPages map[pageKey]*PageStats

type pageKey struct {
	region string
	page   uint64
}

func (m mergedPages) add(list []PageStats) {
	for _, p := range list {
		k := pageKey{p.Region, p.Page}
		sum := m[k]
		if sum == nil {
			m[k] = &p
			continue
		}
		sum.Counts.Add(p.Counts)
		sum.Nodes = append(sum.Nodes, p.Nodes...)
		sum.Writers = append(sum.Writers, p.Writers...)
		sum.Sites = append(sum.Sites, p.Sites...)
		for _, t := range p.Types {
			if !slices.Contains(sum.Types, t) {
				sum.Types = append(sum.Types, t)
			}
		}
		sum.Sharing.Asked += p.Sharing.Asked
		sum.Sharing.Queued += p.Sharing.Queued
		sum.Sharing.Nodes = append(sum.Sharing.Nodes, p.Sharing.Nodes...)
		slices.SortFunc(sum.Sites, compareSites)
	}
}

func (m mergedPages) busiest() []PageStats {
	list := []PageStats{}
	for _, p := range m {
		p.Sharing.Home = p.Home
		p.Verdict = sharing.Classify(p.Sharing)
		p.Note = p.Verdict.Sentence()
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b PageStats) int {
		return cmp.Or(cmp.Compare(b.StallNanos, a.StallNanos), cmp.Compare(b.BytesIn, a.BytesIn),
			cmp.Compare(a.Region, b.Region), cmp.Compare(a.Page, b.Page))
	})
	return list
}
