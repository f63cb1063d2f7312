package transport

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrNotLoopback says that an address would have packets leave this machine, which Config.Insecure allows.
var ErrNotLoopback = errors.New("not a loopback address, and packets are not encrypted yet; --insecure accepts that")

// checkLoopback returns ErrNotLoopback unless address, host:port with a numeric host, is loopback.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return ErrNotLoopback
	}
	return nil
}

// guardDial is a net.Dialer's Control: it sees the resolved address before anything is sent to it.
func guardDial(_, address string, _ syscall.RawConn) error { return checkLoopback(address) }

// resolveListen returns the TCP address to listen on.
func resolveListen(cfg Config) (*net.TCPAddr, error) {
	a, err := net.ResolveTCPAddr("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %q: %w; want host:port", cfg.Listen, err)
	}
	if !cfg.Insecure && !a.IP.IsLoopback() {
		return nil, fmt.Errorf("transport: listen on %s: %w", cfg.Listen, ErrNotLoopback)
	}
	return a, nil
}

// advertised returns the address to tell others for a listener bound to a.
func advertised(cfg Config, a *net.TCPAddr) string {
	if cfg.Advertise != "" {
		return cfg.Advertise
	}
	if !a.IP.IsUnspecified() {
		return a.String()
	}
	ip := net.IPv4(127, 0, 0, 1)
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		addrs = nil // loopback still works for everything on this machine
	}
	for _, ia := range addrs {
		if n, ok := ia.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			ip = n.IP
			break
		}
	}
	return (&net.TCPAddr{IP: ip, Port: a.Port}).String()
}
