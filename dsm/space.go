package dsm

import (
	"context"
	"encoding/json"

	"pagemesh/pagetable"
)

// Space is this node's membership in a shared space. Its methods may be called from any goroutine.
type Space struct{ b backend }

// backend is what a Space stands on: the node in this process, or the connection to one in another.
type backend interface {
	identity() identity
	// open creates or opens a region, whose name and options have not been checked.
	open(ctx context.Context, name string, options RegionOptions) (*Region, error)
	mutex(name string) mutex
	pool(name string, size uint64) pool
	wait(ctx context.Context, barrier string, parties int) error
	servedLocks
	// inspect answers a question of the control protocol.
	inspect(ctx context.Context, kind controlKind, question []byte) (answer []byte, err error)
	// leave ends the node's membership without loss, close at once.
	leave(ctx context.Context) error
	close() error
	// ended is closed when the space is; why says for what reason, once it is.
	ended() <-chan struct{}
	why() error
}

// identity is what never changes about a node.
type identity struct {
	node pagetable.NodeID
	addr string
	rank int
}

// Open founds a space, or joins one if cfg names seeds, and returns when the space has cfg.Members
// members. It fails loudly (ErrJoin) when that can't be had within cfg.JoinTimeout or before ctx ends:
// a node that can't join never becomes a space of its own. A cfg that is wrong, or an address that
// can't be listened on, is an error that says so. Once Open has returned, ctx has no meaning any more.
func Open(ctx context.Context, cfg Config) (*Space, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	var b backend
	if cfg.Attach != "" {
		b, err = attach(ctx, cfg)
	} else {
		b, err = startNode(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	return &Space{b}, nil
}

// Self returns this node's id in the space: 1 for the founder, and none is given out twice.
func (s *Space) Self() pagetable.NodeID { return s.b.identity().node }

// Addr returns the address, host:port, at which this node is joined and inspected.
func (s *Space) Addr() string { return s.b.identity().addr }

// Rank returns Config.Rank.
func (s *Space) Rank() int { return s.b.identity().rank }

// Access is how a program reaches shared memory.
type Access uint8

const (
	// Embedded: the node runs in the program, which reaches memory through views and calls.
	Embedded Access = iota
	// Mapped: the program is attached to a node in another process, and may also use ordinary loads and
	// stores.
	Mapped
)

// String returns "embedded" or "mapped".
func (a Access) String() string {
	if a == Mapped {
		return "mapped"
	}
	return "embedded"
}

// Access returns how this program reaches shared memory.
func (s *Space) Access() Access {
	if _, ok := s.b.(*attachment); ok {
		return Mapped
	}
	return Embedded
}

// Region creates the region of that name, 1 to 128 bytes, or opens it if it exists: all calls with one
// name, on all nodes, lead to the same memory. Its errors are ErrMismatch if it exists with other
// options, ErrNotExist if it does not and options.Size is 0, ErrClosed, ErrNodeLost, the cause of ctx,
// or one that says which option is wrong and what to choose.
func (s *Space) Region(ctx context.Context, name string, options RegionOptions) (*Region, error) {
	return s.b.open(ctx, name, options)
}

// Done is closed when the space is: by Close, by Leave, or because the other members have declared
// this node lost.
func (s *Space) Done() <-chan struct{} { return s.b.ended() }

// Err returns nil while the space is open, ErrClosed after Close or Leave, and otherwise why the space
// was closed.
func (s *Space) Err() error {
	select {
	case <-s.b.ended():
		return s.b.why()
	default:
		return nil
	}
}

// Close ends this node's membership at once: the others are told, and pages that only this node held
// are lost to them. It is for programs that are done together; a node that others still need calls
// Leave. Whoever waits for a page or a lock here gets ErrClosed. It returns an error if a
// view is still held, whose memory then stays. A second Close has no effect.
func (s *Space) Close() error { return s.b.close() }

// Leave ends this node's membership without loss: everything it owns and homes moves to the others
// first, while their work goes on. Whoever waits for a page or a lock here gets ErrClosed;
// locks that are held and views are waited for. If ctx ends or the node that takes over is lost
// meanwhile, the space is closed as by Close and the error says so.
func (s *Space) Leave(ctx context.Context) error { return s.b.leave(ctx) }

// Members returns the members as this node knows them, itself included, ascending by node id. Once the
// space is closed they are those that it knew last.
func (s *Space) Members() []MemberStatus {
	list, _ := ask[[]MemberStatus](context.Background(), s, controlMembers, nil)
	return list
}

// Stats returns the totals of this node since it was opened or ResetStats, also once it is closed.
func (s *Space) Stats() NodeStats {
	st, _ := ask[NodeStats](context.Background(), s, controlStats, nil)
	return st
}

// ClusterStats returns the totals of every member, ascending by node id, without those that go down
// while they are asked. Its errors are ErrClosed, ErrNodeLost if this node is cut off, the cause of ctx,
// or context.DeadlineExceeded if a member does not answer within 5 s.
func (s *Space) ClusterStats(ctx context.Context) ([]NodeStats, error) {
	return ask[[]NodeStats](ctx, s, controlTotals, nil)
}

// Status describes the space as this node sees it. Its errors are those of ClusterStats.
func (s *Space) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, s, controlStatus, nil)
}

// Locks returns every lock and barrier of the space that was ever used, by name. Its errors are those
// of ClusterStats.
func (s *Space) Locks(ctx context.Context) ([]LockStatus, error) {
	return ask[[]LockStatus](ctx, s, controlLocks, nil)
}

// Races returns the data races in release regions that all members have found, by region and offset: each pair of
// lines once, at most MaxRaces of each member. What a member has found goes with it. Its errors are those of
// ClusterStats, and one that says what to do if the space was not opened with Config.DetectRaces.
func (s *Space) Races(ctx context.Context) ([]Race, error) {
	return ask[[]Race](ctx, s, controlRaces, nil)
}

// Pages returns the pages that q selects with what all members have counted on them, the busiest
// first: those that have made programs wait longest. Of pages without traffic it returns only the one
// that q.Page names, if a member knows it. Its errors are those of ClusterStats.
func (s *Space) Pages(ctx context.Context, q PageQuery) ([]PageStats, error) {
	return ask[[]PageStats](ctx, s, controlPages, q)
}

// ResetStats makes every member forget what it has counted, footprints included. It disturbs no access;
// of a fault that is under way the time counts later, without the fault. Its errors are those of
// ClusterStats; members before the one that failed have forgotten.
func (s *Space) ResetStats(ctx context.Context) error {
	_, err := ask[struct{}](ctx, s, controlReset, nil)
	return err
}

// inspector answers the questions of the control protocol, of which question and answer are JSON.
type inspector interface {
	inspect(ctx context.Context, kind controlKind, question []byte) (answer []byte, err error)
}

// ask puts a question to a node.
func ask[A any](ctx context.Context, to inspector, kind controlKind, question any) (answer A, err error) {
	b, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	if b, err = to.inspect(ctx, kind, b); err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(b, &answer)
}

func (s *Space) inspect(ctx context.Context, kind controlKind, question []byte) ([]byte, error) {
	return s.b.inspect(ctx, kind, question)
}
