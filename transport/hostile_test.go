package transport

import (
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pagemesh/pagetable"
)

const (
	// strangers is how many connections attack at once.
	strangers = 48
	// heapGrowth is by how much their attack may grow the heap, together. An admitted connection has a
	// read buffer of 64 KiB, which makes 3 MiB for all.
	heapGrowth = 6 << 20
)

// stranger is a connection of somebody who means no good, as seen from its own end.
type stranger struct {
	net.Conn
	t   *testing.T
	rng *rand.Rand
	id  pagetable.NodeID // not used by anybody else
}

// say writes what the other end may cut off at any moment.
func (s *stranger) say(b ...[]byte) {
	for _, p := range b {
		if _, err := s.Write(p); err != nil {
			return
		}
	}
}

func (s *stranger) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return b
}

// shakeHands gets the stranger in: it knows the secret.
func (s *stranger) shakeHands(p Purpose) {
	hi := hello{version: ProtocolVersion, cluster: "test", purpose: p, self: Identity{s.id, 1}, addr: "127.0.0.1:1"}
	if _, err := newHandshake(s, "sesame").dial(hi); err != nil {
		s.t.Errorf("a stranger who knows the secret is refused: %v", err)
	}
}

// lengths returns the front of a packet that announces so many bytes.
func lengths(header, body uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, header), body)
}

// attacks are what strangers do. Those that end without closing leave a connection that stays.
var attacks = map[string]func(s *stranger){
	"silence":      func(s *stranger) {},
	"random bytes": func(s *stranger) { s.say(s.random(1 + s.rng.IntN(4096))) },
	"a web browser": func(s *stranger) {
		s.say([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	},
	"a greeting and random bytes": func(s *stranger) { s.say([]byte(magic), s.random(1+s.rng.IntN(4096))) },
	"a frame of 64 KiB":           func(s *stranger) { s.say([]byte(magic), []byte{0xff, 0xff}, s.random(4096)) },
	"hostile frames": func(s *stranger) {
		kinds := slices.Sorted(maps.Keys(hostile))
		s.say(greeting(hostileFrame(hostile[kinds[int(s.id)%len(kinds)]])))
	},
	"a hello cut off": func(s *stranger) {
		b := greeting(must(hello{version: 1, cluster: "test", purpose: PurposePeer}.encode()))
		s.say(b[:s.rng.IntN(len(b))])
		s.Close()
	},
	"a slow hello": func(s *stranger) {
		for _, b := range greeting(must(hello{version: 1, cluster: "test", purpose: PurposePeer}.encode())) {
			s.say([]byte{b})
			runtime.Gosched()
		}
	},
	"a wrong proof": func(s *stranger) {
		s.say(greeting(must(hello{version: 1, cluster: "test", purpose: PurposePeer}.encode()), must(encodeProof(mac{9}))))
	},
	"random packets": func(s *stranger) {
		s.shakeHands(PurposePeer)
		for range 20 {
			s.say(appendPacket(nil, s.random(s.rng.IntN(100)), s.random(s.rng.IntN(5000))))
		}
	},
	"no packets at all": func(s *stranger) { s.shakeHands(PurposePeer); s.say(s.random(4096)) },
	"4 GiB announced": func(s *stranger) {
		s.shakeHands(PurposePeer)
		s.say(lengths(0xffffffff, 0xffffffff), s.random(4096))
	},
	"4 MiB announced and not sent": func(s *stranger) {
		s.shakeHands(PurposePeer)
		s.say(lengths(MaxHeader, MaxBody), s.random(4096))
	},
	"a packet cut off": func(s *stranger) {
		s.shakeHands(PurposePeer)
		s.say(lengths(10, 4096), s.random(s.rng.IntN(4000)))
		s.Close()
	},
	"a slow packet": func(s *stranger) {
		s.shakeHands(PurposePeer)
		for _, b := range appendPacket(nil, make([]byte, 10), make([]byte, 200)) {
			s.say([]byte{b})
			runtime.Gosched()
		}
	},
	"a stream of random bytes": func(s *stranger) { s.shakeHands(PurposeControl); s.say(s.random(4096)) },
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHostileBytes: whatever strangers do to a node's port, the node lives, its memory stays what it was,
// and it goes on to exchange pages with its neighbour.
func TestHostileBytes(t *testing.T) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			a, b := lister(Listen).pair(t)
			exchanged := playBall(a, b)
			await := func(n int64) {
				want := exchanged.Load() + n
				a.await("the neighbours' pages", func() bool { return exchanged.Load() >= want })
			}
			await(10)
			before := heap()
			var wg sync.WaitGroup
			conns := make([]*stranger, strangers)
			for i := range conns {
				conns[i] = meet(t, b, i)
				wg.Go(func() { attack(conns[i]) })
			}
			await(200)
			wg.Wait()
			await(10)
			if grown := heap() - before; grown > heapGrowth {
				t.Errorf("the heap has grown by %d KiB", grown>>10)
			}
			for _, s := range conns {
				s.Close()
			}
			b.await("the end of all strangers", func() bool { return len(b.ups)-1 == len(b.downs) })
			await(10)
		})
	}
}

// meet connects a stranger to b.
func meet(t *testing.T, b *host, i int) *stranger {
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &stranger{conn, t, rand.New(rand.NewPCG(1, uint64(i))), pagetable.NodeID(100 + i)}
}

// playBall has a and b send each other a page in turn, and counts. What others send is dropped.
func playBall(a, b *host) *atomic.Int64 {
	var exchanged atomic.Int64
	page := stuff(5, 4096)
	for h, other := range map[*host]pagetable.NodeID{a: 2, b: 1} {
		h.onPacket(func(out *Outbox, from pagetable.NodeID, header, body []byte) {
			if from != other {
				return
			}
			if string(header) != "ball" || string(body) != string(page) {
				h.t.Errorf("%q with %d bytes from %v", header, len(body), from)
			}
			if err := out.Send(other, header, page); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNoPeer) {
				h.t.Error(err)
			}
			exchanged.Add(1)
			a.signal(func() {})
		})
	}
	if err := a.post(2, []byte("ball"), page); err != nil {
		a.t.Error(err)
	}
	return &exchanged
}

// TestManyHalfOpen: more connections than may be in their handshake at once don't keep an honest node
// out, and the oldest of them give way.
func TestManyHalfOpen(t *testing.T) {
	b := lister(Listen).start(t, 2, nil)
	var conns []*stranger
	for i := range maxStrangers + 50 {
		conns = append(conns, meet(t, b, i))
	}
	a := lister(Listen).start(t, 1, nil)
	a.connect(2, b)
	// Whoever came before a has been accepted before a was.
	e := b.Endpoint.(*tcp)
	e.mu.Lock()
	open := e.strangers.Len()
	e.mu.Unlock()
	if open > maxStrangers {
		t.Errorf("%d connections are in their handshake", open)
	}
	for _, s := range conns {
		s.Close()
	}
}
