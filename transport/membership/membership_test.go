package membership

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pagemesh/pagetable"
	"pagemesh/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is an endpoint that gossips, and what it was told.
type member struct {
	transport.Endpoint
	*Membership
	ready  chan struct{} // closed when Membership is set
	events chan string   // "alive n2", "suspect n2", "dead n2"
}

func (m *member) Packet(*transport.Outbox, pagetable.NodeID, []byte, []byte) {}
func (m *member) Up(transport.Identity, string)                              {}
func (m *member) Down(pagetable.NodeID, error)                               {}

func (m *member) Stream(_ transport.Purpose, conn net.Conn) {
	<-m.ready
	m.HandleStream(conn)
}

// startMembers starts n members n1, n2, … and has all of them join the first.
func startMembers(t *testing.T, n int, listen func(transport.Config) (transport.Endpoint, error)) []*member {
	t.Helper()
	var members []*member
	for i := range n {
		m := &member{ready: make(chan struct{}), events: make(chan string, 1000)}
		ep, err := listen(transport.Config{Cluster: "gossip", Handler: m})
		if err != nil {
			t.Fatal(err)
		}
		tell := func(what string) func(string) { return func(name string) { m.events <- what + " " + name } }
		m.Endpoint = ep
		m.Membership, err = Start(Config{
			Name: fmt.Sprintf("n%d", i+1), Endpoint: ep,
			OnAlive: tell("alive"), OnSuspect: tell("suspect"), OnDead: tell("dead"),
		})
		if err != nil {
			t.Fatal(err)
		}
		close(m.ready)
		members = append(members, m)
		if err := m.Join([]string{members[0].Addr()}); err != nil {
			t.Fatal(err)
		}
	}
	return members
}

func (m *member) shutdown() {
	m.Stop()
	m.Close()
}

// await waits until the member was told each of the given events.
func (m *member) await(t *testing.T, want ...string) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for len(want) > 0 {
		select {
		case e := <-m.events:
			want = slices.DeleteFunc(want, func(w string) bool { return w == e })
		case <-deadline:
			t.Fatalf("never told: %s", strings.Join(want, ", "))
		}
	}
}

// awaitAll waits until every member has heard of every other.
func awaitAll(t *testing.T, members []*member) {
	t.Helper()
	for i, m := range members {
		var want []string
		for j := range members {
			if i != j {
				want = append(want, fmt.Sprintf("alive n%d", j+1))
			}
		}
		m.await(t, want...)
	}
}

func TestCrashIsReported(t *testing.T) {
	members := startMembers(t, 3, transport.Listen)
	awaitAll(t, members)
	start := time.Now()
	members[2].shutdown()
	members[0].await(t, "suspect n3", "dead n3")
	members[1].await(t, "dead n3")
	t.Logf("reported dead after %v", time.Since(start))
	members[0].shutdown()
	members[1].shutdown()
}

// settle is how long, in virtual time, memberlist's last probe lives on after Stop.
const settle = 5 * time.Second

// TestDetectionTime measures in virtual time, so that the figures don't depend on the machine.
func TestDetectionTime(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := transport.NewMemoryNetwork(1, transport.Faults{MaxDelay: 2 * time.Millisecond})
				start := time.Now()
				members := startMembers(t, n, network.Listen)
				awaitAll(t, members)
				t.Logf("%d members knew each other after %v", n, time.Since(start))
				time.Sleep(time.Second)

				start = time.Now()
				network.Crash(members[0].Addr())
				members[0].shutdown()
				for _, m := range members[1:] {
					m.await(t, "dead n1")
				}
				took := time.Since(start)
				t.Logf("%d members noticed a crash after %v", n, took)
				if took > 4*time.Second {
					t.Errorf("a crash was noticed only after %v", took)
				}
				for _, m := range members[1:] {
					m.shutdown()
				}
				time.Sleep(settle)
			})
		})
	}
}

func TestNoCallbackAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := transport.NewMemoryNetwork(1, transport.Faults{})
		members := startMembers(t, 3, network.Listen)
		awaitAll(t, members)
		network.Crash(members[2].Addr())
		members[2].shutdown()
		members[0].await(t, "suspect n3")
		members[0].shutdown()
		told := len(members[0].events)
		members[1].await(t, "dead n3", "dead n1")
		if now := len(members[0].events); now != told {
			t.Errorf("%d callbacks after Stop", now-told)
		}
		members[1].shutdown()
		time.Sleep(settle)
	})
}

func TestStartErrors(t *testing.T) {
	m := &member{}
	ep, err := transport.Listen(transport.Config{Handler: m})
	if err != nil {
		t.Fatal(err)
	}
	defer ep.Close()
	for _, c := range []Config{
		{},
		{Name: "n1"},
		{Name: "n1", Endpoint: ep, Advertise: "nowhere"},
		{Name: "n1", Endpoint: ep, Advertise: "0.0.0.0:7000"},
	} {
		if _, err := Start(c); err == nil {
			t.Errorf("Start(%+v) did not fail", c)
		}
	}
}

func TestJoinNobody(t *testing.T) {
	members := startMembers(t, 2, transport.Listen)
	gone := members[1].Addr()
	members[1].shutdown()
	if err := members[0].Join([]string{gone}); err == nil || !strings.Contains(err.Error(), gone) {
		t.Errorf("joining a member that is gone: %v", err)
	}
	if err := members[0].Join([]string{"nowhere"}); err == nil {
		t.Error("joined an address without a port")
	}
	members[0].shutdown()
}

func FuzzReadPacket(f *testing.F) {
	f.Add([]byte{0, 1, 'x'})
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readPacket(bytes.NewReader(b))
		if err == nil && (len(p) == 0 || !bytes.HasPrefix(b[2:], p)) {
			t.Errorf("read %x from %x", p, b)
		}
	})
}
