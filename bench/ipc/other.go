//go:build !linux

package ipc

func shared(string, bool) func(dir string) (Link, error) { return unsupported }

func unsupported(string) (Link, error) { return nil, ErrNotSupported }

var (
	listenPipe, dialPipe     = unsupported, unsupported
	listenNamed, dialNamed   = unsupported, unsupported
	listenQueue, dialQueue   = unsupported, unsupported
	listenSignal, dialSignal = unsupported, unsupported
)
