package dsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// A node's socket is for programs of its own user and version, but anything may connect to it. These
// tests talk to it in raw frames, while a decent program, attached from this process, goes on: it uses
// no mapped memory, so it may live beside its node.

const strangerPatience = 30 * time.Second

// served opens a node that serves programs, and a program that is attached to it.
func served(t testing.TB) (s *Space, socket string, decent *Space) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "node")
	s, err := Open(t.Context(), Config{Serve: socket})
	if err != nil {
		t.Skip("nodes can't serve programs here:", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	decent, err = Open(t.Context(), Config{Attach: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := decent.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, socket, decent
}

// checkServed fails unless a program gets its answers.
func checkServed(t *testing.T, decent *Space) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), strangerPatience)
	defer cancel()
	mu := decent.Mutex("decent")
	if _, err := mu.Lock(ctx); err != nil {
		t.Error(err)
	}
	if err := mu.Unlock(); err != nil {
		t.Error(err)
	}
}

// stranger is a connection to a node's socket.
type stranger struct {
	t    *testing.T
	conn *net.UnixConn
	c    *attachConn
	next uint64
}

func meet(t *testing.T, socket string) *stranger {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(strangerPatience)); err != nil {
		t.Fatal(err)
	}
	return &stranger{t: t, conn: conn, c: newAttachConn(conn, maxReply)}
}

// say sends bytes, and descriptors with them. The node may have ended the connection already.
func (s *stranger) say(b []byte, fds ...int) {
	s.t.Helper()
	var err error
	if len(fds) > 0 {
		err = vm.SendDescriptors(s.conn, b, fds...)
	} else {
		_, err = s.conn.Write(b)
	}
	if os.IsTimeout(err) {
		s.t.Fatal("the node does not read:", err)
	}
}

// put sends a question and returns its id.
func (s *stranger) put(q question, fds ...int) uint64 {
	s.t.Helper()
	s.next++
	q.id = s.next
	s.say(q.frame(), fds...)
	return q.id
}

// answer returns the node's next answer.
func (s *stranger) answer() reply {
	s.t.Helper()
	frame, err := s.c.next()
	if err != nil {
		s.t.Fatal("no answer:", err)
	}
	a, err := decodeReply(bytes.Clone(frame))
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// attach does what a program does first.
func (s *stranger) attach() {
	s.t.Helper()
	w, err := vm.NewWindow(vm.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer w.Close()
	s.put(question{kind: askAttach, arg: attachVersion, data: []byte("stranger")}, w.Descriptor())
	if a := s.answer(); a.code != 0 {
		s.t.Fatalf("attach: %s", a.data)
	}
}

// loans returns the memory of the stranger's loans, which came with the greeting.
func (s *stranger) loans() *vm.Words {
	s.t.Helper()
	fd, err := s.c.takeDescriptor()
	if err != nil {
		s.t.Fatal(err)
	}
	words, err := openLoans(fd)
	if err := errors.Join(err, os.NewFile(uintptr(fd), "loans").Close()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = words.Close() })
	return words
}

// wantEnd fails unless the node ends the connection; with a reason that has the text, if there is one.
func (s *stranger) wantEnd(text string) {
	s.t.Helper()
	said := ""
	for {
		frame, err := s.c.next()
		if os.IsTimeout(err) {
			s.t.Error("the node keeps the connection")
			return
		}
		if err != nil {
			break
		}
		if a, err := decodeReply(frame); err == nil && a.code != 0 {
			said = string(a.data)
		}
	}
	if !strings.Contains(said, text) || strings.Contains(said, "\n") {
		s.t.Errorf("the node said %q, want one line with %q", said, text)
	}
}

func TestStrangersAreShownOut(t *testing.T) {
	_, socket, decent := served(t)
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<12)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	noise[0] = 0 // the length fits
	first := func(q question) []byte { q.id = 1; return q.frame() }
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	defer pipe.Close()
	for _, test := range []struct {
		name string
		do   func(s *stranger)
		says string
	}{
		{"silence", func(s *stranger) { s.conn.CloseWrite() }, ""},
		{"another protocol", func(s *stranger) { s.say([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) }, ""},
		{"noise", func(s *stranger) { s.say(noise) }, ""},
		{"a frame of 4 GiB", func(s *stranger) { s.say([]byte{255, 255, 255, 255, 1}) }, ""},
		{"an empty frame", func(s *stranger) { s.say([]byte{0, 0, 0, 0}) }, ""},
		{"half a frame", func(s *stranger) { s.say([]byte{0, 0, 0, 9, 0x96}); s.conn.CloseWrite() }, ""},
		{"nested arrays", func(s *stranger) { s.say(append([]byte{0, 0, 16, 0}, bytes.Repeat([]byte{0x91}, 4096)...)) }, ""},
		{"a question before the greeting", func(s *stranger) { s.say(first(question{kind: askLock, data: []byte("m")})) }, ""},
		{"another version", func(s *stranger) {
			s.say(first(question{kind: askAttach, arg: attachVersion + 1}))
		}, fmt.Sprintf("program and node speak versions %d and %d of their protocol: build both from the same release",
			attachVersion+1, attachVersion)},
		{"no trap", func(s *stranger) { s.say(first(question{kind: askAttach, arg: attachVersion})) }, ""},
		{"a pipe for a trap", func(s *stranger) {
			s.say(first(question{kind: askAttach, arg: attachVersion}), int(pipe.Fd()))
		}, ""},
		{"descriptors that belong to nothing", func(s *stranger) {
			for range 4 {
				s.say([]byte{0}, int(pipe.Fd()), int(pipe.Fd()), int(pipe.Fd()))
			}
		}, ""},
		{"a second greeting", func(s *stranger) { s.attach(); s.put(question{kind: askAttach, arg: attachVersion}) }, "asks to attach"},
		{"a kind that is none", func(s *stranger) { s.attach(); s.put(question{kind: askKindEnd}) }, "is unknown"},
		{"an offset that is none", func(s *stranger) {
			s.attach()
			s.put(question{kind: askTouch, span: span{off: -1}})
		}, "out of range"},
		{"one id twice", func(s *stranger) {
			s.attach()
			s.put(question{kind: askWait, arg: 2, data: []byte("b")})
			s.next--
			s.put(question{kind: askWait, arg: 2, data: []byte("b")})
		}, "asked again"},
		{"noise after the greeting", func(s *stranger) { s.attach(); s.say(noise) }, ""},
		{"a frame too long after the greeting", func(s *stranger) { s.attach(); s.say([]byte{0, 1, 0, 1}) }, "at most 65536"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := meet(t, socket)
			test.do(s)
			s.wantEnd(test.says)
			checkServed(t, decent)
		})
	}
}

// TestOddQuestionsAreRefused: a program that asks for what can't be is told so, and goes on.
func TestOddQuestionsAreRefused(t *testing.T) {
	node, socket, decent := served(t)
	if _, err := node.Region(t.Context(), "r", RegionOptions{Size: 10_000}); err != nil {
		t.Fatal(err)
	}
	const id, write = 1, uint64(pagetable.WriteAccess)
	s := meet(t, socket)
	s.attach()
	for _, test := range []struct {
		name string
		q    question
		says string
	}{
		{"touch without a right", question{kind: askTouch, region: id, span: span{0, 1}}, "want read or write"},
		{"touch with a right that is none", question{kind: askTouch, region: id, span: span{0, 1}, arg: 3}, "want read or write"},
		{"touch with a right beyond bytes", question{kind: askTouch, region: id, span: span{0, 1}, arg: 1<<40 + 1}, "want read or write"},
		{"touch outside", question{kind: askTouch, region: id, span: span{0, 10_001}, arg: write}, "outside the region"},
		{"touch far outside", question{kind: askTouch, region: id, span: span{1 << 62, 1 << 62}, arg: write}, "outside the region"},
		{"touch of no region", question{kind: askTouch, region: 9, span: span{0, 1}, arg: write}, "no such region"},
		{"pin without a right", question{kind: askPin, region: id, span: span{0, 1}}, "want read or write"},
		{"pin with a right that is none", question{kind: askPin, region: id, span: span{0, 1}, arg: math.MaxUint64}, "want read or write"},
		{"pin outside", question{kind: askPin, region: id, span: span{10_000, 1}, arg: write}, "outside the region"},
		{"home of the end", question{kind: askHome, region: id, span: span{10_000, 0}}, "outside the region"},
		{"a mutex without a name", question{kind: askLock}, "lock name has 0 bytes"},
		{"a mutex with a long name", question{kind: askLock, data: make([]byte, 300)}, "lock name has 300 bytes"},
		{"an unlock of nothing", question{kind: askUnlock, arg: 77, data: []byte("m")}, "not held"},
		{"a pool without a name", question{kind: askTake, span: span{2, 1}}, "lock name has 0 bytes"},
		{"a pool of nothing", question{kind: askTake, data: []byte("p")}, "semaphore has 0 permits"},
		{"a pool that is too large", question{kind: askTake, span: span{1 << 62, 1}, data: []byte("p")}, "permits"},
		{"more permits than there are", question{kind: askTake, span: span{2, 3}, data: []byte("p")}, "3 permits: want 1 to 2"},
		{"no permits", question{kind: askTake, span: span{2, 0}, data: []byte("p")}, "0 permits: want 1 to 2"},
		{"permits that nobody has", question{kind: askPut, span: span{2, 1}, arg: 78, data: []byte("p")}, "not held"},
		{"a barrier without a name", question{kind: askWait, arg: 1}, "lock name has 0 bytes"},
		{"a barrier of none", question{kind: askWait, data: []byte("b")}, "barrier has 0 parties"},
		{"a barrier of too many", question{kind: askWait, arg: math.MaxUint64, data: []byte("b")}, "parties"},
		{"a region that is none", question{kind: askRegion, data: []byte{1, 2, 3}}, ""},
		{"a region without a name", question{kind: askRegion}, ""},
		{"a layout of no region", question{kind: askDeclare, region: 9, data: []byte("int64")}, "no such region"},
		{"a layout that is too long", question{kind: askDeclare, region: id, data: make([]byte, pagetable.MaxLayoutLen+1)}, ""},
		{"an inspection that is none", question{kind: askInspect, arg: math.MaxUint64}, "is unknown"},
		{"an inspection of nonsense", question{kind: askInspect, arg: uint64(controlPages), data: []byte("{")}, "page query"},
	} {
		asked := s.put(test.q)
		a := s.answer()
		if a.id != asked || a.code == 0 || !strings.Contains(string(a.data), test.says) || bytes.Contains(a.data, []byte("\n")) {
			t.Errorf("%s: answer %d to %d has code %d and says %q, want one line with %q", test.name, a.id, asked, a.code, a.data, test.says)
		}
	}
	m := []byte("m")
	s.put(question{kind: askLock, arg: 4, data: m})
	if a := s.answer(); a.code != 0 || len(a.data) == 0 {
		t.Errorf("a lock among odd questions: %v, want a loan", a)
	}
	s.put(question{kind: askGiveBack, data: m}) // not wanted yet
	s.put(question{kind: askGiveBack, data: []byte("never lent")})
	first := s.put(question{kind: askLock, arg: 5, data: m})
	s.put(question{kind: askLock, arg: 6, data: m})
	for words := s.loans(); words.Word(0).Load() != loanWanted; {
		runtime.Gosched()
	}
	s.put(question{kind: askGiveBack, data: m})
	a := s.answer()
	if a.code != 0 || a.id < first || len(a.data) != 0 {
		t.Errorf("a lock that another waits for: %v, want it without a loan", a)
	}
	holder := 5 + a.id - first
	s.put(question{kind: askLock, arg: holder, data: []byte("other")})
	if a := s.answer(); !strings.Contains(string(a.data), `is called "m" and "other"`) {
		t.Errorf("a mutex value with two names: %s", a.data)
	}
	s.put(question{kind: askUnpin, region: id, span: span{0, 1}, arg: write}) // never pinned; has no answer
	s.put(question{kind: askCancel, arg: 4711})
	s.put(question{kind: askUnlock, arg: holder})
	for range 2 { // the other one's lock ends too
		if a := s.answer(); a.code != 0 {
			t.Errorf("an unlock after odd questions: %d %s", a.id, a.data)
		}
	}
	checkServed(t, decent)
}

// TestStrangersTakeNoRoom has strangers announce long frames and send little.
func TestStrangersTakeNoRoom(t *testing.T) {
	_, socket, decent := served(t)
	before := heapSize()
	const n = 400
	for range n {
		s := meet(t, socket)
		s.say([]byte{0, 0, 255, 255, 0x96})
	}
	checkServed(t, decent)
	if grown := int64(heapSize()) - int64(before); grown > n*32<<10 {
		t.Errorf("%d strangers took %d bytes", n, grown)
	}
}

func heapSize() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestCloseDoesNotWaitForStrangers: neither for one that says nothing, nor for one whose question is open.
func TestCloseDoesNotWaitForStrangers(t *testing.T) {
	s, socket, decent := served(t)
	meet(t, socket)
	waiting := meet(t, socket)
	waiting.attach()
	waiting.put(question{kind: askWait, arg: 2, data: []byte("b")})
	checkServed(t, decent) // the node has accepted all three
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(greetTime / 2):
		t.Fatal("Close waits for a stranger")
	}
	if _, err := decent.Mutex("m").Lock(t.Context()); !errors.Is(err, ErrNodeLost) {
		t.Errorf("lock at a node that has closed: %v", err)
	}
}

// TestMutexValuesAreForgotten: a program may make a Mutex value for each use.
func TestMutexValuesAreForgotten(t *testing.T) {
	host, _, decent := served(t)
	for i := range 100 {
		mu := decent.Mutex(fmt.Sprint("m", i%3))
		if _, err := mu.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := mu.Unlock(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := mu.Lock(ctx); err == nil {
			if err := mu.Unlock(); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := host.b.(*node).server
	v.mu.Lock()
	defer v.mu.Unlock()
	for p := range v.programs {
		p.mu.Lock()
		if len(p.mutexes) > 0 {
			t.Errorf("the node remembers %d mutex values", len(p.mutexes))
		}
		p.mu.Unlock()
	}
}

// TestProgramMeetsWhatIsNoNode attaches to sockets that don't lead to a node.
func TestProgramMeetsWhatIsNoNode(t *testing.T) {
	if err := CanMap(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	talk := func(name string, say string) string {
		path := filepath.Join(dir, name)
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, say)
				t.Cleanup(func() { conn.Close() })
			}
		}()
		return path
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	for _, test := range []struct{ name, path, says string }{
		{"nothing", filepath.Join(dir, "nothing"), "is a node running with that socket"},
		{"a stale socket", stale, "is a node running with that socket"},
		{"a file", file, "is a node running with that socket"},
		{"a long path", filepath.Join(dir, strings.Repeat("x", 200)), "choose a shorter one"},
		{"somebody silent", talk("silent", ""), "it has not answered within 300ms"},
		{"another protocol", talk("http", "HTTP/1.1 400 Bad Request\r\n\r\n"), "at most"},
		{"an answer that is none", talk("empty", "\x00\x00\x00\x01\x90"), "the header is an array of 3"},
		{"an answer to nothing", talk("odd", string((&reply{id: 9}).frame())), "question 9, which is not open"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Open(t.Context(), Config{Attach: test.path, JoinTimeout: 300 * time.Millisecond})
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v, want one line with %q", err, test.says)
			}
		})
	}
}

// TestNodeChoosesItsSocketWell covers what may lie where a node is to serve.
func TestNodeChoosesItsSocketWell(t *testing.T) {
	_, socket, _ := served(t)
	dir := filepath.Dir(socket)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, says string }{
		{"a node that runs", socket, "serves programs at " + socket + " already"},
		{"a file", file, "a file that is no socket lies there"},
		{"a long path", filepath.Join(dir, strings.Repeat("x", 200)), "choose a shorter one"},
		{"no directory", filepath.Join(dir, "none", "node"), "no such file or directory"},
	} {
		_, err := Open(t.Context(), Config{Serve: test.path})
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %v, want one line with %q", test.name, err, test.says)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q now, %v", b, err)
	}
	stale := filepath.Join(dir, "stale")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	s, err := Open(t.Context(), Config{Serve: stale})
	if err != nil {
		t.Fatal("a stale socket is not replaced:", err)
	}
	if st, err := os.Stat(stale); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket has rights %v, %v", st.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a node that has closed leaves its socket: %v", err)
	}
}
