package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"pagemesh/dsm"
)

// TestKilledHolders kills processes that hold, keep or wait for a mutex, in every way and again and again, while
// others want it. The history of all possessions is checked: tokens grow, nobody has the mutex while
// another has it, somebody gets it soon, and ErrOwnerDied comes when it is due and at no other time.
// PAGEMESH_LONG=1 makes it 200 rounds.
func TestKilledHolders(t *testing.T) {
	rounds := len(scenarios) * len(deaths) // each in each way
	if os.Getenv("PAGEMESH_LONG") != "" {
		rounds = 200
	}
	seed := uint64(1)
	if s := os.Getenv("PAGEMESH_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d", seed)
	f := newFleet(t, rand.New(rand.NewPCG(seed, 0)))
	var took []time.Duration
	for i := range rounds {
		r := f.round(i)
		r.play()
		if t.Failed() {
			t.Fatalf("in round %d of %d: %v", i, rounds, r)
		}
		took = append(took, r.took)
	}
	slices.Sort(took)
	t.Logf("%d deaths, %d possessions; the next holder had the mutex after %v, at most %v", rounds, f.h.check(t),
		took[len(took)/2].Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond))
}

// fleet is a space of which this test is a member and always stays. The others are killed.
type fleet struct {
	t        *testing.T
	u        *user
	h        *lockHistory
	rng      *rand.Rand
	s        *dsm.Space
	own      map[string]*dsm.Mutex // of the test itself
	embedded [2]*lockUser
	attached *lockUser // nil if memory can't be mapped here
	born     int
}

func newFleet(t *testing.T, rng *rand.Rand) *fleet {
	s, err := dsm.Open(t.Context(), dsm.Config{Cluster: "c"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f := &fleet{t: t, u: newUser(t), h: newLockHistory(), rng: rng, s: s, own: map[string]*dsm.Mutex{}}
	for i := range f.embedded {
		f.embedded[i] = f.member()
	}
	if dsm.CanMap() == nil {
		f.attached = f.program(nil)
	}
	for _, name := range mutexes { // whose homes are spread over all, and some are lost with them
		f.own[name] = s.Mutex(name)
		if p := f.lock(name); p.died {
			t.Errorf("ErrOwnerDied with %s before anybody died", name)
		} else {
			f.unlock(name, p)
		}
	}
	return f
}

// mutexes are those that are used.
var mutexes = []string{"marker", "m1", "m2", "m3", "m4"}

// member starts a program that is a node.
func (f *fleet) member() *lockUser {
	cfg := dsm.Config{Cluster: "c", Seeds: []string{f.s.Addr()}}
	return f.start(cfg, nil)
}

// program starts one that is attached to a node, to a new one if node is nil.
func (f *fleet) program(node *servingNode) *lockUser {
	if node == nil {
		socket := filepath.Join(f.u.tmp, fmt.Sprintf("node%d", f.born))
		p, _ := f.u.node("--cluster", "c", "--seed", f.s.Addr(), "--socket", socket)
		node = &servingNode{p, socket}
	}
	return f.start(dsm.Config{Attach: node.socket}, node)
}

// servingNode is a node to which a program is attached.
type servingNode struct {
	*process
	socket string
}

func (f *fleet) start(cfg dsm.Config, node *servingNode) *lockUser {
	f.born++
	cmd := exec.Command(memberFile, "lock")
	cmd.Env = append(f.u.env, cfg.Environ()...)
	return newLockUser(f.h, fmt.Sprintf("p%d", f.born), f.u.follow(cmd), node)
}

// death says what is killed.
type death string

const (
	ofMember  death = "a node with its program in it"
	ofProgram death = "a program, not its node"
	ofNode    death = "the node of a program"
	ofBoth    death = "a node and its program"
)

var deaths = []death{ofMember, ofProgram, ofNode, ofBoth}

// round is one death.
type round struct {
	*fleet
	scenario      scenario
	death         death
	mutex, marker string
	victim, other *lockUser
	killed        time.Time
	took          time.Duration // until the next holder had it
}

func (r *round) String() string {
	return fmt.Sprintf("%s dies (%v), which %s %s", r.victim.name, r.death, r.scenario.name, r.mutex)
}

// round prepares the i-th death.
func (f *fleet) round(i int) *round {
	r := &round{
		fleet: f, scenario: scenarios[i%len(scenarios)], death: deaths[i/len(scenarios)%len(deaths)],
		mutex: mutexes[1+f.rng.IntN(len(mutexes)-1)], marker: mutexes[0],
	}
	first := f.rng.IntN(2)
	r.victim, r.other = f.embedded[first], f.embedded[1-first]
	if f.attached == nil {
		r.death = ofMember
	}
	if r.death != ofMember {
		r.victim = f.attached
	}
	return r
}

// play has the victim do what the scenario says and die, and another take its place.
func (r *round) play() {
	r.scenario.play(r)
	switch r.death {
	case ofMember:
		r.embedded[slices.Index(r.embedded[:], r.victim)] = r.member()
	case ofProgram:
		r.attached = r.program(r.victim.node)
	default:
		r.attached = r.program(nil)
	}
}

// kill kills the victim and waits until it is dead. What it has said until then is in the history.
func (r *round) kill() {
	r.killed = time.Now()
	if r.death == ofNode || r.death == ofBoth {
		r.victim.node.signal(os.Kill)
	}
	if r.death != ofNode {
		r.victim.p.signal(os.Kill)
	}
	<-r.victim.read
	r.h.died(r.victim.name, r.killed)
}

// node reports whether a node dies.
func (r *round) node() bool { return r.death != ofProgram }

// since returns how long after the death a possession has begun.
func (r *round) since(p *possession) time.Duration { return time.Unix(0, p.from).Sub(r.killed) }

// lock locks a mutex for the test itself and returns the possession.
func (f *fleet) lock(name string) *possession {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	token, err := f.own[name].Lock(ctx)
	died := errors.Is(err, dsm.ErrOwnerDied)
	if err != nil && !died {
		f.t.Fatalf("%s is lost: %v", name, err)
	}
	return f.h.begin(name, &possession{who: "test", token: token, died: died, from: time.Now().UnixNano()})
}

func (f *fleet) unlock(name string, p *possession) {
	f.h.end(p, time.Now().UnixNano())
	if err := f.own[name].Unlock(); err != nil {
		f.t.Error(err)
	}
}

// next checks that somebody who has got the mutex after the death has heard of it or not, and that nobody does
// after that.
func (r *round) next(p *possession, due bool) {
	r.t.Helper()
	r.took = r.since(p)
	if p.died != due {
		r.t.Errorf("ErrOwnerDied to the next holder: %v, want %v", p.died, due)
	}
	r.after()
}

// after has the other unlock the mutex and checks that the test, which gets it then, hears of no death.
func (r *round) after() {
	r.t.Helper()
	r.other.unlock(r.mutex)
	own := r.lock(r.mutex)
	if own.died {
		r.t.Error("ErrOwnerDied to the one after the next holder")
	}
	r.unlock(r.mutex, own)
}

// scenario is what a victim does before it dies.
type scenario struct {
	name string // of what it does with the mutex
	play func(r *round)
}

var scenarios = []scenario{
	{"holds", func(r *round) {
		r.victim.lock(r.mutex)
		r.kill()
		r.next(r.other.lock(r.mutex), true)
	}},
	{"holds, while another waits for,", func(r *round) {
		r.victim.lock(r.mutex)
		r.other.ask(r.mutex)
		r.awaitWaiting(r.other)
		r.kill()
		r.next(r.other.got(r.mutex), true)
	}},
	{"gets, while another waits for,", func(r *round) {
		own := r.lock(r.mutex)
		r.victim.ask(r.mutex)
		r.awaitWaiting(r.victim)
		r.other.ask(r.mutex)
		r.awaitWaiting(r.other)
		r.unlock(r.mutex, own)
		r.victim.got(r.mutex)
		r.kill()
		r.next(r.other.got(r.mutex), true)
	}},
	{"holds for the third time", func(r *round) {
		for range 2 {
			r.victim.lock(r.mutex)
			r.victim.unlock(r.mutex)
		}
		r.victim.lock(r.mutex)
		r.kill()
		r.next(r.other.lock(r.mutex), true)
	}},
	// Of a node that is lost, nobody knows whether it had unlocked what it keeps.
	{"keeps", func(r *round) {
		r.victim.lock(r.mutex)
		r.victim.unlock(r.mutex)
		r.kill()
		r.next(r.other.lock(r.mutex), r.node())
	}},
	// When the test has the other mutex, those who stay know of the death.
	{"waits for", func(r *round) {
		r.victim.lock(r.marker)
		r.other.lock(r.mutex)
		r.victim.ask(r.mutex)
		r.awaitWaiting(r.victim)
		r.kill()
		own := r.lock(r.marker)
		if r.took = r.since(own); !own.died {
			r.t.Error("no ErrOwnerDied with the other mutex")
		}
		r.unlock(r.marker, own)
		r.after()
	}},
	{"often locks", storm},
}

// awaitWaiting waits until the home of the mutex knows that somebody waits for it.
func (r *round) awaitWaiting(u *lockUser) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%s waits for %s", u.name, r.mutex), func() bool {
		list, err := r.s.Locks(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		return slices.ContainsFunc(list, func(l dsm.LockStatus) bool {
			return l.Name == r.mutex && slices.Contains(l.Waiting, u.id)
		})
	})
}

// storm has all lock the mutex as fast as they can, and kills one at any moment. What it was doing then is only
// known if it had said that it has the mutex, and not that it unlocks it.
func storm(r *round) {
	users := []*lockUser{r.embedded[0], r.embedded[1], r.attached}
	users = slices.DeleteFunc(users, func(u *lockUser) bool { return u == nil })
	before := r.h.last(r.mutex)
	for _, u := range users {
		u.storm(r.mutex)
	}
	victims, _ := r.h.by(r.victim.name, r.mutex)
	r.h.await(r.t, r.victim.name, r.mutex, len(victims)+1+r.rng.IntN(20))
	r.kill()
	users = slices.DeleteFunc(users, func(u *lockUser) bool { return u == r.victim })
	for _, u := range users {
		list, _ := r.h.by(u.name, r.mutex)
		r.h.await(r.t, u.name, r.mutex, len(list)+2) // of which one may have been under way
		u.calm(r.mutex)
	}
	own := r.lock(r.mutex)
	r.unlock(r.mutex, own)
	r.stormed(before)
}

// stormed checks the possessions since a token.
func (r *round) stormed(before uint64) {
	var told []*possession
	held := false
	for _, p := range r.h.since(r.mutex, before) {
		switch {
		case p.died:
			told = append(told, p)
			r.took = r.since(p)
		case held:
			r.t.Errorf("no ErrOwnerDied to %v", p)
		}
		held = p.who == r.victim.name && p.cut
	}
	if len(told) > 1 {
		r.t.Errorf("ErrOwnerDied to %d holders: %v", len(told), told)
	}
}
