package locks

import (
	"hash/fnv"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// alone returns the machine of a space of one node.
func alone() *Machine {
	return New(1, View{Epoch: 1, Members: []pagetable.NodeID{1}, Home: func(ID) pagetable.NodeID { return 1 }})
}

func TestUnlockNeedsTheHolder(t *testing.T) {
	m, r := alone(), &Ready{}
	if m.Unlock(MutexID("m"), 1, r) {
		t.Error("a mutex that nobody knows was unlocked")
	}
	m.Lock("m", 1, r)
	m.Lock("m", 2, r)
	if m.Unlock(MutexID("m"), 2, r) {
		t.Error("a waiter has unlocked")
	}
	if m.CancelLock(MutexID("m"), 1) {
		t.Error("the holder was canceled")
	}
	if !m.Unlock(MutexID("m"), 1, r) || m.Unlock(MutexID("m"), 1, r) {
		t.Error("want the holder to unlock once")
	}
	if !m.Unlock(MutexID("m"), 2, r) || m.CancelLock(MutexID("m"), 2) || m.CancelLock(MutexID("other"), 2) {
		t.Error("w2 has not had its turn")
	}
	if len(r.Wake) != 2 || r.Wake[0].Token >= r.Wake[1].Token || len(r.Send) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestIdle(t *testing.T) {
	m, r := alone(), &Ready{}
	for _, step := range []struct {
		what string
		do   func()
		idle bool
	}{
		{"nothing", func() {}, true},
		{"a mutex is held", func() { m.Lock("m", 1, r) }, false},
		{"it is cached", func() { m.Unlock(MutexID("m"), 1, r) }, true},
		{"somebody waits at a barrier", func() { m.Wait("b", 2, 2, r) }, false},
		{"the phase is complete", func() { m.Wait("b", 2, 3, r) }, true},
		{"a wait begins", func() { m.Wait("b", 2, 4, r) }, false},
		{"it is canceled", func() { m.CancelWait(BarrierID("b"), 2, 4, r) }, true},
		{"one that is over is canceled", func() { m.CancelWait(BarrierID("b"), 2, 4, r) }, true},
		{"permits are taken", func() { m.Take("s", 2, 2, 5, r) }, false},
		{"one is put back", func() { m.Put("s", 2, 1, r) }, false},
		{"both are", func() { m.Put("s", 2, 1, r) }, true},
		{"one that never was is canceled", func() { m.CancelWait(BarrierID("c"), 2, 4, r) }, true},
	} {
		if step.do(); m.Idle() != step.idle {
			t.Errorf("%s: Idle() = %v", step.what, m.Idle())
		}
	}
}

func TestOlderEpochIsRefused(t *testing.T) {
	m, r := alone(), &Ready{}
	m.NewEpoch(View{Epoch: 7, Members: []pagetable.NodeID{1}, Home: func(ID) pagetable.NodeID { return 1 }}, r)
	m.Step(2, Message{Kind: Grant, Epoch: 6}, r)
	if m.Refused() != 1 || len(r.Wake)+len(r.Send) != 0 {
		t.Errorf("refused %d, %+v", m.Refused(), r)
	}
}

func TestTokensGrow(t *testing.T) {
	for _, c := range []struct {
		epoch      uint64
		last, want Token
	}{
		{1, 0, 1<<countBits + 1},
		{2, 1<<countBits + 5, 2<<countBits + 6},
		{2, 2<<countBits + 5, 2<<countBits + 6},
		// A counter that has overflowed into the epoch, of which the home knows.
		{2, 3<<countBits + 1, 3<<countBits + 2},
		{MaxEpoch, 5, MaxEpoch<<countBits + 6},
	} {
		if got := grantToken(c.epoch, c.last); got != c.want || got <= c.last {
			t.Errorf("grantToken(%d, %v) = %v, want %v", c.epoch, c.last, got, c.want)
		}
	}
}

func TestNamesAndParties(t *testing.T) {
	for name, ok := range map[string]bool{
		"": false, "a": true, "ü 世": true, strings.Repeat("x", MaxName): true, strings.Repeat("x", MaxName+1): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for parties, ok := range map[int]bool{-1: false, 0: false, 1: true, MaxParties: true, MaxParties + 1: false} {
		if err := CheckParties(parties); (err == nil) != ok {
			t.Errorf("CheckParties(%d) = %v", parties, err)
		}
	}
	for permits, ok := range map[int]bool{-1: false, 0: false, 1: true, MaxPermits: true, MaxPermits + 1: false} {
		if err := CheckPermits(permits); (err == nil) != ok {
			t.Errorf("CheckPermits(%d) = %v", permits, err)
		}
	}
	if PoolID("a", 1) != PoolID("a", 2) || PoolID("a", 1) == PoolID("a", Everything) {
		t.Error("want one id for semaphores of one name, and another one for the read/write mutex")
	}
	if MutexID("a") == BarrierID("a") || MutexID("a") == MutexID("b") {
		t.Error("two locks have one id")
	}
	// The ids are part of the protocol.
	h := fnv.New64a()
	h.Write([]byte("ma"))
	if id := MutexID("a"); uint64(id) != h.Sum64() || len(id.String()) != 16 {
		t.Errorf("id %v, want %x", id, h.Sum64())
	}
}

// TestImpossibleMessages: the machine stops at what no machine sends, with all it knows about it.
func TestImpossibleMessages(t *testing.T) {
	view := View{Epoch: 1, Members: []pagetable.NodeID{1, 2}, Home: func(ID) pagetable.NodeID { return 1 }}
	m, b, p := MutexID("m"), BarrierID("b"), PoolID("p", 2)
	for _, c := range []struct {
		name  string
		setUp func(*Machine, *Ready)
		msg   Message
	}{
		{"a grant that nobody asked for", nil, Message{Kind: Grant, ID: m, Token: 1}},
		{"a second grant", func(x *Machine, r *Ready) { x.Lock("m", 1, r) }, Message{Kind: Pass, ID: m, Token: 9}},
		{"a release that nobody waits for", nil, Message{Kind: Release, ID: b, Parties: 2, Phase: 1, Count: 1}},
		{"a release of too many", func(x *Machine, r *Ready) { x.Wait("b", 2, 1, r) },
			Message{Kind: Release, ID: b, Parties: 2, Phase: 1, Count: 2}},
		{"a return of what is not there", nil, Message{Kind: Return, ID: m, Token: 1}},
		{"an acquire by the one who has it", func(x *Machine, r *Ready) {
			x.Step(2, Message{Kind: Acquire, Epoch: 1, ID: m, Name: "m"}, r)
		}, Message{Kind: Acquire, ID: m, Name: "m"}},
		{"a report in mid-epoch", nil, Message{Kind: ReportMutex, ID: m, Name: "m", Status: Held}},
		{"an end of reports in mid-epoch", nil, Message{Kind: ReportsDone}},
		{"a later epoch", nil, Message{Kind: ReportsDone, Epoch: 2}},
		{"permits that nobody asked for", nil, Message{Kind: Give, ID: p, Size: 2, Waiter: 1, Count: 1}},
		{"a recall of what nobody has", nil, Message{Kind: Recall, ID: p, Size: 2}},
		{"permits back that nobody had", nil, Message{Kind: PutBack, ID: p, Size: 2, Count: 1}},
		{"more permits back than it had", func(x *Machine, r *Ready) {
			x.Step(2, Message{Kind: Take, Epoch: 1, ID: p, Name: "p", Size: 2, Waiter: 1, Count: 1}, r)
		}, Message{Kind: PutBack, ID: p, Size: 2, Count: 2}},
		{"a drop in a pool that is none", nil, Message{Kind: Drop, ID: p, Size: 2, Waiter: 1}},
		{"another lock with that id", func(x *Machine, r *Ready) { x.Lock("m", 1, r) },
			Message{Kind: Acquire, ID: m, Name: "n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, r := New(1, view), &Ready{}
			if c.setUp != nil {
				c.setUp(x, r)
			}
			c.msg.Epoch = max(c.msg.Epoch, 1)
			defer func() {
				if p := recover(); p == nil {
					t.Errorf("%v was taken", c.msg)
				}
			}()
			x.Step(2, c.msg, r)
		})
	}
}

func TestPutNeedsATake(t *testing.T) {
	m, r := alone(), &Ready{}
	if m.Put("s", 3, 1, r) || m.CancelTake("s", 3, 1, r) {
		t.Error("there was something to put back in a pool that nobody knows")
	}
	m.Take("s", 3, 2, 1, r)
	m.Take("s", 3, 2, 2, r)
	if m.Put("s", 3, 3, r) || m.Put("s", 4, 1, r) || m.CancelTake("s", 3, 1, r) {
		t.Error("more was put back than is taken, or one who has permits was canceled")
	}
	if !m.CancelTake("s", 3, 2, r) || m.CancelTake("s", 3, 2, r) || !m.Put("s", 3, 2, r) || m.Put("s", 3, 1, r) {
		t.Error("want w2 to be canceled once, and w1's permits to come back once")
	}
	if len(r.Wake) != 1 || len(r.Send) != 0 {
		t.Errorf("%+v", r)
	}
}
