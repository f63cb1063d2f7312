package dsm

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pagemesh/pagetable/vm"
)

const otherUser = 65534

// asOther calls f in a thread that belongs to another user.
func asOther(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, otherUser, otherUser, otherUser); errno != 0 {
			t.Error("become another user:", errno)
			return
		}
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// wantLine fails unless err is one line with the text.
func wantLine(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error is %v, want one line with %q", err, text)
	}
}

// TestNodeOfAnotherUser: root may connect to it, but must not trust it.
func TestNodeOfAnotherUser(t *testing.T) {
	socket := fmt.Sprintf("@pagemesh-test-%d", os.Getpid()) // in no directory, so that no rights of files count
	asOther(t, func() {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { ln.Close() })
	})
	_, err := Open(t.Context(), Config{Attach: socket, JoinTimeout: time.Second})
	wantLine(t, err, fmt.Sprintf("the socket belongs to user %d, this program runs as user 0: start a node of your own", otherUser))
}

func TestProgramOfAnotherUser(t *testing.T) {
	_, socket, decent := served(t)
	asOther(t, func() {
		_, err := Open(t.Context(), Config{Attach: socket, JoinTimeout: time.Second})
		wantLine(t, err, "the node belongs to another user: start one of your own")
	})
	for dir := filepath.Dir(socket); dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	var s *stranger
	asOther(t, func() { s = meet(t, socket) })
	w, err := vm.NewWindow(vm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s.put(question{kind: askAttach, arg: attachVersion}, w.Descriptor())
	if frame, err := s.c.next(); err == nil || os.IsTimeout(err) {
		t.Errorf("the node answers %x, %v", frame, err)
	}
	checkServed(t, decent)
}
