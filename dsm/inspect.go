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

// stats returns the totals of this node since it was opened or the last reset.
func (s *node) stats() NodeStats {
	st := NodeStats{Node: s.self, Rank: s.cfg.Rank}
	for _, r := range s.cur.Load().regions {
		for _, pg := range r.pages.All() {
			pg.mu.Lock()
			st.Add(pg.traffic.Counts)
			pg.mu.Unlock()
		}
	}
	now, base := transport.Counters(s.ep), s.base.Load()
	st.MessagesIn, st.MessagesOut = now.PacketsIn-base.PacketsIn, now.PacketsOut-base.PacketsOut
	st.WallNanos = uint64(time.Since(base.at))
	st.WireIn, st.WireOut = now.BytesIn-base.BytesIn, now.BytesOut-base.BytesOut
	return st
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.ReadFaults += o.ReadFaults
	c.WriteFaults += o.WriteFaults
	c.Ahead += o.Ahead
	c.Upgrades += o.Upgrades
	c.Invalidations += o.Invalidations
	c.Moves += o.Moves
	c.Evictions += o.Evictions
	c.BytesIn += o.BytesIn
	c.BytesOut += o.BytesOut
	c.BytesChanged += o.BytesChanged
	c.StallNanos += o.StallNanos
	c.LostNanos += o.LostNanos
}

// totals returns the stats of every member.
func (s *node) totals(ctx context.Context) ([]NodeStats, error) {
	return askAll(ctx, s, callStats, nil, func(one NodeStats, all []NodeStats) []NodeStats { return append(all, one) })
}

func (s *node) locks(ctx context.Context) ([]LockStatus, error) {
	list, err := askAll(ctx, s, callLocks, nil, func(one, all []LockStatus) []LockStatus { return append(all, one...) })
	slices.SortFunc(list, func(a, b LockStatus) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind)) })
	if err == nil {
		s.describeUses(ctx, list)
	}
	return list, err
}

func (s *node) resetAll(ctx context.Context) error {
	for _, n := range s.view().Nodes() {
		if _, err := s.call(ctx, n, callReset, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *node) resetHere() {
	for _, r := range s.cur.Load().regions {
		for index, pg := range r.pages.All() {
			pg.mu.Lock()
			if !pg.closed && !pg.written() {
				pg.traffic.restart(r.frame(index))
			}
			pg.traffic.reset()
			pg.mu.Unlock()
		}
	}
	s.base.Store(&baseline{time.Now(), transport.Counters(s.ep)})
}

func (s *node) members() []MemberStatus {
	var list []MemberStatus
	for _, m := range s.view().Members {
		st := MemberStatus{Node: m.Node, Addr: m.Addr, Incarnation: m.Incarnation, Rank: m.Rank, State: "member"}
		if m.Successor != 0 {
			st.State = "leaving"
		}
		list = append(list, st)
	}
	return list
}

func (s *node) status(ctx context.Context) (Status, error) {
	v := s.view()
	st := Status{
		Cluster: s.cfg.Cluster, Node: s.self, Addr: s.ep.Addr(), Access: Embedded.String(), Epoch: v.Epoch,
		Coordinator: v.Coordinator, Members: s.members(), Regions: []RegionStatus{},
	}
	if s.server != nil {
		st.Access, st.Traps = Mapped.String(), s.server.mode.String()
	}
	for r := range v.Regions.All() {
		st.Regions = append(st.Regions, RegionStatus{
			Name: r.Name, ID: r.ID, Base: r.Base, Size: r.Size, PageSize: r.PageSize,
			Placement: fmt.Sprintf("%v on %v", r.Placement.Kind, r.Placement.Nodes), Layout: r.Layout,
			Consistency: r.Consistency.String(),
		})
	}
	var err error
	st.Nodes, err = s.totals(ctx)
	return st, err
}

// askAll puts a question to every member and folds the answers.
func askAll[A, R any](ctx context.Context, s *node, kind callKind, question []byte, fold func(A, []R) []R) ([]R, error) {
	all := []R{}
	for _, n := range s.view().Nodes() {
		one, err := askMember[A](ctx, s, n, kind, question)
		if errors.Is(err, ErrNodeLost) && s.refusal() == nil {
			continue // it went down meanwhile: the others still have something to say
		}
		if err != nil {
			return nil, err
		}
		all = fold(one, all)
	}
	return all, nil
}

func askMember[A any](ctx context.Context, s *node, n pagetable.NodeID, kind callKind, question []byte) (answer A, err error) {
	b, err := s.call(ctx, n, kind, question)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return answer, fmt.Errorf("answer of %v: %w", n, err)
	}
	return answer, nil
}

func marshal(v any) ([]byte, error) { return json.Marshal(v) }

// serveControl answers requests from outside the membership: a node that joins, or an Inspector.
func (s *node) serveControl(conn net.Conn) {
	for {
		if conn.SetDeadline(time.Now().Add(controlDeadline)) != nil {
			return
		}
		kind, payload, err := readControl(conn, maxRequest)
		if err != nil || s.cur.Load() == nil {
			return
		}
		if kind == controlJoin {
			if err := s.admit(conn, payload); err != nil {
				s.log.Warn("a node did not join", "from", conn.RemoteAddr(), "error", err)
			}
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), controlDeadline/2)
		answer, err := s.inspect(ctx, kind, payload)
		cancel()
		if err != nil {
			_ = writeControl(conn, controlRefused, []byte(err.Error())) // the next read fails if this did
			continue
		}
		_ = writeControl(conn, controlAnswer, answer)
	}
}

// inspect implements backend.
func (s *node) inspect(ctx context.Context, kind controlKind, question []byte) ([]byte, error) {
	switch kind { // what this node knows by itself it also knows when it is closed
	case controlMembers:
		return marshal(s.members())
	case controlStats:
		return marshal(s.stats())
	}
	if err := s.closed(); err != nil {
		return nil, err
	}
	switch kind {
	case controlStatus:
		return answered(s.status(ctx))
	case controlTotals:
		return answered(s.totals(ctx))
	case controlRaces:
		return answered(s.allRaces(ctx))
	case controlLocks:
		return answered(s.locks(ctx))
	case controlReset:
		return answered(struct{}{}, s.resetAll(ctx))
	case controlPages:
		var q PageQuery
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, fmt.Errorf("page query: %w", err)
		}
		return answered(s.busyPages(ctx, q))
	case controlEvents:
		return s.passEvents(ctx, question)
	}
	return nil, fmt.Errorf("request %q is unknown", kind)
}

func answered[A any](a A, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return marshal(a)
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
	return ask[Status](ctx, i, controlStatus, nil)
}

// Pages returns what Space.Pages does at the node.
func (i *Inspector) Pages(ctx context.Context, q PageQuery) ([]PageStats, error) {
	return ask[[]PageStats](ctx, i, controlPages, q)
}

// Races returns what Space.Races does at the node.
func (i *Inspector) Races(ctx context.Context) ([]Race, error) {
	return ask[[]Race](ctx, i, controlRaces, nil)
}

// Locks returns what Space.Locks does at the node.
func (i *Inspector) Locks(ctx context.Context) ([]LockStatus, error) {
	return ask[[]LockStatus](ctx, i, controlLocks, nil)
}

// inspect implements inspector.
func (i *Inspector) inspect(ctx context.Context, kind controlKind, question []byte) ([]byte, error) {
	if err := i.conn.SetDeadline(time.Now().Add(controlDeadline)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { i.conn.Close() })
	defer stop()
	if err := writeControl(i.conn, kind, question); err != nil {
		return nil, err
	}
	kind, answer, err := readControl(i.conn, maxControl)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the node did not answer: %w", err)
	case kind == controlRefused:
		return nil, errors.New(string(answer))
	}
	return answer, nil
}
