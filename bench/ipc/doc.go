// Package ipc holds the ways in which two processes of one machine hand each other items, as a measure
// for shared memory that is distributed.
//
// Each Kind does the same exchange: one process sends an item, the other looks at it and acknowledges
// it, and only then the first one goes on. None is tuned beyond what its users would do by themselves.
package ipc

import "errors"

// MaxItem is the largest item in bytes.
const MaxItem = 1 << 20

// Link is one end of a way between two processes.
type Link interface {
	// Send hands over an item and returns when it is acknowledged.
	Send(item []byte) error
	// Serve receives items, n in all, into one of that size. It calls f for each and acknowledges it
	// then. f must not keep the item.
	Serve(n int, item []byte, f func(item []byte)) error
	Close() error
}

// Kind is a way between two processes. Listen is called by the one that serves, and when it has
// returned, Dial by the one that sends. They meet in a directory that is theirs alone.
type Kind struct {
	Name   string
	Listen func(dir string) (Link, error)
	Dial   func(dir string) (Link, error)
	// Bare: it can only say that there is an item.
	Bare bool
	// Local: it can't reach another machine.
	Local bool
}

// Counter is a Link whose two ends have a counter in common, to which each adds by itself.
type Counter interface {
	// Add adds to the count and returns the sum.
	Add(delta uint64) uint64
}

// ErrNotSupported says that a kind does not exist on this system.
var ErrNotSupported = errors.New("not supported on this system")

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{
		{Name: "shared_memory", Listen: shared("/dev/shm", true), Dial: shared("/dev/shm", false), Local: true},
		{Name: "mapped_file", Listen: shared("", true), Dial: shared("", false), Local: true},
		{Name: "file", Listen: createFiles, Dial: openFiles, Local: true},
		{Name: "pipe", Listen: listenPipe, Dial: dialPipe, Local: true},
		{Name: "named_pipe", Listen: listenNamed, Dial: dialNamed, Local: true},
		{Name: "message_queue", Listen: listenQueue, Dial: dialQueue, Local: true},
		{Name: "signal", Listen: listenSignal, Dial: dialSignal, Local: true, Bare: true},
		{Name: "unix_socket", Listen: listenSocket("unix"), Dial: dialSocket("unix"), Local: true},
		{Name: "tcp", Listen: listenSocket("tcp"), Dial: dialSocket("tcp")},
		{Name: "rpc", Listen: listenRPC, Dial: dialRPC},
		{Name: "rest", Listen: listenREST, Dial: dialREST},
	}
}
