package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// stream is a connection for another purpose than packets. The endpoint knows it so that Close ends it.
type stream struct {
	net.Conn
	end func() error // closes Conn and forgets the stream, once
}

func (s *stream) Close() error { return s.end() }

// newStream registers a connection whose handshake is done and starts serve, if not nil, in a goroutine
// that Close waits for.
func (e *tcp) newStream(conn net.Conn, serve func(*stream)) (*stream, error) {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	s := &stream{Conn: conn}
	s.end = sync.OnceValue(func() error {
		e.mu.Lock()
		delete(e.streams, s)
		e.mu.Unlock()
		return conn.Close()
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	e.streams[s] = struct{}{}
	if serve != nil {
		e.wg.Go(func() { serve(s) })
	}
	return s, nil
}

// checkDial refuses purposes that are not a stream's.
func checkDial(p Purpose) error {
	if p != PurposeGossip && p != PurposeControl {
		return errors.New("only gossip and control connections are streams; peers are reached by Connect")
	}
	return nil
}

func (e *tcp) Dial(ctx context.Context, addr string, purpose Purpose) (net.Conn, error) {
	if err := checkDial(purpose); err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	conn, _, err := e.dial(ctx, addr, hello{purpose: purpose})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	s, err := e.newStream(conn, nil)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return s, nil
}
