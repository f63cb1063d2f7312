package membership

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"pagemesh/transport"
)

// said is a connection on which somebody has said something.
type said struct {
	net.Conn
	io.Reader
}

func (s said) Read(b []byte) (int, error) { return s.Reader.Read(b) }

func hear(b []byte) said { return said{Reader: bytes.NewReader(b)} }

// state is a member in an exchange.
type state struct {
	Name        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Incarnation uint32
	State       int
	Vsn         []uint8
}

// exchange returns an exchange, as memberlist writes it but for the length of its numbers.
func exchange(t testing.TB, announced int, states ...any) []byte {
	t.Helper()
	b := bytes.NewBuffer([]byte{kindPushPull})
	enc := msgpack.NewEncoder(b)
	header := struct {
		Nodes, UserStateLen int
		Join                bool
	}{announced, 0, true}
	for _, v := range append([]any{header}, states...) {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func someState() state {
	return state{"n12", []byte{127, 0, 0, 1}, 7000, nil, 1 << 20, 2, []uint8{1, 5, 2, 2, 5, 4}}
}

func TestScreenPassesExchanges(t *testing.T) {
	for _, b := range [][]byte{
		exchange(t, 0), exchange(t, 1, someState()), exchange(t, 3, someState(), someState(), someState()),
	} {
		c, err := screenExchange(hear(b))
		if err != nil {
			t.Errorf("%x is refused: %v", b, err)
			continue
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x became %x, %v", b, got, err)
		}
	}
}

// hostileExchanges cost a member much if memberlist gets to see them, or nothing.
func hostileExchanges(t testing.TB) map[string][]byte {
	long := someState()
	long.Meta = make([]byte, 1<<16)
	return map[string][]byte{
		"a million members":   exchange(t, 1<<20),
		"negative members":    exchange(t, -1),
		"20 MiB of user data": append([]byte{kindPushPull, 0x81, 0xac}, "UserStateLen\xce\x01\x40\x00\x00"...),
		"fewer members":       exchange(t, 2, someState()),
		"long values":         exchange(t, 1, long),
		"nested arrays":       append(exchange(t, 1), bytes.Repeat([]byte{0x91}, 1<<19)...),
		"nested maps":         append(exchange(t, 1), bytes.Repeat([]byte{0x81}, 1<<19)...),
		"a string of 4 GiB":   append(exchange(t, 1), 0x81, 0xdb, 0xff, 0xff, 0xff, 0xff),
		"a map of 4 Gi":       append(exchange(t, 1), 0xdf, 0xff, 0xff, 0xff, 0xff),
		"user data":           {8, 0x81, 0xaa, 'U'},
		"compressed":          {kindCompress, 0x82},
		"encrypted":           {kindEncrypt, 0, 0, 0, 1},
		"a label":             {kindLabel, 3, 'a', 'b', 'c'},
		"nothing":             {},
	}
}

func TestScreenRefusesExchanges(t *testing.T) {
	for name, b := range hostileExchanges(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := screenExchange(hear(b))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s is passed on", name)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 4*maxExchange {
			t.Errorf("%s: %d bytes were allocated", name, got)
		}
	}
}

func TestScreenPackets(t *testing.T) {
	ping := []byte{0, 0x81, 0xa5, 'S', 'e', 'q', 'N', 'o', 1}
	compound := func(parts ...[]byte) []byte {
		b := []byte{kindCompound, byte(len(parts))}
		for _, p := range parts {
			b = append(b, byte(len(p)>>8), byte(len(p)))
		}
		return append(b, bytes.Join(parts, nil)...)
	}
	crc := func(b []byte) []byte { return append([]byte{kindCRC, 1, 2, 3, 4}, b...) }
	bomb := []byte{kindCompress, 0x82}
	for _, c := range []struct {
		name string
		b    []byte
		pass bool
	}{
		{"ping", ping, true}, {"checked ping", crc(ping), true}, {"parts", crc(compound(ping, ping)), true},
		{"no parts", compound(), true}, {"half of its parts", compound(ping, ping)[:8], true},
		{"compressed", bomb, false}, {"checked and compressed", crc(bomb), false},
		{"compressed part", compound(ping, bomb), false}, {"parts of parts", compound(compound(bomb)), false},
		{"checked compressed part", compound(crc(bomb)), false}, {"label", []byte{kindLabel, 1, 'x', 9}, false},
		{"checked twice", crc(crc(bomb)), false},
	} {
		if got := screenPacket(c.b); got != c.pass {
			t.Errorf("%s: passed on is %v", c.name, got)
		}
	}
}

// FuzzScreenExchange: what is passed on is what was said.
func FuzzScreenExchange(f *testing.F) {
	f.Add(exchange(f, 1, someState()))
	for _, b := range hostileExchanges(f) {
		f.Add(b[:min(len(b), 1000)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := screenExchange(hear(b))
		if err != nil {
			return
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x became %x, %v", b, got, err)
		}
	})
}

// FuzzScreenPacket: whatever a packet is made of, nothing in it is compressed.
func FuzzScreenPacket(f *testing.F) {
	f.Add([]byte{kindCompound, 2, 0, 1, 0, 2, 0, kindCompress, 0x82})
	f.Add([]byte{kindCRC, 1, 2, 3, 4, kindCompress})
	f.Fuzz(func(t *testing.T, b []byte) {
		if screenPacket(b) && len(b) > 0 && (b[0] == kindCompress || b[0] == kindCRC && len(b) > 5 && b[5] == kindCompress) {
			t.Errorf("%x is passed on", b)
		}
	})
}

// TestHostileExchanges: members go on to gossip while one of them hears the worst.
func TestHostileExchanges(t *testing.T) {
	members := startMembers(t, 3, transport.Listen)
	for _, m := range members {
		defer m.shutdown()
	}
	members[0].await(t, "alive n2", "alive n3")
	var conns []net.Conn
	for range 4 {
		for _, b := range hostileExchanges(t) {
			conn, err := members[1].net.dial(members[0].Addr(), kindStream, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			_, _ = conn.Write(b) // it may be cut off at any moment
		}
	}
	for _, c := range conns {
		c.Close()
	}
	members[2].shutdown()
	members[0].await(t, "dead n3")
	members[1].await(t, "dead n3")
}
