package dsm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
	"pagemesh/transport/membership"
)

// Space is this node's membership in a shared space. Its methods may be called from any goroutine.
type Space struct {
	cfg         Config
	log         *slog.Logger
	ep          transport.Endpoint
	gossip      atomic.Pointer[membership.Membership]
	self        pagetable.NodeID
	incarnation uint64

	// cur is the present view with what this node has built on it. viewMu orders its replacement.
	cur    atomic.Pointer[state]
	viewMu sync.Mutex
	// orderMu orders view changes at the coordinator, joinMu the joining of nodes there.
	orderMu, joinMu sync.Mutex
	// promised is the highest term this node has voted for; viewMu guards it.
	promised uint64

	peers peerSet
	calls callTable
	sync  syncEngine
	works sync.Pool

	delays delays
	// leaving: requests of others for pages homed here are dropped, they repeat them elsewhere.
	leaving atomic.Bool
	// isolated: too many members are gone to agree on a view. Faults fail, what is here stays usable.
	isolated atomic.Bool

	done    chan struct{} // closed when the space is
	closing sync.Once
	running sync.WaitGroup // goroutines that end after done is closed
	err     error          // why the space was closed, nil if by its user; valid once done is closed

	// base holds the transport's counters at the last ResetStats.
	base atomic.Pointer[transport.Traffic]
}

// state is a view and the regions that this node has set memory aside for. It is never changed.
type state struct {
	view     coherence.View
	regions  map[pagetable.RegionID]*Region
	replaced chan struct{} // closed when a later state has taken its place
}

func (s *Space) view() coherence.View { return s.cur.Load().view }

// Open founds a space, or joins one if cfg names seeds, and returns when the space has cfg.Members
// members. It fails loudly (ErrJoin) when that can't be had within cfg.JoinTimeout or before ctx ends:
// a node that can't join never becomes a space of its own. A cfg that is wrong, or an address that
// can't be listened on, is an error that says so. Once Open has returned, ctx has no meaning any more.
func Open(ctx context.Context, cfg Config) (*Space, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.JoinTimeout)
	defer cancel()
	s := newSpace(cfg)
	if err := s.start(ctx); err != nil {
		s.shutdown(err)
		return nil, err
	}
	return s, nil
}

func newSpace(cfg Config) *Space {
	s := &Space{cfg: cfg, log: cfg.Logger, done: make(chan struct{})}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see package crypto/rand
	s.incarnation = binary.LittleEndian.Uint64(b[:])
	s.works = newWorkPool(s)
	s.calls.init()
	s.base.Store(&transport.Traffic{})
	return s
}

func (s *Space) start(ctx context.Context) error {
	ep, err := transport.Listen(transport.Config{
		Listen: s.cfg.Listen, Cluster: s.cfg.Cluster, Secret: s.cfg.Secret, Insecure: s.cfg.Insecure,
		Handler: (*handler)(s), Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.ep = ep
	if len(s.cfg.Seeds) == 0 {
		s.found()
	} else if err := s.join(ctx); err != nil {
		return fmt.Errorf("%w cluster %q: %w", ErrJoin, s.cfg.Cluster, err)
	}
	if err := s.startGossip(); err != nil {
		return err
	}
	s.running.Go(s.watchViews)
	if err := s.awaitMembers(ctx); err != nil {
		return fmt.Errorf("%w cluster %q: %w", ErrJoin, s.cfg.Cluster, err)
	}
	return nil
}

// found makes this node the first one of a new space.
func (s *Space) found() {
	v := coherence.FoundingView(coherence.Member{Addr: s.ep.Addr(), Incarnation: s.incarnation, Rank: s.cfg.Rank})
	s.become(v.Coordinator)
	s.install(v)
}

// become takes the node id that the coordinator has given.
func (s *Space) become(n pagetable.NodeID) {
	s.self = n
	s.ep.Identify(transport.Identity{Node: n, Incarnation: s.incarnation})
	s.sync.init(s)
}

func (s *Space) awaitMembers(ctx context.Context) error {
	want := s.cfg.Members
	err := s.awaitView(ctx, func(v coherence.View) bool { return len(v.Members) >= want })
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%d of %d members are here after %v: start the others, or set Config.Members lower",
			len(s.view().Members), want, s.cfg.JoinTimeout)
	}
	return err
}

// awaitView returns when the present view satisfies ok.
func (s *Space) awaitView(ctx context.Context, ok func(coherence.View) bool) error {
	for {
		st := s.cur.Load()
		if st != nil && ok(st.view) {
			return nil
		}
		select {
		case <-st.replaced:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return s.refusal(true)
		}
	}
}

// Self returns this node's id in the space: 1 for the founder, and none is given out twice.
func (s *Space) Self() pagetable.NodeID { return s.self }

// Addr returns the address, host:port, at which this node is joined and inspected.
func (s *Space) Addr() string { return s.ep.Addr() }

// Rank returns Config.Rank.
func (s *Space) Rank() int { return s.cfg.Rank }

// Members returns the members as this node knows them now, itself included, ascending by node id.
func (s *Space) Members() []MemberStatus {
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

// Done is closed when the space is: by Close, by Leave, or because the other members have declared
// this node lost.
func (s *Space) Done() <-chan struct{} { return s.done }

// Err returns nil while the space is open, ErrClosed after Close or Leave, and otherwise why the space
// was closed.
func (s *Space) Err() error {
	select {
	case <-s.done:
		return s.refusal(true)
	default:
		return nil
	}
}

// refusal returns why an access that needs other nodes can't be made, nil if it can. closed says that
// the caller knows the space to be closed.
func (s *Space) refusal(closed bool) error {
	select {
	case <-s.done:
		closed = true
	default:
	}
	switch {
	case closed && s.err != nil:
		return s.err
	case closed:
		return ErrClosed
	case s.isolated.Load():
		return fmt.Errorf("%w: too few members are left to agree on who is gone; restart the space", ErrNodeLost)
	}
	return nil
}

// Close ends this node's membership at once: the others are told, and pages that only this node held
// are lost to them. It is for programs that are done together; a node that others still need calls
// Leave. Whoever waits for a page, a mutex or a barrier here gets ErrClosed. It returns an error if a
// view is still held, whose memory then stays. A second Close has no effect.
func (s *Space) Close() error {
	s.sayGoodbye()
	return s.shutdown(nil)
}

// shutdown closes the space because of cause, nil if its user wants it.
func (s *Space) shutdown(cause error) error {
	var errs []error
	s.closing.Do(func() {
		s.err = cause
		close(s.done)
		s.calls.failAll(s.refusal(true))
		s.sync.fail(s.refusal(true))
		if g := s.gossip.Load(); g != nil {
			g.Stop()
		}
		if s.ep != nil {
			errs = append(errs, s.ep.Close())
		}
		s.running.Wait()
		if st := s.cur.Load(); st != nil {
			for _, r := range st.regions {
				errs = append(errs, r.close())
			}
		}
	})
	return errors.Join(errs...)
}
