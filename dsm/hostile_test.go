package dsm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/coherence"
	"pagemesh/dsm"
	"pagemesh/locks"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// Whoever can reach a node's port, and knows what its operator gave away, gets as far as a handshake. He
// is no member then, and what he says must not matter.

// intruder has a place on the network, an id that no node has, and bad intentions.
type intruder struct {
	transport.Endpoint
	t      *testing.T
	rng    *rand.Rand
	victim *dsm.Space
	epoch  uint64
}

// silent is the handler of an intruder, who listens to nobody.
type silent struct{}

func (silent) Packet(*transport.Outbox, pagetable.NodeID, []byte, []byte) {}
func (silent) Up(transport.Identity, string)                              {}
func (silent) Down(pagetable.NodeID, error)                               {}
func (silent) Stream(_ transport.Purpose, conn net.Conn)                  { conn.Close() }

func newIntruder(t *testing.T, victim *dsm.Space, i int) *intruder {
	ep, err := transport.Listen(transport.Config{Cluster: "pagemesh", Handler: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	ep.Identify(transport.Identity{Node: pagetable.NodeID(1000 + i), Incarnation: 1})
	t.Cleanup(func() { ep.Close() })
	return &intruder{ep, t, rand.New(rand.NewPCG(7, uint64(i))), victim, 1}
}

// packets sends packets as a peer until the victim has enough of it.
func (x *intruder) packets(n int, packet func() (header, body []byte)) {
	if err := x.Connect(patient(x.t), x.victim.Self(), x.victim.Addr()); err != nil {
		return
	}
	out := transport.NewOutbox(x)
	for range n {
		header, body := packet()
		if out.Send(x.victim.Self(), header, body) != nil {
			return
		}
		out.Flush()
	}
}

// stream opens a stream and says something.
func (x *intruder) stream(p transport.Purpose, b ...[]byte) {
	conn, err := x.Dial(patient(x.t), x.victim.Addr(), p)
	if err != nil {
		return
	}
	for _, b := range b {
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

func (x *intruder) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(x.rng.Uint32())
	}
	return b
}

// pageMessage returns the header of a message that could be of a member.
func (x *intruder) pageMessage(epoch uint64) []byte {
	return bytes.Clone(coherence.NewCodec().Encode('p', coherence.Message{
		Kind: coherence.Kind(1 + x.rng.IntN(12)), Page: pagetable.MakePageID(1, uint64(x.rng.IntN(16))),
		Epoch: epoch, Access: pagetable.Access(x.rng.IntN(3)), Requester: pagetable.NodeID(x.rng.IntN(4)),
		Txn: uint32(x.rng.IntN(50)), Content: coherence.Content(x.rng.IntN(3)),
	}))
}

func (x *intruder) lockMessage() []byte {
	m := locks.Message{
		Kind: locks.Kind(1 + x.rng.IntN(15)), Epoch: x.epoch, ID: locks.MutexID("m"), Name: "m", Node: 3,
		Token: locks.Token(x.rng.Uint64()), Parties: 2, Phase: 1 + x.rng.Uint64N(9), Count: x.rng.Uint64N(3),
		Status: locks.Status(1 + x.rng.IntN(3)), Reason: locks.Reason(x.rng.IntN(4)),
	}
	return m.Append([]byte{'l'})
}

// call returns the header of a question.
func call(kind uint64) []byte {
	var b bytes.Buffer
	b.WriteByte('c')
	enc := msgpack.NewEncoder(&b)
	_ = enc.EncodeUint(1)
	_ = enc.EncodeUint(kind)
	return b.Bytes()
}

// control returns a message of a control stream.
func control(kind byte, payload []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload)+1)), kind), payload...)
}

var intrusions = map[string]func(x *intruder){
	"random packets": func(x *intruder) {
		x.packets(50, func() ([]byte, []byte) { return x.random(x.rng.IntN(50)), x.random(x.rng.IntN(5000)) })
	},
	"random packets of every class": func(x *intruder) {
		x.packets(50, func() ([]byte, []byte) {
			return append([]byte{"plvcag"[x.rng.IntN(6)]}, x.random(x.rng.IntN(30))...), x.random(x.rng.IntN(100))
		})
	},
	"nested msgpack": func(x *intruder) {
		x.packets(2, func() ([]byte, []byte) {
			nested := bytes.Repeat([]byte{0x91}, 60000)
			return append([]byte{"plvcag"[x.rng.IntN(6)]}, nested...), nested
		})
	},
	"page messages": func(x *intruder) {
		x.packets(300, func() ([]byte, []byte) { return x.pageMessage(x.epoch), nil })
	},
	"page messages with pages": func(x *intruder) {
		x.packets(300, func() ([]byte, []byte) { return x.pageMessage(x.epoch), make([]byte, 4096) })
	},
	"page messages of the future": func(x *intruder) {
		x.packets(3000, func() ([]byte, []byte) { return x.pageMessage(x.epoch + 1), make([]byte, 4096) })
	},
	"lock messages": func(x *intruder) {
		x.packets(300, func() ([]byte, []byte) { return x.lockMessage(), nil })
	},
	"a view of his own": func(x *intruder) {
		v := coherence.FoundingView(coherence.Member{Addr: "127.0.0.1:1"})
		v.Term = 99
		x.packets(1, func() ([]byte, []byte) { return []byte{'v'}, coherence.EncodeView(v) })
	},
	"an order to lose a member": func(x *intruder) {
		x.packets(3, func() ([]byte, []byte) { return call(1), []byte{'x', 0, 0, 0, 3} })
	},
	"a vote": func(x *intruder) {
		x.packets(3, func() ([]byte, []byte) { return call(2), binary.BigEndian.AppendUint64(nil, 1<<40) })
	},
	"a goodbye":               func(x *intruder) { x.packets(3, func() ([]byte, []byte) { return []byte{'g'}, nil }) },
	"random control":          func(x *intruder) { x.stream(transport.PurposeControl, x.random(4096)) },
	"control of 4 GiB":        func(x *intruder) { x.stream(transport.PurposeControl, []byte{0xff, 0xff, 0xff, 0xff, 'j'}) },
	"control of 4 MiB":        func(x *intruder) { x.stream(transport.PurposeControl, control('s', make([]byte, 4<<20-1))) },
	"a malformed member":      func(x *intruder) { x.stream(transport.PurposeControl, control('j', x.random(100))) },
	"a query that is no JSON": func(x *intruder) { x.stream(transport.PurposeControl, control('p', bytes.Repeat([]byte{'['}, 5000))) },
	"control cut off":         func(x *intruder) { x.stream(transport.PurposeControl, control('s', make([]byte, 500))[:100]) },
	"random gossip":           func(x *intruder) { x.stream(transport.PurposeGossip, x.random(4096)) },
	"random gossip packets": func(x *intruder) {
		for range 50 {
			n := 1 + x.rng.IntN(500)
			x.stream(transport.PurposeGossip, []byte{'p', byte(n >> 8), byte(n)}, x.random(n))
		}
	},
	"gossip of a million members": func(x *intruder) { x.stream(transport.PurposeGossip, []byte{'s'}, pushPull(1<<20, 0)) },
	"gossip of 20 MiB":            func(x *intruder) { x.stream(transport.PurposeGossip, []byte{'s'}, pushPull(0, 20<<20)) },
}

// pushPull returns the front of an exchange of memberlist, see its net.go.
func pushPull(nodes, user int) []byte {
	b := bytes.NewBuffer([]byte{6})
	enc := msgpack.NewEncoder(b)
	_ = enc.EncodeMapLen(3)
	for k, v := range map[string]int{"Nodes": nodes, "UserStateLen": user} {
		_ = enc.EncodeString(k)
		_ = enc.EncodeInt(int64(v))
	}
	_ = enc.EncodeString("Join")
	_ = enc.EncodeBool(true)
	return b.Bytes()
}

// TestIntruders: whatever intruders say to a node, it stays what it was, and its neighbours go on to share
// pages with it. They attack the member that orders the views, and another one.
func TestIntruders(t *testing.T) {
	const intruders, heapGrowth = 8, 6 << 20
	for name, intrude := range intrusions {
		t.Run(name, func(t *testing.T) {
			nodes := openNodes(t, 3, dsm.Config{})
			regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 16 * 4096})
			work := share(t, nodes, regions)
			work.progress(3)
			before := heapInUse()
			var wg sync.WaitGroup
			for i := range intruders {
				x := newIntruder(t, nodes[i%2], i)
				wg.Go(func() { intrude(x) })
			}
			work.progress(5)
			wg.Wait()
			work.progress(3)
			if grown := heapInUse() - before; grown > heapGrowth {
				t.Errorf("the heap has grown by %d KiB", grown>>10)
			}
			work.stop()
			for _, s := range nodes {
				if m := s.Members(); len(m) != 3 || s.Err() != nil {
					t.Errorf("%v sees %d members, %v", s.Self(), len(m), s.Err())
				}
			}
			last := openNode(t, dsm.Config{Seeds: []string{nodes[0].Addr()}})
			if m := last.Members(); len(m) != 4 {
				t.Errorf("a node that joins sees %d members", len(m))
			}
			closeNodes(t, []*dsm.Space{last})
		})
	}
}

// heapInUse returns the bytes that are in use: the least of a few counts, since the nodes go on meanwhile.
func heapInUse() int64 {
	least := int64(math.MaxInt64)
	for range 3 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, int64(m.HeapAlloc))
	}
	return least
}

// sharing are nodes that count in each other's pages and take a mutex in turn.
type sharing struct {
	t      *testing.T
	rounds chan int // the node that has done one
	done   context.CancelFunc
	wg     sync.WaitGroup
}

func share(t *testing.T, nodes []*dsm.Space, regions []*dsm.Region) *sharing {
	ctx, cancel := context.WithCancel(patient(t))
	w := &sharing{t: t, rounds: make(chan int), done: cancel}
	t.Cleanup(w.stop)
	for i, s := range nodes {
		w.wg.Go(func() {
			mu := s.Mutex("m")
			for ctx.Err() == nil {
				if err := round(ctx, mu, regions[i]); err != nil && ctx.Err() == nil {
					t.Errorf("node %d: %v", i, err)
					cancel()
				}
				select {
				case w.rounds <- i:
				case <-ctx.Done():
				}
			}
		})
	}
	return w
}

// round adds one to a word of every page and locks once.
func round(ctx context.Context, mu *dsm.Mutex, r *dsm.Region) error {
	for p := range int64(16) {
		if _, err := r.Add(ctx, p*4096, 1); err != nil {
			return err
		}
	}
	if _, err := mu.Lock(ctx); err != nil {
		return err
	}
	return mu.Unlock()
}

// progress returns when each node has done so many more rounds.
func (w *sharing) progress(n int) {
	w.t.Helper()
	done := map[int]int{}
	for enough := 0; enough < 3; {
		select {
		case i := <-w.rounds:
			if done[i]++; done[i] == n {
				enough++
			}
		case <-time.After(patience):
			w.t.Fatalf("rounds done: %v, want %d by each node", done, n)
		}
	}
}

func (w *sharing) stop() {
	w.done()
	w.wg.Wait()
}
