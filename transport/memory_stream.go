package transport

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// memoryStream is one end of a stream in memory.
type memoryStream struct {
	net.Conn
	owner *memory
	ends  pair // addresses of both ends, unordered
	local memoryAddr
	far   memoryAddr
	once  sync.Once
}

// memoryAddr is an address on a MemoryNetwork.
type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

func (s *memoryStream) LocalAddr() net.Addr  { return s.local }
func (s *memoryStream) RemoteAddr() net.Addr { return s.far }

func (s *memoryStream) Close() error {
	s.once.Do(func() {
		n := s.owner.net
		n.mu.Lock()
		delete(n.streams, s)
		n.mu.Unlock()
		s.Conn.Close()
	})
	return nil
}

// streamsLocked returns the streams that which holds for.
func (n *MemoryNetwork) streamsLocked(which func(*memoryStream) bool) (found []*memoryStream) {
	for s := range n.streams {
		if which(s) {
			found = append(found, s)
		}
	}
	return found
}

func closeAll(streams []*memoryStream) {
	for _, s := range streams {
		s.Close()
	}
}

func (m *memory) Dial(ctx context.Context, addr string, purpose Purpose) (net.Conn, error) {
	if err := checkDial(purpose); err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	err := m.travel(ctx)
	if err == nil {
		var s net.Conn
		if s, err = m.open(addr, purpose); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("dial %s: %w", addr, err)
}

// open makes a stream to addr.
func (m *memory) open(addr string, purpose Purpose) (net.Conn, error) {
	n := m.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.gone {
		return nil, ErrClosed
	}
	other, err := m.reachLocked(addr, hello{purpose: purpose})
	if err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	ends := unordered(m.addr, addr)
	a := &memoryStream{Conn: here, owner: m, ends: ends, local: memoryAddr(m.addr), far: memoryAddr(addr)}
	b := &memoryStream{Conn: there, owner: other, ends: ends, local: a.far, far: a.local}
	n.streams[a], n.streams[b] = struct{}{}, struct{}{}
	other.wg.Go(func() { other.cfg.Handler.Stream(purpose, b) })
	return a, nil
}
