package ipc

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

// signals is a Link that can only say that there is an item, and that it was taken.
type signals struct {
	dir, peer string
	other     *os.Process // nil until it is needed
	come      chan os.Signal
}

func listenSignal(dir string) (Link, error) { return newSignals(dir, "server", "client") }

func dialSignal(dir string) (Link, error) {
	server, err := os.ReadFile(filepath.Join(dir, "server"))
	if err == nil && string(server) == strconv.Itoa(os.Getpid()) {
		err = errors.New("both ends are in one process, which can't tell whom a signal is for")
	}
	if err != nil {
		return nil, err
	}
	return newSignals(dir, "client", "server")
}

func newSignals(dir, self, peer string) (Link, error) {
	s := &signals{dir: dir, peer: peer, come: make(chan os.Signal, 1)}
	signal.Notify(s.come, syscall.SIGUSR1)
	return s, os.WriteFile(filepath.Join(dir, self), []byte(strconv.Itoa(os.Getpid())), 0o600)
}

func (s *signals) Send([]byte) error {
	if err := s.notify(); err != nil {
		return err
	}
	<-s.come
	return nil
}

func (s *signals) Serve(n int, item []byte, f func(item []byte)) error {
	for range n {
		<-s.come
		f(item)
		if err := s.notify(); err != nil {
			return err
		}
	}
	return nil
}

// notify sends the other process a signal.
func (s *signals) notify() error {
	if s.other == nil {
		pid, err := os.ReadFile(filepath.Join(s.dir, s.peer))
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(pid))
		if err != nil {
			return err
		}
		if s.other, err = os.FindProcess(n); err != nil {
			return err
		}
	}
	return s.other.Signal(syscall.SIGUSR1)
}

func (s *signals) Close() error {
	signal.Stop(s.come)
	return nil
}
