package transport

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"pagemesh/pagetable"
)

// MemoryNetwork connects endpoints of one process without sockets: the same contract as TCP, with
// delays, losses, cuts and crashes that a seed decides. It runs on the time package's clock, so a
// testing/synctest bubble can hold a whole cluster.
//
// Seeded are the delay and the fate of the n-th packet of a connection, given the order in which each
// pair of addresses connected. The bytes of a packet are overwritten after the call of the handler, so
// that a handler that keeps them is found out.
type MemoryNetwork struct {
	seed   uint64
	faults Faults

	mu        sync.Mutex // guards all that follows and the state of every endpoint and end
	rng       *rand.Rand // of connects and cuts
	endpoints map[string]*memory
	cuts      map[pair]bool
	made      map[pair]uint64 // connections there were, by dialer and dialed
	streams   map[*memoryStream]struct{}
	changed   chan struct{} // closed and replaced when something that a Connect waits for changes
	port      int           // last one given out
}

// pair is two addresses; in cuts the smaller is first.
type pair struct{ a, b string }

func unordered(a, b string) pair { return pair{min(a, b), max(a, b)} }

// Faults says how unpleasant a MemoryNetwork is. The zero Faults is a network without delay or loss.
type Faults struct {
	// MinDelay and MaxDelay bound the delay of each packet and each connect. Packets of one pair stay
	// in order, those of different pairs overtake each other. Default 0.
	MinDelay, MaxDelay time.Duration
	// Loss is the probability in [0, 1) that a connection breaks at a packet: neither that packet nor
	// a later one arrives, and both ends see Down. Default 0.
	Loss float64
	// Refuse is the probability in [0, 1) that a Connect or a Dial fails. Default 0.
	Refuse float64
	// Detect is how long after Crash the others see Down. Default 0.
	Detect time.Duration
}

// NewMemoryNetwork returns a network without endpoints.
func NewMemoryNetwork(seed uint64, f Faults) *MemoryNetwork {
	return &MemoryNetwork{
		seed: seed, faults: f, rng: rand.New(rand.NewPCG(seed, 0)),
		endpoints: map[string]*memory{}, cuts: map[pair]bool{}, made: map[pair]uint64{},
		streams: map[*memoryStream]struct{}{}, changed: make(chan struct{}),
	}
}

// Listen opens an endpoint. Config.Listen is its address, or has port 0 or is empty to get one.
func (n *MemoryNetwork) Listen(cfg Config) (Endpoint, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %q: %w; want host:port", cfg.Listen, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		n.port++
		cfg.Listen = net.JoinHostPort(host, strconv.Itoa(n.port))
	}
	if n.endpoints[cfg.Listen] != nil {
		return nil, fmt.Errorf("transport: listen on %s: the address is in use", cfg.Listen)
	}
	m := &memory{net: n, cfg: cfg, addr: cfg.Listen, ends: map[pagetable.NodeID]*memoryEnd{}}
	n.endpoints[m.addr] = m
	return m, nil
}

func (n *MemoryNetwork) changes() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *MemoryNetwork) changeLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// delay draws a delay.
func (f Faults) delay(rng *rand.Rand) time.Duration {
	if f.MaxDelay <= f.MinDelay {
		return f.MinDelay
	}
	return f.MinDelay + time.Duration(rng.Int64N(int64(f.MaxDelay-f.MinDelay)+1))
}

// directionLocked returns the randomness of the packets from one address to another over their next
// connection.
func (n *MemoryNetwork) directionLocked(from, to string) *rand.Rand {
	p := pair{from, to}
	n.made[p]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s>%s#%d", from, to, n.made[p])
	return rand.New(rand.NewPCG(n.seed, h.Sum64()))
}

// memory is an endpoint on a MemoryNetwork.
type memory struct {
	net    *MemoryNetwork
	cfg    Config
	addr   string
	counts traffic
	wg     sync.WaitGroup // goroutines that call the handler

	// Guarded by net.mu.
	self Identity
	gone bool // closed or crashed
	ends map[pagetable.NodeID]*memoryEnd
}

func (m *memory) Addr() string { return m.addr }

func (m *memory) traffic() Traffic { return m.counts.load() }

func (m *memory) Identify(self Identity) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	m.self = self
}

func (m *memory) Connect(ctx context.Context, node pagetable.NodeID, addr string) error {
	err := persist(ctx, m.net.changes, func(ctx context.Context) error {
		if err := m.travel(ctx); err != nil {
			return err
		}
		end, err := m.connect(node, addr)
		if err != nil {
			return err
		}
		return await(ctx, end.up)
	})
	return describeConnect(node, addr, err)
}

// travel takes the time of a connect.
func (m *memory) travel(ctx context.Context) error {
	m.net.mu.Lock()
	d := m.net.faults.delay(m.net.rng)
	m.net.mu.Unlock()
	if d == 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect returns this end of the connection to a node, making one if there is none.
func (m *memory) connect(node pagetable.NodeID, addr string) (*memoryEnd, error) {
	n := m.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.gone {
		return nil, ErrClosed
	}
	if err := checkPair(m.self.Node, node); err != nil {
		return nil, err
	}
	if end := m.ends[node]; end != nil {
		if end.shut {
			return nil, refuseBusy()
		}
		return end, nil
	}
	other, err := m.reachLocked(addr, hello{purpose: PurposePeer, expect: node})
	if err != nil {
		return nil, err
	}
	if end := other.ends[m.self.Node]; end != nil {
		if !end.shut && end.peer != m.self {
			return nil, refuseIncarnation(m.self)
		}
		return nil, refuseBusy()
	}
	return m.joinLocked(other), nil
}

// reachLocked returns the endpoint at addr after the checks that a handshake makes.
func (m *memory) reachLocked(addr string, hi hello) (*memory, error) {
	n := m.net
	other := n.endpoints[addr]
	switch {
	case other == nil:
		return nil, errors.New("nothing listens there")
	case n.cuts[unordered(m.addr, addr)]:
		return nil, errors.New("the network is cut")
	case n.faults.Refuse > 0 && n.rng.Float64() < n.faults.Refuse:
		return nil, errors.New("the network lost the connection attempt")
	}
	hi.version, hi.cluster, hi.self = m.cfg.Version, m.cfg.Cluster, m.self
	if r := other.cfg.refuseHello(hi); r != nil {
		return nil, r
	}
	if m.cfg.Secret != other.cfg.Secret {
		return nil, refuseSecret()
	}
	if r := refuseNode(other.self, hi); r != nil {
		return nil, r
	}
	return other, nil
}

func (m *memory) Disconnect(node pagetable.NodeID) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	if end := m.ends[node]; end != nil {
		end.disconnectLocked()
	}
}

func (m *memory) Close() error {
	n := m.net
	n.mu.Lock()
	was := m.gone
	m.gone = true
	if n.endpoints[m.addr] == m {
		delete(n.endpoints, m.addr)
	}
	for _, node := range slices.Sorted(maps.Keys(m.ends)) {
		m.ends[node].disconnectLocked()
	}
	streams := n.streamsLocked(func(s *memoryStream) bool { return s.owner == m })
	n.changeLocked()
	n.mu.Unlock()
	closeAll(streams)
	m.wg.Wait()
	if was {
		return ErrClosed
	}
	return nil
}
