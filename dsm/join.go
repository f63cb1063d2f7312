package dsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
	"pagemesh/transport/membership"
)

// Joining is a conversation on a control stream with the coordinator, which lets one node in at a
// time: the node says where it listens, gets an id and the present view, connects to every member, and
// says so; then the coordinator orders the view with the node in it. A seed that does not coordinate
// answers with the address of the one that does.

// A control message is a length, a kind, and a payload.
type controlKind byte

const (
	controlJoin     controlKind = 'j'               // payload: see encodeJoin
	controlWelcome  controlKind = 'w'               // payload: node id, view
	controlReady    controlKind = 'r'               // all members are connected
	controlJoined   controlKind = 'd'               // the view with the node in it is ordered
	controlElse     controlKind = 'e'               // payload: address of the coordinator
	controlRefused  controlKind = 'x'               // payload: why
	controlStatus   controlKind = 's'               // asks for Status as JSON, here and below
	controlPages    controlKind = 'p'               // payload: PageQuery as JSON; asks for []PageStats
	controlLocks    controlKind = 'l'               // asks for []LockStatus
	controlRaces    controlKind = 'y'               // asks for []Race
	controlMembers  controlKind = 'm'               // asks for []MemberStatus
	controlStats    controlKind = 'n'               // asks for the node's own NodeStats
	controlTotals   controlKind = 't'               // asks for the NodeStats of all members
	controlEvents   controlKind = 'v'               // payload: eventQuestion as JSON; asks for events, see passEvents
	controlReset    controlKind = 'z'               // has all members forget what they counted
	controlAnswer   controlKind = 'a'               // payload: what was asked for
	maxControl                  = transport.MaxBody // bytes of an answer
	maxRequest                  = 4 << 10           // bytes of a request
	controlDeadline             = 10 * time.Second
	maxRedirects                = 8
)

func writeControl(w io.Writer, kind controlKind, payload []byte) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)+1))
	_, err := w.Write(append(append(b, byte(kind)), payload...))
	return err
}

// readControl reads one message of at most most bytes; its memory grows with what really arrives.
func readControl(r io.Reader, most uint32) (controlKind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > most {
		return 0, nil, fmt.Errorf("control message of %d bytes, at most %d are allowed", n, most)
	}
	payload, err := io.ReadAll(io.LimitReader(r, int64(n-1)))
	if err == nil && len(payload) != int(n-1) {
		err = io.ErrUnexpectedEOF
	}
	return controlKind(head[4]), payload, err
}

// join becomes a member through one of the seeds. It goes on trying until ctx ends, since the seed may
// be starting up too, except if trying again can't help.
func (s *node) join(ctx context.Context) error {
	var last error // of a round that had the time it needed, if there was one
	for {
		var errs []error
		for _, seed := range s.cfg.Seeds {
			err := s.joinThrough(ctx, seed)
			if err == nil || hopeless(err) {
				return err
			}
			errs = append(errs, err)
		}
		if last == nil || ctx.Err() == nil {
			last = errors.Join(errs...)
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return fmt.Errorf("no seed let this node in (is one running there?): %w", last)
		}
	}
}

// hopeless reports whether trying again can't help this node.
func hopeless(err error) bool {
	return errors.Is(err, transport.ErrRefused) || errors.Is(err, transport.ErrNotLoopback) ||
		errors.Is(err, errTurnedAway) || errors.Is(err, errBrokenOff)
}

var (
	// errTurnedAway says that the space does not want this node; trying again can't help.
	errTurnedAway = errors.New("turned away")
	// errBrokenOff says that this node was given an id and has not become a member; another may.
	errBrokenOff = errors.New("broken off")
)

func (s *node) joinThrough(ctx context.Context, addr string) error {
	for range maxRedirects {
		next, err := s.askToJoin(ctx, addr)
		if err != nil || next == "" {
			return err
		}
		addr = next
	}
	return fmt.Errorf("%s: redirected %d times: the coordinator keeps changing", addr, maxRedirects)
}

// askToJoin talks to one node. It returns the address to ask instead, if that is the answer.
func (s *node) askToJoin(ctx context.Context, addr string) (instead string, err error) {
	conn, err := s.ep.Dial(ctx, addr, transport.PurposeControl)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	me := coherence.Member{Addr: s.ep.Addr(), Incarnation: s.incarnation, Rank: s.cfg.Rank}
	if err := writeControl(conn, controlJoin, encodeJoin(me, s.cfg.DetectRaces)); err != nil {
		return "", err
	}
	kind, payload, err := readControl(conn, maxControl)
	if err != nil {
		return "", fmt.Errorf("%s: %w", addr, err)
	}
	switch kind {
	case controlElse:
		return string(payload), nil
	case controlRefused:
		return "", fmt.Errorf("%s: %w: %s", addr, errTurnedAway, payload)
	case controlWelcome:
		if err := s.welcomed(ctx, conn, payload); err != nil {
			return "", fmt.Errorf("%s: %w: %w", addr, errBrokenOff, err)
		}
		return "", nil
	}
	return "", fmt.Errorf("%s: unexpected answer %q", addr, kind)
}

// welcomed connects to every member and waits for the view that has this node in it.
func (s *node) welcomed(ctx context.Context, conn net.Conn, payload []byte) error {
	if len(payload) < 4 {
		return errors.New("short welcome")
	}
	v, err := coherence.DecodeView(payload[4:])
	if err != nil {
		return err
	}
	s.become(pagetable.NodeID(binary.BigEndian.Uint32(payload)))
	for _, m := range v.Members {
		if err := s.ep.Connect(ctx, m.Node, m.Addr); err != nil {
			return fmt.Errorf("connect to member %v: %w", m.Node, err)
		}
	}
	if err := writeControl(conn, controlReady, nil); err != nil {
		return err
	}
	kind, payload, err := readControl(conn, maxControl)
	if err != nil || kind != controlJoined {
		return fmt.Errorf("the coordinator went away: %s (%v)", payload, err)
	}
	v, err = coherence.DecodeView(payload)
	if err != nil {
		return err
	}
	s.install(v)
	return nil
}

// encodeJoin returns what a node says of itself that wants to join: whether it detects races, in a byte, and what the
// view will say of it.
func encodeJoin(m coherence.Member, races bool) []byte {
	b := []byte{0}
	if races {
		b[0] = 1
	}
	return append(b, coherence.EncodeMember(m)...)
}

func decodeJoin(b []byte) (m coherence.Member, races bool, err error) {
	if len(b) == 0 || b[0] > 1 {
		return m, false, errors.New("a request to join that no node of this version makes")
	}
	m, err = coherence.DecodeMember(b[1:])
	return m, b[0] == 1, err
}

// admit lets a node in, at the coordinator.
func (s *node) admit(conn net.Conn, payload []byte) error {
	m, races, err := decodeJoin(payload)
	switch {
	case err != nil:
		return err
	case races != s.cfg.DetectRaces:
		return writeControl(conn, controlRefused, []byte(fmt.Sprintf(
			"DetectRaces is %v there and %v here: set it alike at all nodes (Config.DetectRaces, dsm run --detect-races, %s)",
			s.cfg.DetectRaces, races, EnvRaces)))
	}
	s.joinMu.Lock()
	defer s.joinMu.Unlock()
	if err := conn.SetDeadline(time.Now().Add(controlDeadline)); err != nil {
		return err
	}
	s.orderMu.Lock()
	v := s.view()
	if v.Coordinator != s.self {
		s.orderMu.Unlock()
		c, _ := v.Member(v.Coordinator)
		return writeControl(conn, controlElse, []byte(c.Addr))
	}
	v, n, err := v.Reserve()
	if err != nil {
		s.orderMu.Unlock()
		return writeControl(conn, controlRefused, []byte(err.Error()))
	}
	s.install(v)
	s.orderMu.Unlock()

	welcome := append(binary.BigEndian.AppendUint32(nil, uint32(n)), coherence.EncodeView(v)...)
	if err := writeControl(conn, controlWelcome, welcome); err != nil {
		return err
	}
	if kind, _, err := readControl(conn, maxRequest); err != nil || kind != controlReady {
		return fmt.Errorf("%v did not finish joining: %w", n, err)
	}
	m.Node = n
	return s.seat(conn, m)
}

// seat orders the view with the new member.
func (s *node) seat(conn net.Conn, m coherence.Member) error {
	s.orderMu.Lock()
	defer s.orderMu.Unlock()
	v := s.view()
	if v.Coordinator != s.self {
		return fmt.Errorf("%v is not the coordinator any more", s.self)
	}
	next := v.Join(m)
	s.publish(v, next)
	s.log.Info("node joined", "node", m.Node, "addr", m.Addr)
	return writeControl(conn, controlJoined, coherence.EncodeView(next))
}

// startGossip joins the membership library's group, whose only use is to notice silent members.
func (s *node) startGossip() error {
	w := &silenceWatch{s: s, back: map[pagetable.NodeID]chan struct{}{}}
	g, err := membership.Start(membership.Config{
		Name: gossipName(s.self), Endpoint: s.ep, Logger: s.log, OnDead: w.dead, OnAlive: w.alive,
	})
	if err != nil {
		return err
	}
	s.gossip.Store(g)
	var addrs []string
	for _, m := range s.view().Members {
		if m.Node != s.self {
			addrs = append(addrs, m.Addr)
		}
	}
	if len(addrs) == 0 {
		return nil
	}
	// Of two nodes that find each other in their views, the one that begins later finds the other
	// gossiping. The earlier one may not, and has joined nevertheless.
	if err := g.Join(addrs); err != nil {
		s.log.Debug("no member gossips yet", "error", err)
	}
	return nil
}

// gossipName is a node's name in the membership library.
func gossipName(n pagetable.NodeID) string { return n.String() }

func nodeOfGossip(name string) (pagetable.NodeID, bool) {
	id, err := strconv.ParseUint(strings.TrimPrefix(name, "n"), 10, 32)
	return pagetable.NodeID(id), err == nil
}

// silenceWatch remembers which members the membership library has given up.
type silenceWatch struct {
	s    *node
	mu   sync.Mutex
	back map[pagetable.NodeID]chan struct{} // closed when the member is heard of again
}

func (w *silenceWatch) dead(name string) {
	n, ok := nodeOfGossip(name)
	if !ok || n == w.s.self {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.back[n] == nil {
		back := make(chan struct{})
		w.back[n] = back
		go w.s.silent(n, back)
	}
}

func (w *silenceWatch) alive(name string) {
	n, ok := nodeOfGossip(name)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if back := w.back[n]; back != nil {
		close(back)
		delete(w.back, n)
	}
}
