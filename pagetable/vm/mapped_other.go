//go:build !linux || !(amd64 || arm64)

package vm

import (
	"net"
	"sync/atomic"

	"pagemesh/pagetable"
)

// This file is the twin of the mapped memory for systems without it: what begins its use fails.

// Shared is the Frames of a region that programs map.
type Shared struct{ Memory }

// NewShared returns ErrNotSupported.
func NewShared(string, pagetable.Range) (*Shared, error) { return nil, ErrNotSupported }

// Descriptor is never called.
func (*Shared) Descriptor() int { return -1 }

// Resident returns ErrNotSupported.
func (*Shared) Resident() (uint64, error) { return 0, ErrNotSupported }

// Attach is never called.
func (*Shared) Attach(*Trap) {}

// Detach is never called.
func (*Shared) Detach(*Trap) {}

// Trap is the node's end of one program's userfaultfd.
type Trap struct{}

// NewTrap returns ErrNotSupported.
func NewTrap(int) (*Trap, error) { return nil, ErrNotSupported }

// Next returns ErrNotSupported.
func (*Trap) Next() (Fault, error) { return Fault{}, ErrNotSupported }

// Wake returns ErrNotSupported.
func (*Trap) Wake(pagetable.Range) error { return ErrNotSupported }

// Close does nothing.
func (*Trap) Close() error { return nil }

// Window is the program's end.
type Window struct{}

// NewWindow returns ErrNotSupported.
func NewWindow(Options) (*Window, error) { return nil, ErrNotSupported }

// Probe returns ErrNotSupported.
func Probe(Options) (Mode, error) { return 0, ErrNotSupported }

// Mode is never called.
func (*Window) Mode() Mode { return UserMode }

// Descriptor is never called.
func (*Window) Descriptor() int { return -1 }

// Map returns ErrNotSupported.
func (*Window) Map(int, pagetable.Range) ([]byte, error) { return nil, ErrNotSupported }

// Heal returns ErrNotSupported.
func (*Window) Heal(pagetable.Range) error { return ErrNotSupported }

// Unmap returns ErrNotSupported.
func (*Window) Unmap(pagetable.Range) error { return ErrNotSupported }

// Close does nothing.
func (*Window) Close() error { return nil }

// Words are words that a node shares with one program.
type Words struct{}

// NewWords returns ErrNotSupported.
func NewWords(string, int) (*Words, error) { return nil, ErrNotSupported }

// OpenWords returns ErrNotSupported.
func OpenWords(int, int) (*Words, error) { return nil, ErrNotSupported }

// Word is never called.
func (*Words) Word(int) *atomic.Uint64 { return nil }

// Set does nothing.
func (*Words) Set(int, uint64) {}

// Descriptor is never called.
func (*Words) Descriptor() int { return -1 }

// Close does nothing.
func (*Words) Close() error { return nil }

// SendDescriptors returns ErrNotSupported.
func SendDescriptors(*net.UnixConn, []byte, ...int) error { return ErrNotSupported }

// TrySend returns ErrNotSupported.
func TrySend(*net.UnixConn, []byte) (int, error) { return 0, ErrNotSupported }

// ReceiveDescriptors returns ErrNotSupported.
func ReceiveDescriptors(*net.UnixConn, []byte) (n int, fds []int, err error) {
	return 0, nil, ErrNotSupported
}

// Peer is the process at the other end of a Unix socket, when it connected.
type Peer struct{ PID, UID int }

// PeerOf returns ErrNotSupported.
func PeerOf(*net.UnixConn) (Peer, error) { return Peer{}, ErrNotSupported }

// ProgramCounter returns ErrNotSupported.
func ProgramCounter(int, int) (pc, sp uint64, ok bool, err error) {
	return 0, 0, false, ErrNotSupported
}

// ReadWord returns ErrNotSupported.
func ReadWord(int, uint64) (uint64, error) { return 0, ErrNotSupported }

// AllowTracer does nothing.
func AllowTracer(int) error { return nil }
