package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"pagemesh/dsm"
)

// locker does what standard input says, line by line: "lock NAME", "unlock NAME", "storm NAME", which locks and
// unlocks again and again until "calm". It says so, with the time in nanoseconds,
//
//	got NAME TOKEN TIME owner-died     when it has locked a mutex; the last word may be missing
//	end NAME TOKEN TIME                before it unlocks
//	done                               when it has unlocked, or the storm is over
type locker struct {
	s       *dsm.Space
	mutexes map[string]*dsm.Mutex
	tokens  map[string]uint64 // of what is locked
	calm    chan struct{}     // closed when the storm has ended; nil if there is none
	stop    atomic.Bool
}

func lock(s *dsm.Space, _ []string) error {
	l := &locker{s: s, mutexes: map[string]*dsm.Mutex{}, tokens: map[string]uint64{}}
	fmt.Println("ready", s.Self())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		task, name, _ := strings.Cut(in.Text(), " ")
		if err := l.do(task, name); err != nil {
			return err
		}
	}
	return nil
}

func (l *locker) do(task, name string) error {
	switch task {
	case "lock":
		return l.lock(name)
	case "unlock":
		err := l.unlock(name)
		fmt.Println("done")
		return err
	case "storm":
		l.stop.Store(false)
		l.calm = make(chan struct{})
		go l.storm(name)
	case "calm":
		l.stop.Store(true)
		<-l.calm
		fmt.Println("done")
	}
	return nil
}

func (l *locker) lock(name string) error {
	if l.mutexes[name] == nil {
		l.mutexes[name] = l.s.Mutex(name)
	}
	token, err := l.mutexes[name].Lock(context.Background())
	died := ""
	if errors.Is(err, dsm.ErrOwnerDied) {
		died, err = "owner-died", nil
	}
	if err != nil {
		return err
	}
	l.tokens[name] = token
	fmt.Println("got", name, token, time.Now().UnixNano(), died)
	return nil
}

func (l *locker) unlock(name string) error {
	fmt.Println("end", name, l.tokens[name], time.Now().UnixNano())
	return l.mutexes[name].Unlock()
}

func (l *locker) storm(name string) {
	defer close(l.calm)
	for !l.stop.Load() {
		err := l.lock(name)
		if err == nil {
			err = l.unlock(name)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "storm:", err)
			return
		}
	}
}
