package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/dsm"
	"pagemesh/dsm/debug"
)

// listenHTTP opens the port of --http. An address that other machines can reach needs --insecure: whoever reaches it
// sees the lines of programs.
func listenHTTP(address string, insecure bool) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--http %s: %w", address, err)
	}
	at, err := netip.ParseAddrPort(ln.Addr().String())
	if !insecure && (err != nil || !at.Addr().IsLoopback()) {
		_ = ln.Close()
		return nil, fmt.Errorf("--http %s: everybody could look; give a loopback address such as 127.0.0.1:0, or allow it with --insecure", address)
	}
	return ln, nil
}

// serveHTTP shows what s does at ln until the result is closed.
func serveHTTP(cmd *cobra.Command, ln net.Listener, s *dsm.Space, log *slog.Logger) io.Closer {
	server := &http.Server{
		Handler: debug.Handler(s), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() { _ = server.Serve(ln) }() // it ends with the server
	cmd.PrintErrf("dsm: look at this space at http://%s%s\n", ln.Addr(), debug.Prefix)
	return server
}
