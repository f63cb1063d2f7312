package launch

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// The ports that FreeAddrs picks from lie below those that common systems give to outgoing
// connections, so that between picking and listening only another server can take one.
const (
	firstPort = 20000
	lastPort  = 32767
)

// portAttempts is how many ports are tried for each that is wanted.
const portAttempts = 64

// FreeAddrs returns n different loopback addresses, host:port, on which nobody listens at present.
func FreeAddrs(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		ln, err := listenAnywhere()
		if err != nil {
			return nil, fmt.Errorf("found %d of %d free ports on 127.0.0.1: %w", i, n, err)
		}
		// Held until all are found, so that none is found twice.
		defer ln.Close()
		addrs[i] = ln.Addr().String()
	}
	return addrs, nil
}

func listenAnywhere() (net.Listener, error) {
	var err error
	for range portAttempts {
		var ln net.Listener
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return ln, nil
		}
	}
	return nil, err
}
