package bench

import (
	"context"
	"fmt"
	"io"
	"net"
)

// meeting lets all ranks wait for each other over bare TCP connections to rank 0: the limit that the machine and Go's
// net package set to a barrier.
type meeting struct {
	conns []net.Conn // at rank 0 to each of the others, else to rank 0
	first bool       // this is rank 0
	word  [wireQuestion]byte
}

// openMeeting connects the ranks. All ranks call it, and close what it returns.
func openMeeting(ctx context.Context, r *Rank) *meeting {
	m := &meeting{first: r.Rank == 0}
	where := r.homedAt(ctx, "meeting", 1, 0)
	if !m.first {
		check(r.Barrier(ctx))
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", lookUp(where))
		check(err)
		m.conns = []net.Conn{conn}
		return m
	}
	host, _, err := net.SplitHostPort(r.Space.Addr())
	check(err)
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	check(err)
	defer ln.Close()
	publish(where, ln.Addr().String())
	check(r.Barrier(ctx))
	for len(m.conns) < r.Ranks-1 {
		conn, err := ln.Accept()
		check(err)
		m.conns = append(m.conns, conn)
	}
	return m
}

// wait returns when all ranks have called it.
func (m *meeting) wait() {
	if m.first {
		m.each(m.hear)
		m.each(m.tell)
		return
	}
	m.each(m.tell)
	m.each(m.hear)
}

func (m *meeting) each(f func(net.Conn) error) {
	for _, conn := range m.conns {
		if err := f(conn); err != nil {
			check(fmt.Errorf("a bare connection: %w", err))
		}
	}
}

func (m *meeting) tell(conn net.Conn) error {
	_, err := conn.Write(m.word[:])
	return err
}

func (m *meeting) hear(conn net.Conn) error {
	_, err := io.ReadFull(conn, m.word[:])
	return err
}

func (m *meeting) close() {
	for _, conn := range m.conns {
		conn.Close()
	}
}
