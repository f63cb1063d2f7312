package main

import (
	"fmt"
	"time"

	"pagemesh/pagetable"
)

// lockUser is a process that locks mutexes as it is told (testdata/member/locker.go).
type lockUser struct {
	h     *lockHistory
	name  string // in the history
	id    pagetable.NodeID
	p     *process
	node  *servingNode   // that it is attached to; nil if it is a node itself
	asked map[string]int // how often it was told to lock a mutex
	done  chan struct{}  // receives when it has unlocked, or is calm
	read  chan struct{}  // closed when all is read that it has said
}

func newLockUser(h *lockHistory, name string, p *process, node *servingNode) *lockUser {
	u := &lockUser{
		h: h, name: name, p: p, node: node, asked: map[string]int{},
		done: make(chan struct{}, 1), read: make(chan struct{}),
	}
	if _, err := fmt.Sscanf(p.next(), "ready n%d", &u.id); err != nil {
		p.t.Fatal(err)
	}
	go u.follow()
	return u
}

// follow notes in the history what the process says.
func (u *lockUser) follow() {
	defer close(u.read)
	open := map[string]*possession{}
	for line := range u.p.lines {
		var what, mutex, how string
		var token uint64
		var at int64
		_, _ = fmt.Sscan(line, &what, &mutex, &token, &at, &how)
		switch what {
		case "got":
			open[mutex] = u.h.begin(mutex, &possession{who: u.name, token: token, died: how != "", from: at})
		case "end":
			u.h.end(open[mutex], at)
		case "done":
			u.done <- struct{}{}
		}
	}
}

// say tells the process what to do.
func (u *lockUser) say(task string) {
	u.p.t.Helper()
	if _, err := fmt.Fprintln(u.p.stdin, task); err != nil {
		u.p.t.Fatalf("%s: %v\n%s", u.name, err, u.p.stderr)
	}
}

// ask has it begin to wait for a mutex.
func (u *lockUser) ask(mutex string) {
	u.asked[mutex]++
	u.say("lock " + mutex)
}

// got waits until it has the mutex that it has asked for.
func (u *lockUser) got(mutex string) *possession {
	u.p.t.Helper()
	return u.h.await(u.p.t, u.name, mutex, u.asked[mutex])
}

func (u *lockUser) lock(mutex string) *possession {
	u.p.t.Helper()
	u.ask(mutex)
	return u.got(mutex)
}

func (u *lockUser) unlock(mutex string) {
	u.p.t.Helper()
	u.say("unlock " + mutex)
	u.wait()
}

// storm has it lock and unlock a mutex again and again, and calm ends that.
func (u *lockUser) storm(mutex string) { u.say("storm " + mutex) }

func (u *lockUser) calm(mutex string) {
	u.p.t.Helper()
	u.say("calm")
	u.wait()
	list, _ := u.h.by(u.name, mutex)
	u.asked[mutex] = len(list)
}

func (u *lockUser) wait() {
	u.p.t.Helper()
	select {
	case <-u.done:
	case <-u.read:
		u.p.t.Fatalf("%s has ended:\n%s", u.name, u.p.stderr)
	case <-time.After(patience):
		u.p.t.Fatalf("%s: no answer for %v", u.name, patience)
	}
}
