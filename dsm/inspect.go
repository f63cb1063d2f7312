package dsm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"pagemesh/pagetable"
	"pagemesh/transport"
)

// PageQuery selects pages.
type PageQuery struct {
	Region string `json:"region"` // only pages of this region; "" for all
	Page   int64  `json:"page"`   // only this page of the region; negative for all
	Top    int    `json:"top"`    // at most that many, the busiest; 0 for all that have traffic
}

// Stats returns the totals of this node since it was opened or ResetStats, also when it is closed.
func (s *Space) Stats() NodeStats {
	st := NodeStats{Node: s.self, Rank: s.cfg.Rank}
	for _, r := range s.cur.Load().regions {
		for _, pg := range r.pages.All() {
			pg.mu.Lock()
			st.add(pg.traffic.Counts)
			pg.mu.Unlock()
		}
	}
	now, base := transport.Counters(s.ep), s.base.Load()
	st.MessagesIn, st.MessagesOut = now.PacketsIn-base.PacketsIn, now.PacketsOut-base.PacketsOut
	st.WireIn, st.WireOut = now.BytesIn-base.BytesIn, now.BytesOut-base.BytesOut
	return st
}

func (c *Counts) add(o Counts) {
	c.ReadFaults += o.ReadFaults
	c.WriteFaults += o.WriteFaults
	c.Upgrades += o.Upgrades
	c.Invalidations += o.Invalidations
	c.Moves += o.Moves
	c.BytesIn += o.BytesIn
	c.BytesOut += o.BytesOut
	c.BytesChanged += o.BytesChanged
	c.StallNanos += o.StallNanos
}

// ClusterStats returns the totals of every member, ascending by node id, without those that go down
// while they are asked. Its errors are ErrClosed, ErrNodeLost if this node is cut off, or that of ctx.
func (s *Space) ClusterStats(ctx context.Context) ([]NodeStats, error) {
	return askAll(ctx, s, callStats, nil, func(one NodeStats, all []NodeStats) []NodeStats { return append(all, one) })
}

// Locks returns every lock and barrier of the space that was ever used, by name. Its errors are those
// of ClusterStats.
func (s *Space) Locks(ctx context.Context) ([]LockStatus, error) {
	list, err := askAll(ctx, s, callLocks, nil, func(one, all []LockStatus) []LockStatus { return append(all, one...) })
	slices.SortFunc(list, func(a, b LockStatus) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind)) })
	return list, err
}

// Pages returns the pages that q selects with what all members have counted on them, the busiest
// first: those that have made programs wait longest. Of pages without traffic it returns only the one
// that q.Page names, if a member knows it. Its errors are those of ClusterStats.
func (s *Space) Pages(ctx context.Context, q PageQuery) ([]PageStats, error) {
	question, err := marshal(q)
	if err != nil {
		return nil, err
	}
	merge := mergedPages{}
	if _, err := askAll(ctx, s, callPages, question, func(one []PageStats, _ []struct{}) []struct{} {
		merge.add(one)
		return nil
	}); err != nil {
		return nil, err
	}
	return merge.busiest(q.Top), nil
}

// ResetStats makes every member forget what it has counted, footprints included. It disturbs no access;
// of a fault that is under way the time counts later, without the fault. Its errors are those of
// ClusterStats; members before the one that failed have forgotten.
func (s *Space) ResetStats(ctx context.Context) error {
	for _, n := range s.view().Nodes() {
		if _, err := s.call(ctx, n, callReset, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *Space) resetHere() {
	for _, r := range s.cur.Load().regions {
		for _, pg := range r.pages.All() {
			pg.mu.Lock()
			pg.traffic.reset()
			pg.mu.Unlock()
		}
	}
	base := transport.Counters(s.ep)
	s.base.Store(&base)
}

// Status describes the space as this node sees it. Its errors are those of ClusterStats.
func (s *Space) Status(ctx context.Context) (Status, error) {
	v := s.view()
	st := Status{
		Cluster: s.cfg.Cluster, Node: s.self, Addr: s.Addr(), Access: "embedded", Epoch: v.Epoch,
		Coordinator: v.Coordinator, Members: s.Members(), Regions: []RegionStatus{},
	}
	for r := range v.Regions.All() {
		st.Regions = append(st.Regions, RegionStatus{
			Name: r.Name, ID: r.ID, Base: r.Base, Size: r.Size, PageSize: r.PageSize,
			Placement: fmt.Sprintf("%v on %v", r.Placement.Kind, r.Placement.Nodes),
		})
	}
	var err error
	st.Nodes, err = s.ClusterStats(ctx)
	return st, err
}

// askAll puts a question to every member and folds the answers.
func askAll[A, R any](ctx context.Context, s *Space, kind callKind, question []byte, fold func(A, []R) []R) ([]R, error) {
	all := []R{}
	for _, n := range s.view().Nodes() {
		b, err := s.call(ctx, n, kind, question)
		if errors.Is(err, ErrNodeLost) && s.refusal(false) == nil {
			continue // it went down meanwhile: the others still have something to say
		}
		if err != nil {
			return nil, err
		}
		var one A
		if err := json.Unmarshal(b, &one); err != nil {
			return nil, fmt.Errorf("answer of %v: %w", n, err)
		}
		all = fold(one, all)
	}
	return all, nil
}

func marshal(v any) ([]byte, error) { return json.Marshal(v) }

func (s *Space) answerPages(question []byte) ([]byte, error) {
	var q PageQuery
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("page query: %w", err)
	}
	list := []PageStats{}
	for _, r := range s.cur.Load().regions {
		if q.Region == "" || q.Region == r.Name() {
			list = r.appendPages(list, q)
		}
	}
	return marshal(list)
}

// appendPages appends what this node has counted on the region's pages.
func (r *Region) appendPages(list []PageStats, q PageQuery) []PageStats {
	for index, pg := range r.pages.All() {
		if q.Page >= 0 && uint64(q.Page) != index {
			continue
		}
		pg.mu.Lock()
		if pg.live && !pg.closed {
			pg.traffic.look(r.frame(index))
			if st, busy := r.pageStats(index, pg); busy || q.Page >= 0 {
				list = append(list, st)
			}
		}
		pg.mu.Unlock()
	}
	return list
}

// pageStats describes one page; busy reports whether it had any traffic. The caller holds pg.mu.
func (r *Region) pageStats(index uint64, pg *page) (st PageStats, busy bool) {
	t := &pg.traffic
	st = PageStats{
		Region: r.Name(), Page: index, Offset: index << r.shift, Size: r.PageSize(), Home: pg.proto.Home(),
		Counts: t.Counts, Nodes: []pagetable.NodeID{}, Writers: []Writer{},
	}
	if t.ReadFaults+t.WriteFaults+t.Upgrades > 0 {
		st.Nodes = append(st.Nodes, r.s.self)
	}
	if words := t.written.Words(); words > 0 {
		wr := Writer{Node: r.s.self, Words: words}
		for _, sp := range t.written.Spans() {
			wr.Spans = append(wr.Spans, Span(sp))
		}
		st.Writers = append(st.Writers, wr)
	}
	return st, t.Counts != Counts{}
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
		sum.Counts.add(p.Counts)
		sum.Nodes = append(sum.Nodes, p.Nodes...)
		sum.Writers = append(sum.Writers, p.Writers...)
	}
}

func (m mergedPages) busiest(top int) []PageStats {
	list := []PageStats{}
	for _, p := range m {
		p.Note = note(p)
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b PageStats) int {
		return cmp.Or(cmp.Compare(b.StallNanos, a.StallNanos), cmp.Compare(b.BytesIn, a.BytesIn),
			cmp.Compare(a.Region, b.Region), cmp.Compare(a.Page, b.Page))
	})
	if top > 0 && len(list) > top {
		list = list[:top]
	}
	return list
}

// serveControl answers requests from outside the membership: a node that joins, or an Inspector.
func (s *Space) serveControl(conn net.Conn) {
	for {
		if conn.SetDeadline(time.Now().Add(controlDeadline)) != nil {
			return
		}
		kind, payload, err := readControl(conn)
		if err != nil || s.cur.Load() == nil {
			return
		}
		if kind == controlJoin {
			if err := s.admit(conn, payload); err != nil {
				s.log.Warn("a node did not join", "from", conn.RemoteAddr(), "error", err)
			}
			return
		}
		answer, err := s.inspect(kind, payload)
		if err != nil {
			_ = writeControl(conn, controlRefused, []byte(err.Error())) // the next read fails if this did
			continue
		}
		_ = writeControl(conn, controlAnswer, answer)
	}
}

func (s *Space) inspect(kind controlKind, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), controlDeadline/2)
	defer cancel()
	switch kind {
	case controlStatus:
		st, err := s.Status(ctx)
		if err != nil {
			return nil, err
		}
		return marshal(st)
	case controlPages:
		var q PageQuery
		if err := json.Unmarshal(payload, &q); err != nil {
			return nil, err
		}
		list, err := s.Pages(ctx, q)
		if err != nil {
			return nil, err
		}
		return marshal(list)
	case controlLocks:
		list, err := s.Locks(ctx)
		if err != nil {
			return nil, err
		}
		return marshal(list)
	}
	return nil, fmt.Errorf("request %q is unknown", kind)
}

// InspectConfig says how to reach a node for inspection.
type InspectConfig struct {
	Cluster  string // the space's Config.Cluster. Default "pagemesh"
	Secret   string // the space's Config.Secret. Default empty
	Insecure bool   // allows an address other than loopback
}

// Inspector looks at a running space from outside, through one of its nodes, without being a member. It
// is for one goroutine, and of no use after an error.
type Inspector struct {
	ep   transport.Endpoint
	conn net.Conn
}

// Dial connects to the node at addr, host:port, for inspection. Its errors say what is wrong with cfg or
// why the node can't be reached or refuses: another cluster, secret or protocol version.
func Dial(ctx context.Context, addr string, cfg InspectConfig) (*Inspector, error) {
	full, err := Config{Cluster: cfg.Cluster, Secret: cfg.Secret, Insecure: cfg.Insecure, Seeds: []string{addr}}.withDefaults()
	if err != nil {
		return nil, err
	}
	ep, err := transport.Listen(transport.Config{
		Cluster: full.Cluster, Secret: full.Secret, Insecure: full.Insecure, Handler: noHandler{},
	})
	if err != nil {
		return nil, err
	}
	conn, err := ep.Dial(ctx, addr, transport.PurposeControl)
	if err != nil {
		return nil, errors.Join(err, ep.Close())
	}
	return &Inspector{ep: ep, conn: conn}, nil
}

// noHandler refuses whatever connects to an inspector.
type noHandler struct{}

func (noHandler) Packet(*transport.Outbox, pagetable.NodeID, []byte, []byte) {}
func (noHandler) Up(transport.Identity, string)                              {}
func (noHandler) Down(pagetable.NodeID, error)                               {}
func (noHandler) Stream(_ transport.Purpose, conn net.Conn)                  { conn.Close() }

// Close ends the inspection. The space does not notice.
func (i *Inspector) Close() error { return errors.Join(i.conn.Close(), i.ep.Close()) }

// Status returns what Space.Status does at the node. An error of its or that of ctx ends the inspection.
func (i *Inspector) Status(ctx context.Context) (Status, error) {
	var st Status
	return st, i.ask(ctx, controlStatus, nil, &st)
}

// Pages returns what Space.Pages does at the node.
func (i *Inspector) Pages(ctx context.Context, q PageQuery) ([]PageStats, error) {
	question, err := marshal(q)
	if err != nil {
		return nil, err
	}
	var list []PageStats
	return list, i.ask(ctx, controlPages, question, &list)
}

// Locks returns what Space.Locks does at the node.
func (i *Inspector) Locks(ctx context.Context) ([]LockStatus, error) {
	var list []LockStatus
	return list, i.ask(ctx, controlLocks, nil, &list)
}

func (i *Inspector) ask(ctx context.Context, kind controlKind, question []byte, into any) error {
	if err := i.conn.SetDeadline(time.Now().Add(controlDeadline)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { i.conn.Close() })
	defer stop()
	if err := writeControl(i.conn, kind, question); err != nil {
		return err
	}
	kind, answer, err := readControl(i.conn)
	switch {
	case err != nil:
		return fmt.Errorf("the node did not answer: %w", err)
	case kind == controlRefused:
		return errors.New(string(answer))
	}
	return json.Unmarshal(answer, into)
}
