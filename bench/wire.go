package bench

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

const (
	wireQuestion = 32      // bytes of a question: how much to answer, and padding
	wireChunk    = 1 << 20 // bytes that the answering rank writes at once
	wireByte     = 0x5a    // what answers are made of
	wireHeld     = 8
)

// wire is a bare TCP connection between the processes of ranks 0 and 1: the limit that the machine and
// Go's net package set to everything that a node can do. Rank 0 asks, a goroutine of rank 1 answers. A question
// says how many bytes the answer has, and how long it is to wait for; of the latter an answer of wireHeld bytes
// says how long it was.
type wire struct {
	conn     net.Conn // at rank 0
	ln       net.Listener
	question [wireQuestion]byte
	buf      []byte
}

// openWire connects ranks 0 and 1. All ranks call it, and close what it returns.
func openWire(ctx context.Context, r *Rank) *wire {
	w := &wire{buf: make([]byte, wireChunk)}
	where := r.homedAt(ctx, "wire", 1, 1)
	if r.Rank == 1 {
		w.listen(r.Space.Addr(), where)
	}
	check(r.Barrier(ctx))
	if r.Rank == 0 {
		w.dial(ctx, where)
	}
	return w
}

// listen answers on another port of this node's host, whose address it publishes.
func (w *wire) listen(nodeAddr string, where *dsm.Region) {
	host, _, err := net.SplitHostPort(nodeAddr)
	check(err)
	w.ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	check(err)
	go serveWire(w.ln)
	publish(where, w.ln.Addr().String())
}

// publish leaves a short text for lookUp.
func publish(where *dsm.Region, text string) {
	_, err := where.WriteAt(append([]byte{byte(len(text))}, text...), 0)
	check(err)
}

// lookUp returns what publish left.
func lookUp(where *dsm.Region) string {
	var b [256]byte
	_, err := where.ReadAt(b[:], 0)
	check(err)
	return string(b[1:][:b[0]])
}

// serveWire answers one connection until it ends.
func serveWire(ln net.Listener) {
	conn, err := ln.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	chunk := make([]byte, wireChunk)
	for i := range chunk {
		chunk[i] = wireByte
	}
	var question [wireQuestion]byte
	for {
		if _, err := io.ReadFull(conn, question[:]); err != nil {
			return
		}
		if hold := time.Duration(binary.BigEndian.Uint64(question[8:])); hold > 0 {
			binary.BigEndian.PutUint64(question[:], uint64(sleep(hold)))
			if _, err := conn.Write(question[:wireHeld]); err != nil {
				return
			}
			continue
		}
		for n := binary.BigEndian.Uint64(question[:]); n > 0; {
			part := min(n, wireChunk)
			if _, err := conn.Write(chunk[:part]); err != nil {
				return
			}
			n -= part
		}
	}
}

func (w *wire) dial(ctx context.Context, where *dsm.Region) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", lookUp(where))
	check(err)
	w.conn = conn
}

// fetch asks for n bytes and reads them.
func (w *wire) fetch(n int) {
	binary.BigEndian.PutUint64(w.question[:], uint64(n))
	_, err := w.conn.Write(w.question[:])
	check(err)
	for n > 0 {
		part := w.buf[:min(n, wireChunk)]
		_, err := io.ReadFull(w.conn, part)
		check(err)
		if part[0] != wireByte || part[len(part)-1] != wireByte {
			check(fmt.Errorf("the bare connection brought %#x and %#x, want %#x", part[0], part[len(part)-1], wireByte))
		}
		n -= len(part)
	}
}

// handoffs measures n times how long a message takes, in either direction, if both sides rest after each.
func (w *wire) handoffs(n int, rest time.Duration) (s samples) {
	var b [wireQuestion]byte
	for range n {
		binary.BigEndian.PutUint64(b[8:], uint64(rest))
		sleep(rest)
		start := time.Now()
		_, err := w.conn.Write(b[:])
		check(err)
		_, err = io.ReadFull(w.conn, b[:wireHeld])
		check(err)
		s.add((time.Since(start) - time.Duration(binary.BigEndian.Uint64(b[:]))) / 2)
	}
	return s
}

// sleep returns how long it was.
func sleep(d time.Duration) time.Duration {
	start := time.Now()
	time.Sleep(d)
	return time.Since(start)
}

// pair sends a small message and waits for another one: a round trip, or a request and a grant.
func (w *wire) pair() { w.fetch(wireQuestion) }

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
	}
	if w.ln != nil {
		w.ln.Close()
	}
}

// homedAt returns a region of that many pages that are all homed at the node of one rank.
func (r *Rank) homedAt(ctx context.Context, name string, pages, rank int) *dsm.Region {
	opt := dsm.RegionOptions{Size: uint64(pages * r.pageSize()), PageSize: r.pageSize()}
	for _, m := range r.Space.Members() {
		if m.Rank == rank {
			opt.Placement.Nodes = []pagetable.NodeID{m.Node}
		}
	}
	region, err := r.Space.Region(ctx, r.name+"/"+name, opt)
	check(err)
	return region
}

func (r *Rank) pageSize() int { return cmp.Or(r.Spec.PageSize, pagetable.DefaultPageSize) }
