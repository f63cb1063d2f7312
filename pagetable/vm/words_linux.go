//go:build amd64 || arm64

package vm

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Words are words that a node shares with one program. No access to them is trapped.
type Words struct {
	fd int // the node's; -1 at the program
	b  []byte
}

// NewWords makes n words that are 0. The name shows in /proc/PID/maps.
func NewWords(name string, n int) (*Words, error) {
	fd, err := makeMemfd(name, uint64(8*n))
	if err != nil {
		return nil, fmt.Errorf("make shared words: %w", err)
	}
	w, err := OpenWords(fd, n)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	w.fd = fd
	return w, nil
}

// OpenWords maps the n words whose descriptor a node has sent. The descriptor stays the caller's.
func OpenWords(fd, n int) (*Words, error) {
	b, err := unix.Mmap(fd, 0, 8*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared words: %w", explainMmap(uint64(8*n), err))
	}
	adviseMapped(b)
	return &Words{fd: -1, b: b}, nil
}

// Word returns word i.
func (w *Words) Word(i int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(word(w.b, 8*i))) }

// Set sets word i, which nobody else sets meanwhile. It is no more than a store; who reads the word at the same
// time sees the old value or the new one.
func (w *Words) Set(i int, v uint64) { *(*uint64)(unsafe.Pointer(word(w.b, 8*i))) = v }

// Descriptor returns the node's descriptor, to be sent to the program. It is the words' own.
func (w *Words) Descriptor() int { return w.fd }

// Close gives the memory back. Preconditions: nobody touches a word, now or later, in this process.
func (w *Words) Close() error {
	err := unix.Munmap(w.b)
	if w.fd >= 0 {
		err = errors.Join(err, unix.Close(w.fd))
	}
	if err != nil {
		return fmt.Errorf("close shared words: %w", err)
	}
	return nil
}
