package dsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"

	"pagemesh/coherence"
	"pagemesh/locks"
	"pagemesh/pagetable"
)

// someQuestions are ordinary ones, to begin with.
func someQuestions() []question {
	data := []byte("name")
	region, err := RegionOptions{Size: 1 << 16}.region("another")
	if err != nil {
		panic(err)
	}
	return []question{
		{id: 1, kind: askAttach, arg: attachVersion, data: data},
		{id: 2, kind: askRegion, data: coherence.EncodeRegion(region)},
		{id: 3, kind: askTouch, region: 1, span: span{4096, 8192}, arg: uint64(pagetable.WriteAccess)},
		{id: 4, kind: askPin, region: 1, span: span{0, 8}, arg: uint64(pagetable.ReadAccess)},
		{kind: askUnpin, region: 1, span: span{0, 8}, arg: uint64(pagetable.ReadAccess)},
		{id: 5, kind: askLock, arg: 1, data: data},
		{id: 6, kind: askUnlock, arg: 1, data: data},
		{id: 14, kind: askTake, span: span{3, 2}, arg: 1, data: data},
		{id: 15, kind: askPut, span: span{3, 2}, arg: 1, data: data},
		{id: 7, kind: askWait, arg: 2, data: data},
		{kind: askCancel, arg: 7},
		{id: 8, kind: askInspect, arg: uint64(controlPages), data: []byte(`{"Page":-1}`)},
		{id: 9, kind: askHome, region: 1},
		{id: 10, kind: askDeclare, region: 1, data: data},
		{id: 11, kind: askEcho, span: span{n: 2}},
		{id: 12, kind: askEchoEnd},
		{id: 16, kind: askAdd, span: span{off: int64(locks.Count)}, arg: 1<<64 - 1, data: data},
		{id: 17, kind: askWatch, span: span{int64(locks.WaitGroup), 1}, data: data},
		{id: 18, kind: askCampaign, span: span{off: int64(locks.Once)}, arg: 7, data: data},
		{id: 19, kind: askResign, span: span{int64(locks.Once), 1}, arg: 7, data: data},
		{id: 20, kind: askObserve, span: span{off: int64(locks.Election)}, arg: 1<<64 - 1, data: data},
		{id: 21, kind: askEnlist, span: span{off: int64(locks.Cond)}, arg: 8, data: data},
		{id: 22, kind: askListen, arg: 8},
		{id: 23, kind: askSignal, span: span{int64(locks.Cond), 1}, data: data},
		{id: 13, kind: askCause, region: 1, span: span{off: 4096}},
	}
}

func FuzzQuestion(f *testing.F) {
	for _, q := range someQuestions() {
		f.Add(q.frame()[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeQuestion(b)
		if err != nil {
			return
		}
		again, err := decodeQuestion(q.frame()[4:])
		if err != nil || !reflect.DeepEqual(again, q) {
			t.Errorf("%+v is %+v when it was sent, %v", q, again, err)
		}
		if q.off < 0 || q.n < 0 || q.off+q.n < 0 {
			t.Errorf("bytes [%d, +%d)", q.off, q.n)
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, a := range []reply{{}, {id: 1, data: []byte("{}")}, {id: 2, code: 1, data: []byte("why")}, {id: 1 << 60, value: 1 << 63}} {
		f.Add(a.frame()[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeReply(b)
		if err != nil {
			return
		}
		if again, err := decodeReply(a.frame()[4:]); err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%+v is %+v when it was sent, %v", a, again, err)
		}
		if a.code > 0 { // what a program makes of it
			_ = errors.Is(&remoteError{text: string(a.data), code: a.code - 1}, ErrNodeLost)
		}
	})
}

// unixPair returns the two ends of a connection.
func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "end")
		conn, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		t.Cleanup(func() { conn.Close() })
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// FuzzFrames sends bytes in pieces and compares the frames with those that are in the bytes.
func FuzzFrames(f *testing.F) {
	var all []byte
	for _, q := range someQuestions() {
		all = append(all, q.frame()...)
	}
	f.Add(all, uint16(7))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0}, uint16(3))
	f.Add([]byte{0, 1, 0, 0, 1, 2, 3}, uint16(2))
	f.Add([]byte{255, 255, 255, 255}, uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		from, to := unixPair(t)
		go func() {
			defer from.Close()
			for rest := b; len(rest) > 0; {
				n, err := from.Write(rest[:min(len(rest), int(piece)+1)])
				if err != nil {
					return // too long a frame ends the connection
				}
				rest = rest[n:]
			}
		}()
		c := newAttachConn(to, maxQuestion)
		rest := b
		for {
			frame, err := c.next()
			want, left, ok := cutFrame(rest)
			if (err == nil) != ok || ok && !bytes.Equal(frame, want) {
				t.Fatalf("with %d bytes left: frame %x, %v, want %x, %v", len(rest), frame, err, want, ok)
			}
			if len(c.buf) > 4<<10+2*len(b) {
				t.Fatalf("%d bytes take a buffer of %d", len(b), len(c.buf))
			}
			if err != nil {
				return
			}
			rest = left
		}
	})
}

// cutFrame returns the first frame of b, if there is a whole one.
func cutFrame(b []byte) (frame, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > maxQuestion || n > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// FuzzHostileProgram has a program send anything once it is attached. The node must not mind, nor keep
// anything of it.
func FuzzHostileProgram(f *testing.F) {
	node, socket, decent := served(f)
	if _, err := node.Region(f.Context(), "r", RegionOptions{Size: 1 << 16}); err != nil {
		f.Fatal(err)
	}
	var all []byte
	for _, q := range someQuestions()[1:] {
		f.Add(q.frame())
		all = append(all, q.frame()...)
	}
	f.Add(all)
	v := serverOf(node)
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest, ok := b, true; ok; {
			var frame []byte
			if frame, rest, ok = cutFrame(rest); ok {
				if q, err := decodeQuestion(frame); err == nil && q.kind == askLeave {
					t.Skip("a program may end its node")
				}
			}
		}
		s := meet(t, socket)
		s.attach()
		s.say(b)
		if err := s.conn.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, s.conn); os.IsTimeout(err) {
			t.Error("the node keeps the connection")
		}
		checkServed(t, decent)
		for deadline := time.Now().Add(strangerPatience); connections(v) > 1; time.Sleep(10 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("the node keeps the program")
			}
		}
	})
}

func serverOf(s *Space) *server { return s.b.(*node).server }

// connections returns how many programs a node knows.
func connections(v *server) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.programs)
}
