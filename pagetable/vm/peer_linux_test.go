//go:build amd64 || arm64

package vm_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable/vm"
)

func TestDescriptorsCrossASocket(t *testing.T) {
	here, file := socketPair(t)
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	there, err := unixConn(fd)
	if err != nil {
		t.Fatal(err)
	}
	s := share(t, region(uint64(os.Getpagesize())))
	vm.StoreUint64(s.Bytes(0, 8), 0, 42)
	buf := make([]byte, 16)

	if err := vm.SendDescriptors(here, []byte("none")); err != nil {
		t.Fatal(err)
	}
	n, fds, err := vm.ReceiveDescriptors(there, buf)
	if string(buf[:n]) != "none" || len(fds) != 0 || err != nil {
		t.Errorf("received %q, %d descriptors, %v", buf[:n], len(fds), err)
	}

	if err := vm.SendDescriptors(here, []byte("two"), s.Descriptor(), s.Descriptor()); err != nil {
		t.Fatal(err)
	}
	n, fds, err = vm.ReceiveDescriptors(there, buf)
	if string(buf[:n]) != "two" || len(fds) != 2 || err != nil {
		t.Fatalf("received %q, %d descriptors, %v", buf[:n], len(fds), err)
	}
	var word [8]byte
	for _, fd := range fds {
		if _, err := unix.Pread(fd, word[:], 0); err != nil || word[0] != 42 {
			t.Errorf("descriptor reads %v, %v", word, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC {
			t.Errorf("descriptor has flags %d, %v: children inherit it", flags, err)
		}
		unix.Close(fd)
	}

	many := make([]int, 5)
	for i := range many {
		many[i] = s.Descriptor()
	}
	if err := vm.SendDescriptors(here, []byte("many"), many...); err != nil {
		t.Fatal(err)
	}
	_, fds, err = vm.ReceiveDescriptors(there, buf)
	wantError(t, err, "more than 4 came")
	if fds != nil {
		t.Errorf("%d descriptors come with an error", len(fds))
	}

	here.Close()
	file.Close()
	_, _, err = vm.ReceiveDescriptors(there, buf)
	wantError(t, err, "receive descriptors")
}

func TestPeerOf(t *testing.T) {
	here, file := socketPair(t)
	defer file.Close()
	defer here.Close()
	peer, err := vm.PeerOf(here)
	if want := (vm.Peer{PID: os.Getpid(), UID: os.Getuid()}); peer != want || err != nil {
		t.Errorf("PeerOf = %+v, %v, want %+v", peer, err, want)
	}
}

func TestAllowTracer(t *testing.T) {
	if err := vm.AllowTracer(os.Getppid()); err != nil {
		t.Error(err)
	}
}
