package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pagemesh/pagetable"
)

// conform runs a test of the contract on every kind of network.
func conform(t *testing.T, test func(t *testing.T, l lister)) {
	t.Run("tcp", func(t *testing.T) { test(t, Listen) })
	t.Run("memory", func(t *testing.T) { test(t, NewMemoryNetwork(1, Faults{}).Listen) })
	t.Run("memory with delays", func(t *testing.T) {
		test(t, NewMemoryNetwork(1, Faults{MaxDelay: time.Millisecond}).Listen)
	})
}

// blast sends n packets of seeded sizes, numbered in the header, in bursts.
func blast(h *host, to pagetable.NodeID, n int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(to)))
	out := NewOutbox(h)
	header := make([]byte, 8)
	for i := range n {
		binary.BigEndian.PutUint64(header, uint64(i))
		size := rng.IntN(300)
		if rng.IntN(50) == 0 {
			size = rng.IntN(200 << 10)
		}
		if err := out.Send(to, header, stuff(i, size)); err != nil {
			h.t.Errorf("packet %d: %v", i, err)
			return
		}
		if rng.IntN(10) == 0 {
			out.Flush()
		}
	}
	out.Flush()
}

// checkBlast compares what came from a node with what blast sent it.
func checkBlast(h *host, from, self pagetable.NodeID, n int, seed uint64) {
	h.t.Helper()
	rng := rand.New(rand.NewPCG(seed, uint64(self)))
	for i, p := range h.awaitPackets(from, n) {
		size := rng.IntN(300)
		if rng.IntN(50) == 0 {
			size = rng.IntN(200 << 10)
		}
		rng.IntN(10)
		if got := binary.BigEndian.Uint64([]byte(p.header)); got != uint64(i) {
			h.t.Fatalf("seed %d: packet %d from %v arrived as number %d", seed, got, from, i)
		}
		if p.body != string(stuff(i, size)) {
			h.t.Fatalf("seed %d: packet %d from %v has other bytes than were sent", seed, i, from)
		}
	}
}

func TestFirstInFirstOut(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		const n, seed = 3000, 42
		a, b := l.pair(t)
		var wg sync.WaitGroup
		wg.Go(func() { blast(a, 2, n, seed) })
		wg.Go(func() { blast(b, 1, n, seed) })
		wg.Wait()
		checkBlast(b, 1, 2, n, seed)
		checkBlast(a, 2, 1, n, seed)
		if in, out := Counters(b).BytesIn, Counters(a).BytesOut; in != out || in == 0 {
			t.Errorf("a counts %d bytes out, b %d bytes in", out, in)
		}
		if c := Counters(b); c.PacketsIn != n || c.PacketsOut != n {
			t.Errorf("b counts %+v, want %d packets each way", c, n)
		}
	})
}

func TestBothEndsCanSendOnceConnectReturns(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		for range 100 {
			a, b := l.start(t, 1, nil), l.start(t, 2, nil)
			a.connect(2, b)
			if err := b.post(1, []byte("at once"), nil); err != nil {
				t.Fatal(err)
			}
			a.awaitPackets(2, 1)
			a.Close()
			b.Close()
		}
	})
}

func TestDisconnectSendsWhatIsQueued(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.pair(t)
		blast(a, 2, 500, 7)
		a.Disconnect(2)
		if err := a.post(2, []byte("late"), nil); !errors.Is(err, ErrNoPeer) {
			t.Errorf("Send after Disconnect: %v", err)
		}
		if err := a.awaitDown(1); err != nil {
			t.Errorf("Down at the end that disconnected: %v", err)
		}
		if err := b.awaitDown(1); err == nil || !strings.Contains(err.Error(), "n1") {
			t.Errorf("Down at the other end: %v", err)
		}
		checkBlast(b, 1, 2, 500, 7)
		a.Disconnect(2) // no effect
		a.connect(2, b)
		b.await("a second Up", func() bool { return b.up[1] })
		blast(b, 1, 10, 8)
		checkBlast(a, 2, 1, 10, 8)
	})
}

func TestConnectAgainAtOnce(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.pair(t)
		for i := range 20 {
			a.Disconnect(2)
			if i%2 == 0 {
				b.connect(1, a)
			}
			a.connect(2, b)
		}
	})
}

func TestConnectFromBothSides(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		for range 20 {
			const nodes = 4
			var hosts []*host
			for i := range nodes {
				hosts = append(hosts, l.start(t, pagetable.NodeID(i+1), nil))
			}
			var wg sync.WaitGroup
			for i, from := range hosts {
				for j, to := range hosts {
					if i == j {
						continue
					}
					wg.Go(func() {
						id := pagetable.NodeID(j + 1)
						if err := from.Connect(context.Background(), id, to.Addr()); err != nil {
							t.Error(err)
						}
						from.signal(func() {
							if !from.up[id] {
								t.Errorf("Connect to %v returned before Up", id)
							}
						})
					})
				}
			}
			wg.Wait()
			for _, h := range hosts {
				h.signal(func() {
					if len(h.ups) != nodes-1 || len(h.downs) != 0 {
						t.Errorf("%d Ups and %d Downs, want %d and none", len(h.ups), len(h.downs), nodes-1)
					}
				})
				for i, p := range h.ups {
					if want := hosts[p.Node-1].Addr(); h.addrs[i] != want {
						t.Errorf("Up says that %v is at %s, want %s", p.Node, h.addrs[i], want)
					}
				}
			}
			for _, h := range hosts {
				h.Close()
			}
		}
	})
}

func TestFloodBothWays(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		const n, size = 12, MaxBody
		a, b := l.pair(t)
		got := map[*host]*int{a: new(int), b: new(int)}
		for h, got := range got {
			h.onPacket(func(_ *Outbox, from pagetable.NodeID, header, body []byte) {
				if i := int(header[0]); string(body) != string(stuff(i, size)) {
					t.Errorf("packet %d has other bytes than were sent", i)
				}
				h.signal(func() { *got++ })
			})
		}
		var wg sync.WaitGroup
		for h, to := range map[*host]pagetable.NodeID{a: 2, b: 1} {
			wg.Go(func() {
				for i := range n {
					if err := h.post(to, []byte{byte(i)}, stuff(i, size)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for h, got := range got {
			h.await("all bodies", func() bool { return *got == n })
		}
	})
}

// TestAnswersFromHandlers has two handlers flood each other from inside their calls: each packet begets
// another one, so that a handler that waited in a write would stop both.
func TestAnswersFromHandlers(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		const rounds, size = 40, 1 << 20
		a, b := l.pair(t)
		body := stuff(3, size)
		var landed atomic.Int32
		for h, to := range map[*host]pagetable.NodeID{a: 2, b: 1} {
			h.onPacket(func(out *Outbox, _ pagetable.NodeID, header, got []byte) {
				if len(got) != size {
					t.Errorf("%d bytes, want %d", len(got), size)
				}
				if header[0] < rounds {
					if err := out.Send(to, []byte{header[0] + 1}, body); err != nil {
						t.Error(err)
					}
					return
				}
				landed.Add(1)
				b.signal(func() {})
			})
		}
		const balls = 8
		for range balls {
			if err := a.post(2, []byte{0}, body); err != nil {
				t.Fatal(err)
			}
		}
		b.await("the last answers", func() bool { return landed.Load() == balls })
	})
}

func TestSlowReaderDelaysNobodyElse(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		const n, size = 64, 1 << 20
		a, b := l.pair(t)
		c := l.start(t, 3, nil)
		a.connect(3, c)
		gate, got := make(chan struct{}), 0
		b.onPacket(func(_ *Outbox, _ pagetable.NodeID, header, body []byte) {
			<-gate
			b.signal(func() { got++ })
		})
		for i := range n {
			if err := a.post(2, []byte{byte(i)}, stuff(i, size)); err != nil {
				t.Fatal(err)
			}
		}
		blast(a, 3, 100, 1)
		checkBlast(c, 1, 3, 100, 1)
		close(gate)
		b.await("the slow reader", func() bool { return got == n })
	})
}

func TestTooSlowReaderIsDropped(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		small := func(c *Config) { c.maxQueued = 8 << 20 }
		a, b := l.start(t, 1, small), l.start(t, 2, nil)
		a.connect(2, b)
		gate := make(chan struct{})
		b.onPacket(func(*Outbox, pagetable.NodeID, []byte, []byte) { <-gate })
		defer close(gate)
		var err error
		for range 64 {
			if err = a.post(2, nil, stuff(0, 1<<20)); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrNoPeer) {
			t.Fatalf("Send beyond the limit: %v", err)
		}
		if err := a.awaitDown(1); err == nil || !strings.Contains(err.Error(), "waiting to be sent") {
			t.Errorf("Down: %v", err)
		}
	})
}

func TestSendErrors(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.pair(t)
		if err := a.post(3, nil, nil); !errors.Is(err, ErrNoPeer) {
			t.Errorf("Send to a stranger: %v", err)
		}
		if err := a.post(2, make([]byte, MaxHeader+1), nil); err == nil {
			t.Error("a header that is too large was accepted")
		}
		if err := a.post(2, nil, make([]byte, MaxBody+1)); err == nil {
			t.Error("a body that is too large was accepted")
		}
		if err := a.post(2, nil, nil); err != nil {
			t.Errorf("an empty packet: %v", err)
		}
		b.awaitPackets(1, 1)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := a.post(2, nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		if err := a.Connect(context.Background(), 2, b.Addr()); !errors.Is(err, ErrClosed) {
			t.Errorf("Connect after Close: %v", err)
		}
		if _, err := a.Dial(context.Background(), b.Addr(), PurposeControl); !errors.Is(err, ErrClosed) {
			t.Errorf("Dial after Close: %v", err)
		}
		if err := a.Close(); !errors.Is(err, ErrClosed) {
			t.Errorf("the second Close: %v", err)
		}
		b.awaitDown(1)
		if err := b.post(1, nil, nil); !errors.Is(err, ErrNoPeer) {
			t.Errorf("Send after Down: %v", err)
		}
	})
}

func TestCloseInFullFlow(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.pair(t)
		closed := false
		a.onPacket(func(out *Outbox, from pagetable.NodeID, header, body []byte) {
			a.signal(func() {
				if closed {
					t.Error("a packet after Close has returned")
				}
			})
			out.Send(from, header, body)
		})
		b.onPacket(func(out *Outbox, from pagetable.NodeID, header, body []byte) {
			b.signal(func() { b.packets[from] = append(b.packets[from], received{}) })
			out.Send(from, header, body)
		})
		for i := range 10 {
			if err := a.post(2, []byte("ball"), stuff(i, 5000)); err != nil {
				t.Fatal(err)
			}
		}
		b.awaitPackets(1, 1000)
		a.Close()
		a.signal(func() { closed = true })
		if err := a.awaitDown(1); err != nil {
			t.Errorf("Down after Close: %v", err)
		}
		b.awaitDown(1)
	})
}

func TestStreams(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.start(t, 0, nil), l.start(t, 2, nil)
		b.onStream(func(p Purpose, conn net.Conn) {
			defer conn.Close()
			fmt.Fprintf(conn, "%d:", p)
			io.Copy(conn, conn)
		})
		for _, p := range []Purpose{PurposeGossip, PurposeControl} {
			conn, err := a.Dial(context.Background(), b.Addr(), p)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 7)
			if _, err := io.ReadFull(conn, got[:2]); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, got[2:]); err != nil || string(got) != fmt.Sprintf("%d:hello", p) {
				t.Errorf("%q, %v", got, err)
			}
			conn.Close()
		}
		if _, err := a.Dial(context.Background(), b.Addr(), PurposePeer); err == nil {
			t.Error("Dial opened a peer connection")
		}
	})
}

func TestCloseEndsStreams(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.start(t, 1, nil), l.start(t, 2, nil)
		inside := make(chan struct{})
		b.onStream(func(_ Purpose, conn net.Conn) {
			close(inside)
			io.Copy(io.Discard, conn) // until b closes
		})
		conn, err := a.Dial(context.Background(), b.Addr(), PurposeControl)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		<-inside
		b.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("the stream outlives its endpoint")
		}
	})
}

func TestRefusals(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		b := l.start(t, 2, nil)
		for _, c := range []struct {
			name   string
			change func(*Config)
			self   pagetable.NodeID
			node   pagetable.NodeID
			want   []string
		}{
			{"version", func(c *Config) { c.Version = 77 }, 1, 2, []string{"version 1", "77", "same build"}},
			{"cluster", func(c *Config) { c.Cluster = "other" }, 1, 2, []string{`"other"`, "cluster name"}},
			{"secret", func(c *Config) { c.Secret = "wrong" }, 1, 2, []string{"secret"}},
			{"no secret", func(c *Config) { c.Secret = "" }, 1, 2, []string{"secret"}},
			{"node", nil, 1, 3, []string{"n2", "n3"}},
			{"own id", nil, 2, 0, nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				a := l.start(t, c.self, c.change)
				node := c.node
				if node == 0 {
					a.Identify(Identity{Node: 3})
					a.connect(2, b) // and then somebody else with the same id:
					a = l.start(t, 3, nil)
					node, c.want = 2, []string{"n3", "another process"}
				}
				err := a.Connect(context.Background(), node, b.Addr())
				if !errors.Is(err, ErrRefused) {
					t.Fatalf("Connect: %v, want ErrRefused", err)
				}
				for _, w := range append(c.want, b.Addr()) {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%q does not mention %q", err, w)
					}
				}
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("%q is more than one line", err)
				}
			})
		}
	})
}

func TestConnectArguments(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.start(t, 1, nil), l.start(t, 2, nil)
		for _, node := range []pagetable.NodeID{0, 1} {
			if err := a.Connect(context.Background(), node, b.Addr()); err == nil {
				t.Errorf("node 1 connected to %v", node)
			}
		}
		nobody := l.start(t, 9, nil)
		nobody.Close()
		if err := a.Connect(context.Background(), 9, nobody.Addr()); err == nil || !strings.Contains(err.Error(), nobody.Addr()) {
			t.Errorf("connect to nobody: %v", err)
		}
		if _, err := a.Dial(context.Background(), nobody.Addr(), PurposeControl); err == nil || !strings.Contains(err.Error(), nobody.Addr()) {
			t.Errorf("dial nobody: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := a.Connect(ctx, 2, b.Addr()); !errors.Is(err, context.Canceled) {
			t.Errorf("Connect with a context that is done: %v", err)
		}
	})
}

func TestConnectWaitsForTheOthersID(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a, b := l.start(t, 1, nil), l.start(t, 0, nil)
		done := make(chan error)
		go func() { done <- a.Connect(context.Background(), 2, b.Addr()) }()
		b.Identify(Identity{Node: 2, Incarnation: 5})
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := (Identity{Node: 2, Incarnation: 5}); a.ups[0] != want {
			t.Errorf("Up(%v), want %v", a.ups[0], want)
		}
	})
}

func TestAddressInUse(t *testing.T) {
	conform(t, func(t *testing.T, l lister) {
		a := l.start(t, 1, nil)
		_, err := l(Config{Listen: a.Addr(), Handler: newRecorder(t)})
		if err == nil || !strings.Contains(err.Error(), a.Addr()) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("listening twice on %s: %v", a.Addr(), err)
		}
	})
}
