package membership

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"pagemesh/transport"
)

// Config says who takes part and who wants to know. Callbacks may be nil; they are called one at a time,
// must not block and must not call methods of the Membership.
type Config struct {
	// Name is this member's name, unique in the cluster and never used again by another process.
	Name string
	// Endpoint carries the gossip. Its handler passes connections of PurposeGossip to HandleStream.
	Endpoint transport.Endpoint
	// Advertise is where the others dial this member, host:port. Default: Endpoint.Addr().
	Advertise string
	// OnAlive is called when another member is heard of for the first time, or again after OnDead.
	OnAlive func(name string)
	// OnSuspect is called when this node fails to deliver gossip to a member after it could. It comes
	// long before OnDead, and often without it.
	OnSuspect func(name string)
	// OnDead is called when the members agree that one doesn't answer, or it said that it leaves.
	OnDead func(name string)
	// Logger receives memberlist's own log at debug level. Default: nothing is logged.
	Logger *slog.Logger
}

// Membership is one member's part in the gossip.
type Membership struct {
	cfg  Config
	list *memberlist.Memberlist
	net  *gossip

	mu      sync.Mutex // held during callbacks
	stopped bool       // no callback any more
}

// Start begins to gossip, alone until Join or until somebody joins this member.
func Start(cfg Config) (*Membership, error) {
	if cfg.Name == "" || cfg.Endpoint == nil {
		return nil, fmt.Errorf("membership: a name and an endpoint are required")
	}
	if cfg.Advertise == "" {
		cfg.Advertise = cfg.Endpoint.Addr()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	at, err := resolve(cfg.Advertise)
	if err != nil {
		return nil, err
	}
	m := &Membership{cfg: cfg}
	m.net = newGossip(cfg, at, m.suspect)
	if m.list, err = memberlist.Create(m.settings()); err != nil {
		m.net.Shutdown()
		return nil, fmt.Errorf("membership: %w", err)
	}
	return m, nil
}

// settings returns memberlist's configuration. Its defaults are for large and lossy networks: they let
// a crash go unnoticed for several seconds, and eight nodes took up to half a minute to agree on who is
// there. The gain costs some kilobytes a second for each member.
func (m *Membership) settings() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.cfg.Name
	c.Transport = m.net
	c.Events = events{m}
	c.Logger = slog.NewLogLogger(m.cfg.Logger.Handler(), slog.LevelDebug)
	c.AdvertisePort = m.net.at.Port
	c.BindPort = m.net.at.Port
	c.TCPTimeout = 2 * time.Second

	c.ProbeInterval = 200 * time.Millisecond
	c.ProbeTimeout = 100 * time.Millisecond
	c.SuspicionMult = 3
	c.SuspicionMaxTimeoutMult = 2
	c.GossipInterval = 50 * time.Millisecond
	c.GossipToTheDeadTime = 5 * time.Second
	c.RetransmitMult = 8
	c.PushPullInterval = time.Second
	c.UDPBufferSize = 8 << 10 // packets travel over TCP, no MTU bounds them
	c.EnableCompression = false
	c.DisableTcpPings = true // a packet is a TCP ping already
	return c
}

// Join contacts the members at addrs, host:port, which tell it of the others. It returns an error if
// none of them answers, and nil without doing anything if addrs is empty.
func (m *Membership) Join(addrs []string) error {
	if len(addrs) == 0 {
		return nil
	}
	numeric := make([]string, len(addrs))
	for i, a := range addrs {
		at, err := resolve(a)
		if err != nil {
			return err
		}
		numeric[i] = at.String()
	}
	if n, err := m.list.Join(numeric); n == 0 {
		return fmt.Errorf("membership: no member answers at %v: %w", addrs, err)
	}
	return nil
}

// HandleStream takes over a connection of PurposeGossip that was accepted. It may block as long as the
// connection lives.
func (m *Membership) HandleStream(conn net.Conn) { m.net.accept(conn) }

// Stop ends the gossip without a word: the others will find this member dead. No callback runs after
// it has returned, nor a goroutine that was not about to end. It doesn't close the endpoint.
func (m *Membership) Stop() {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	// The only error is the transport's, and ours has none.
	_ = m.list.Shutdown()
}

func (m *Membership) suspect(name string) { m.tell(m.cfg.OnSuspect, name) }

// tell calls a callback about another member.
func (m *Membership) tell(callback func(string), name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopped && callback != nil && name != m.cfg.Name {
		callback(name)
	}
}

// events is the part of a Membership that memberlist calls.
type events struct{ m *Membership }

func (e events) NotifyJoin(n *memberlist.Node)  { e.m.tell(e.m.cfg.OnAlive, n.Name) }
func (e events) NotifyLeave(n *memberlist.Node) { e.m.tell(e.m.cfg.OnDead, n.Name) }
func (e events) NotifyUpdate(*memberlist.Node)  {}

// resolve returns the numeric form of an address, which is all that memberlist gossips about.
func resolve(addr string) (*net.TCPAddr, error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("membership: %w; want host:port", err)
	}
	if at.IP == nil || at.IP.IsUnspecified() {
		return nil, fmt.Errorf("membership: nobody can dial %q; name a host or an IP address", addr)
	}
	return at, nil
}
