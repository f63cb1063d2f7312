package ipc

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// listenPipe makes two pipes. Processes that are no relatives find their ends below /proc.
func listenPipe(dir string) (Link, error) {
	in, items, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	acks, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &stream{in: in, out: out, closes: []io.Closer{in, items, acks, out}}
	where := fmt.Sprintf("/proc/%d/fd/%d\n/proc/%d/fd/%d\n", os.Getpid(), descriptor(items), os.Getpid(), descriptor(acks))
	return s, os.WriteFile(filepath.Join(dir, "pipe"), []byte(where), 0o600)
}

// descriptor returns a file's number, which leaves the file with Go's poller.
func descriptor(f *os.File) (fd uintptr) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(n uintptr) { fd = n })
	}
	return fd
}

func dialPipe(dir string) (Link, error) {
	where, err := os.ReadFile(filepath.Join(dir, "pipe"))
	if err != nil {
		return nil, err
	}
	var items, acks string
	if _, err := fmt.Sscan(string(where), &items, &acks); err != nil {
		return nil, err
	}
	return openStreams(acks, items, os.O_RDONLY, os.O_WRONLY)
}

// listenNamed makes two named pipes.
func listenNamed(dir string) (Link, error) {
	for _, name := range []string{"items", "acks"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			return nil, err
		}
	}
	// Opened both ways: else it waits for the other side.
	return openStreams(filepath.Join(dir, "items"), filepath.Join(dir, "acks"), os.O_RDWR, os.O_RDWR)
}

func dialNamed(dir string) (Link, error) {
	return openStreams(filepath.Join(dir, "acks"), filepath.Join(dir, "items"), os.O_RDWR, os.O_RDWR)
}

func openStreams(in, out string, inFlag, outFlag int) (Link, error) {
	r, err := os.OpenFile(in, inFlag, 0)
	if err != nil {
		return nil, err
	}
	w, err := os.OpenFile(out, outFlag, 0)
	if err != nil {
		return nil, err
	}
	return &stream{in: r, out: w, closes: []io.Closer{r, w}}, nil
}
