package transport

import (
	"errors"
	"fmt"
	"log/slog"
)

// ProtocolVersion is the version of the handshake and of the packets that this build speaks. Two
// nodes connect only if they speak the same.
const ProtocolVersion uint32 = 1

// maxCluster is the longest cluster name in bytes.
const maxCluster = 64

// Config says how an endpoint is reached and whom it trusts. Only Handler is required.
type Config struct {
	// Listen is the TCP address, host:port. Port 0 lets the system pick. Default "127.0.0.1:0".
	Listen string
	// Advertise is the address that others dial, host:port. Default: the address listened on, with an
	// unspecified host replaced by this machine's first routable address.
	Advertise string
	// Cluster is the name that both ends of a connection agree on, at most 64 bytes.
	Cluster string
	// Secret is shared by all nodes; it is proven in the handshake and never sent. Empty: whoever
	// reaches the port and knows the cluster's name is trusted.
	Secret string
	// Insecure allows addresses other than loopback although packets are not encrypted.
	Insecure bool
	// Handler receives what arrives. Required.
	Handler Handler
	// Logger receives what has no caller to return to: refused handshakes (info), garbage on the port
	// (debug), failing accepts (warning). Default: nothing is logged.
	Logger *slog.Logger
	// Version overrides ProtocolVersion, for tests. Default 0: ProtocolVersion.
	Version uint32
	// maxQueued is how many bytes may wait for one peer before its connection is given up. Default
	// 256 MiB; tests set less.
	maxQueued int
}

// withDefaults returns c with every zero field replaced by its default, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.maxQueued == 0 {
		c.maxQueued = 256 << 20
	}
	if c.Version == 0 {
		c.Version = ProtocolVersion
	}
	if c.Handler == nil {
		return c, errors.New("transport: Config.Handler is required")
	}
	if len(c.Cluster) > maxCluster {
		return c, fmt.Errorf("transport: the cluster name has %d bytes; choose one of at most %d", len(c.Cluster), maxCluster)
	}
	return c, nil
}
