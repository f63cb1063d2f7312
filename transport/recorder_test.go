package transport

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pagemesh/pagetable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; only a hang ever takes that long.
const patience = 60 * time.Second

// received is a packet that a recorder got, copied.
type received struct {
	header, body string
}

type packetFunc func(out *Outbox, from pagetable.NodeID, header, body []byte)

// recorder is a Handler that remembers what it was called with and checks the handler's contract: Up,
// packets, Down for each peer, one call at a time for each peer.
type recorder struct {
	t testing.TB

	mu      sync.Mutex
	packet  packetFunc // instead of remembering
	stream  func(p Purpose, conn net.Conn)
	cond    *sync.Cond
	busy    map[pagetable.NodeID]bool
	up      map[pagetable.NodeID]bool
	ups     []Identity
	addrs   []string
	downs   []error
	packets map[pagetable.NodeID][]received
}

func newRecorder(t testing.TB) *recorder {
	r := &recorder{
		t: t, busy: map[pagetable.NodeID]bool{}, up: map[pagetable.NodeID]bool{},
		packets: map[pagetable.NodeID][]received{},
	}
	r.cond = sync.NewCond(&r.mu)
	return r
}

// enter and leave bracket a call of the handler for a peer.
func (r *recorder) enter(n pagetable.NodeID, what string, wantUp bool) packetFunc {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[n] {
		r.t.Errorf("%s(%v) while another call for that peer is running", what, n)
	}
	if r.up[n] != wantUp {
		r.t.Errorf("%s(%v) with up = %v", what, n, r.up[n])
	}
	r.busy[n] = true
	return r.packet
}

func (r *recorder) leave(n pagetable.NodeID, change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[n] = false
	if change != nil {
		change()
	}
	r.cond.Broadcast()
}

func (r *recorder) Up(p Identity, addr string) {
	r.enter(p.Node, "Up", false)
	r.leave(p.Node, func() {
		r.up[p.Node], r.ups, r.addrs = true, append(r.ups, p), append(r.addrs, addr)
	})
}

func (r *recorder) Down(n pagetable.NodeID, err error) {
	r.enter(n, "Down", true)
	r.leave(n, func() { r.up[n], r.downs = false, append(r.downs, err) })
}

func (r *recorder) Packet(out *Outbox, from pagetable.NodeID, header, body []byte) {
	if f := r.enter(from, "Packet", true); f != nil {
		f(out, from, header, body)
		r.leave(from, nil)
		return
	}
	r.leave(from, func() {
		r.packets[from] = append(r.packets[from], received{string(header), string(body)})
	})
}

func (r *recorder) Stream(p Purpose, conn net.Conn) {
	r.mu.Lock()
	f := r.stream
	r.mu.Unlock()
	if f == nil {
		conn.Close()
		return
	}
	f(p, conn)
}

// await waits until cond, which is called with the lock held, holds.
func (r *recorder) await(what string, cond func() bool) {
	r.t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		late = true
		r.cond.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !cond() {
		if late {
			r.t.Fatalf("no end of waiting for %s", what)
		}
		r.cond.Wait()
	}
}

// onPacket has f called instead of remembering packets.
func (r *recorder) onPacket(f packetFunc) { r.signal(func() { r.packet = f }) }

// onStream has f called with accepted streams instead of closing them.
func (r *recorder) onStream(f func(p Purpose, conn net.Conn)) { r.signal(func() { r.stream = f }) }

// signal makes await look again; tests call it when their own state has changed.
func (r *recorder) signal(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	r.cond.Broadcast()
}

func (r *recorder) awaitPackets(from pagetable.NodeID, n int) []received {
	r.t.Helper()
	r.await(fmt.Sprintf("%d packets from %v", n, from), func() bool { return len(r.packets[from]) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.packets[from])
}

// awaitDown waits for the n-th Down and returns its error.
func (r *recorder) awaitDown(n int) error {
	r.t.Helper()
	r.await("Down", func() bool { return len(r.downs) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.downs[n-1]
}

// host is an endpoint under test with its recorder.
type host struct {
	Endpoint
	*recorder
	t testing.TB
}

// lister opens endpoints of one kind of network that reach each other.
type lister func(Config) (Endpoint, error)

// start opens an endpoint as node id; change adapts its Config if not nil.
func (l lister) start(t testing.TB, id pagetable.NodeID, change func(*Config)) *host {
	t.Helper()
	r := newRecorder(t)
	cfg := Config{Cluster: "test", Secret: "sesame", Handler: r}
	if change != nil {
		change(&cfg)
	}
	ep, err := l(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ep.Identify(Identity{Node: id, Incarnation: 1000 + uint64(id)})
	h := &host{ep, r, t}
	t.Cleanup(func() { ep.Close() })
	return h
}

// pair opens n1 and n2 and connects them.
func (l lister) pair(t testing.TB) (a, b *host) {
	t.Helper()
	a, b = l.start(t, 1, nil), l.start(t, 2, nil)
	a.connect(2, b)
	b.await("Up", func() bool { return b.up[1] })
	return a, b
}

func (h *host) connect(id pagetable.NodeID, to *host) {
	h.t.Helper()
	if err := h.Connect(context.Background(), id, to.Addr()); err != nil {
		h.t.Fatal(err)
	}
}

// post sends one packet and flushes.
func (h *host) post(to pagetable.NodeID, header, body []byte) error {
	out := NewOutbox(h)
	defer out.Flush()
	return out.Send(to, header, body)
}

// stuff returns n bytes that depend on i.
func stuff(i, n int) []byte {
	b := bytes.Repeat([]byte{byte(i), byte(i >> 8), byte(i * 7), 1}, n/4+1)
	return b[:n]
}
