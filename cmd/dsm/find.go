package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"pagemesh/cmd/dsm/internal/running"
	"pagemesh/dsm"
)

// dialTimeout bounds the attempt to reach one node.
const dialTimeout = 5 * time.Second

// dial connects to the node that the user has named, by flag or environment, or else to the one space
// that this user runs on this machine.
func (f *inspectFlags) dial(ctx context.Context) (*dsm.Inspector, error) {
	cfg, err := f.space.config()
	if err != nil {
		return nil, err
	}
	known, err := running.List(running.Dir())
	if err != nil {
		return nil, fmt.Errorf("find running spaces: %w", err)
	}
	if addrs := f.named(cfg); len(addrs) > 0 {
		return dialFirst(ctx, nodesAt(addrs, cfg, known))
	}
	known = slices.DeleteFunc(known, func(n running.Node) bool { return cfg.Cluster != "" && n.Cluster != cfg.Cluster })
	return dialOnly(ctx, known)
}

// named returns the addresses of nodes that the flag or else the environment names.
func (f *inspectFlags) named(cfg dsm.Config) []string {
	if f.node != "" {
		return []string{f.node}
	}
	if len(cfg.Seeds) > 0 {
		return cfg.Seeds
	}
	if _, port, err := net.SplitHostPort(cfg.Listen); err == nil && port != "0" {
		return []string{cfg.Listen}
	}
	return nil
}

// nodesAt describes the nodes at addresses by what cfg says of their space and, where it says nothing, by
// what is known of them.
func nodesAt(addrs []string, cfg dsm.Config, known []running.Node) []running.Node {
	var nodes []running.Node
	for _, addr := range addrs {
		n := running.Node{Addr: addr, Cluster: cfg.Cluster, Secret: cfg.Secret, Insecure: cfg.Insecure}
		for _, k := range known {
			if k.Addr == addr {
				n.Cluster, n.Secret = cmp.Or(n.Cluster, k.Cluster), cmp.Or(n.Secret, k.Secret)
			}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func dial(ctx context.Context, n running.Node) (*dsm.Inspector, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return dsm.Dial(ctx, n.Addr, dsm.InspectConfig{Cluster: n.Cluster, Secret: n.Secret, Insecure: n.Insecure})
}

// dialFirst connects to the first of nodes that answers.
func dialFirst(ctx context.Context, nodes []running.Node) (*dsm.Inspector, error) {
	var errs []error
	for _, n := range nodes {
		in, err := dial(ctx, n)
		if err == nil {
			return in, nil
		}
		errs = append(errs, err)
	}
	return nil, unreachable(errs)
}

// errUnreachable marks that no node answered.
var errUnreachable = errors.New("can't look into the space")

func unreachable(errs []error) error {
	return fmt.Errorf("%w: %w", errUnreachable, errors.Join(errs...))
}

// dialOnly connects to the one space that the known nodes are members of.
func dialOnly(ctx context.Context, known []running.Node) (*dsm.Inspector, error) {
	if len(known) == 0 {
		return nil, errors.New("no space is running here: start one with dsm run or dsm node, or name a node of another with --node ADDRESS")
	}
	var found spaces
	for _, n := range known {
		if err := found.add(ctx, n); err != nil {
			found.errs = append(found.errs, fmt.Errorf("%s: %w", n.Command, err))
		}
	}
	switch len(found.inspectors) {
	case 0:
		return nil, unreachable(found.errs)
	case 1:
		return found.inspectors[0], nil
	}
	for _, in := range found.inspectors {
		_ = in.Close() // nothing was asked that could be lost
	}
	return nil, usagef("%d spaces are running here: choose one with --node: %s", len(found.names), strings.Join(found.names, ", "))
}

// spaces are those that were found so far, each with a connection to one of its nodes.
type spaces struct {
	inspectors []*dsm.Inspector
	names      []string
	members    map[string]bool // addresses of all their members
	errs       []error
}

// add looks into the space of a node unless that is one of those found.
func (s *spaces) add(ctx context.Context, n running.Node) error {
	if s.members[n.Addr] {
		return nil
	}
	in, err := dial(ctx, n)
	if err != nil {
		return err
	}
	st, err := in.Status(ctx)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	if s.members == nil {
		s.members = map[string]bool{}
	}
	for _, m := range st.Members {
		s.members[m.Addr] = true
	}
	s.inspectors = append(s.inspectors, in)
	s.names = append(s.names, fmt.Sprintf("%s (%s, cluster %s)", n.Addr, n.Command, st.Cluster))
	return nil
}
