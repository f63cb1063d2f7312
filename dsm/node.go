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
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
	"pagemesh/transport"
	"pagemesh/transport/membership"
)

// node is this process's membership in a shared space, and everything it keeps for it.
type node struct {
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
	// intervals are this node's writes to release regions.
	intervals intervals
	races     races
	// works and batches hold what is used again and again: *work and *batch.
	works, batches sync.Pool

	waits  waits
	delays delays
	memory memoryUse
	events eventRings
	sites  sites
	// lockNames are of the locks in events.
	lockNames lockNames
	// born is when this node was made, bornAt the same in nanoseconds since 1970.
	born   time.Time
	bornAt int64
	// sampleNext is when the next fault of this process counts for its page's sites, in nanoseconds since born.
	sampleNext atomic.Int64
	symbols    symbolCache // of the programs
	server     *server     // serves the programs of this machine; nil if there is no Config.Serve
	// leaving: requests of others for pages homed here are dropped, they repeat them elsewhere.
	leaving atomic.Bool
	// isolated: too many members are gone to agree on a view. Faults fail, what is here stays usable.
	isolated atomic.Bool

	done    chan struct{} // closed when the space is
	closing sync.Once
	running sync.WaitGroup // goroutines that end after done is closed
	err     error          // why the space was closed, nil if by its user; valid once done is closed

	base atomic.Pointer[baseline]
}

// baseline is when a node began to count, at the start or the last ResetStats, and what its transport had counted by
// then.
type baseline struct {
	at time.Time
	transport.Traffic
}

// state is a view and the regions that this node has set memory aside for. It is never changed.
type state struct {
	view     coherence.View
	regions  map[pagetable.RegionID]*region
	replaced chan struct{} // closed when a later state has taken its place
}

func (s *node) view() coherence.View { return s.cur.Load().view }

// startNode makes this process a member as cfg, complete with its defaults, says. A join that breaks off
// after the node was given an id, such as when the coordinator leaves meanwhile, is tried again by a node
// without a past: members may be connected to this one, or even have its view.
func startNode(ctx context.Context, cfg Config) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.JoinTimeout)
	defer cancel()
	for {
		s := newNode(cfg)
		err := s.start(ctx)
		if err == nil {
			return s, nil
		}
		s.shutdown(err)
		if !errors.Is(err, errBrokenOff) || ctx.Err() != nil {
			return nil, err
		}
	}
}

func newNode(cfg Config) *node {
	s := &node{cfg: cfg, log: cfg.Logger, done: make(chan struct{}), born: time.Now()}
	s.bornAt = s.born.UnixNano()
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see package crypto/rand
	s.incarnation = binary.LittleEndian.Uint64(b[:])
	s.works, s.batches = newWorkPool(s), newBatchPool()
	s.calls.init()
	s.intervals.init(s)
	s.races.init(s)
	s.base.Store(&baseline{at: time.Now()})
	s.memory.init(cfg.MemoryLimit)
	if recording {
		s.events.init(cfg.Events)
	}
	return s
}

func (s *node) start(ctx context.Context) error {
	if err := s.listen(); err != nil {
		return err
	}
	if s.cfg.Serve != "" {
		if err := s.prepareServer(); err != nil {
			return err
		}
	}
	if len(s.cfg.Seeds) == 0 {
		s.found()
	} else if err := s.join(ctx); err != nil {
		return fmt.Errorf("%w cluster %q: %w", ErrJoin, s.cfg.Cluster, err)
	}
	if err := s.startGossip(); err != nil {
		return err
	}
	s.running.Go(s.watchViews)
	s.running.Go(s.keepRoom)
	s.running.Go(s.watchLocks)
	if err := s.awaitMembers(ctx); err != nil {
		return fmt.Errorf("%w cluster %q: %w", ErrJoin, s.cfg.Cluster, err)
	}
	if s.server != nil {
		s.running.Go(s.server.accept)
	}
	return nil
}

func (s *node) listen() (err error) {
	s.ep, err = s.cfg.listen(transport.Config{
		Listen: s.cfg.Listen, Cluster: s.cfg.Cluster, Secret: s.cfg.Secret, Insecure: s.cfg.Insecure,
		Handler: (*handler)(s), Logger: s.log,
	})
	return err
}

// prepareServer opens the socket for programs, which are let in when the node is a member.
func (s *node) prepareServer() error {
	mode, err := vm.Probe(vm.Options{})
	if err != nil {
		return fmt.Errorf("serve programs: %w", err)
	}
	ln, err := listen(s.cfg.Serve)
	if err != nil {
		return err
	}
	s.server = &server{s: s, ln: ln, mode: mode, programs: map[*program]bool{}}
	return nil
}

// broken closes a node that can't keep what it has promised to the others.
func (s *node) broken(err error) {
	s.log.Error("the node ends: its memory does not obey", "error", err)
	go func() { _ = s.shutdown(err) }() // it waits for the goroutine that calls broken
}

// found makes this node the first one of a new space.
func (s *node) found() {
	v := coherence.FoundingView(coherence.Member{Addr: s.ep.Addr(), Incarnation: s.incarnation, Rank: s.cfg.Rank})
	s.become(v.Coordinator)
	s.install(v)
}

// become takes the node id that the coordinator has given.
func (s *node) become(n pagetable.NodeID) {
	s.self = n
	s.ep.Identify(transport.Identity{Node: n, Incarnation: s.incarnation})
	s.sync.init(s)
}

func (s *node) awaitMembers(ctx context.Context) error {
	want := s.cfg.Members
	err := s.awaitView(ctx, func(v coherence.View) bool { return len(v.Members) >= want })
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%d of %d members are here after %v: start the others, or set Config.Members lower",
			len(s.view().Members), want, s.cfg.JoinTimeout)
	}
	return err
}

// awaitView returns when the present view satisfies ok.
func (s *node) awaitView(ctx context.Context, ok func(coherence.View) bool) error {
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
			return s.why()
		}
	}
}

// identity implements backend.
func (s *node) identity() identity { return identity{s.self, s.ep.Addr(), s.cfg.Rank} }

// ended implements backend.
func (s *node) ended() <-chan struct{} { return s.done }

// why implements backend.
func (s *node) why() error {
	if s.err != nil {
		return s.err
	}
	return ErrClosed
}

// close implements backend.
func (s *node) close() error {
	s.sayGoodbye()
	s.settle()
	return s.shutdown(nil)
}

// closed returns why the space is closed, nil while it is open.
func (s *node) closed() error {
	select {
	case <-s.done:
		return s.why()
	default:
		return nil
	}
}

// refusal returns why an access that needs other nodes can't be made, nil if it can.
func (s *node) refusal() error {
	err := s.closed()
	if err == nil && s.isolated.Load() {
		err = fmt.Errorf("%w: too few members are left to agree on who is gone; restart the space", ErrNodeLost)
	}
	return err
}

// shutdown closes the space because of cause, nil if its user wants it.
func (s *node) shutdown(cause error) error {
	var errs []error
	s.closing.Do(func() {
		s.err = cause
		close(s.done)
		s.calls.failAll(s.why())
		s.sync.fail(s.why())
		if g := s.gossip.Load(); g != nil {
			g.Stop()
		}
		if s.ep != nil {
			errs = append(errs, s.ep.Close())
		}
		if s.server != nil {
			errs = append(errs, s.server.close())
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
