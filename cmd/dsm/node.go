package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/launch"
	"pagemesh/cmd/dsm/internal/running"
	"pagemesh/dsm"
)

const nodeLong = `Run one node in the foreground until a signal ends it.

Without --seed it founds a space; with --seed it joins one, or fails: it never
becomes a space of its own by accident. When it is a member it prints one line on
standard output, whose last word is the address for others to join:

    node n1 of cluster pagemesh is at 127.0.0.1:40213

With --socket, programs of this machine attach to it and use shared memory by ordinary
loads and stores: start them with ` + dsm.EnvAttach + ` set to the socket's path. They end when
the node does.

An interrupt (Ctrl-C) or SIGTERM makes it leave: what it holds moves to the other
nodes first. A second signal ends it at once, and what only it held is lost.

Flags have their defaults from the environment, by which programs are configured too.
Cluster name and secret of a --seed that this user runs on this machine are found, so
that a node can join what dsm run has started. The secret has no flag, because every
user can read the command lines of all processes: put it into a file or the environment.`

// nodeFlags are those of dsm node.
type nodeFlags struct {
	space   spaceFlags
	listen  string
	socket  string
	http    string
	seeds   []string
	members int
	timeout time.Duration
	races   bool
}

func newNode() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run one node, to be joined by others",
		Long:  nodeLong,
		Example: `  dsm node --listen 127.0.0.1:7700
  dsm node --seed 127.0.0.1:7700 --secret-file ~/.pagemesh-secret`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.space.register(cmd)
	f.space.registerInsecure(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "", "`address` host:port for everything this node receives (default 127.0.0.1 and a free port; environment "+dsm.EnvListen+")")
	flags.StringArrayVar(&f.seeds, "seed", nil, "`address` of a member to join through; repeat it to give several (environment "+dsm.EnvSeeds+", with commas)")
	flags.StringVar(&f.socket, "socket", "", "`path` of a Unix socket at which programs of this user attach")
	flags.StringVar(&f.http, "http", "", "`address` host:port at which to show what the space does, see go doc pagemesh/dsm/debug")
	flags.IntVar(&f.members, "members", 0, "be ready only when the space has `N` members (environment "+dsm.EnvMembers+")")
	flags.DurationVar(&f.timeout, "join-timeout", 0, "how long to try to join, and to wait for --members (default 15s; environment "+dsm.EnvJoin+")")
	racesFlag(cmd, &f.races)
	return cmd
}

func (f *nodeFlags) config(cmd *cobra.Command) (dsm.Config, error) {
	cfg, err := f.space.config()
	if err != nil {
		return cfg, err
	}
	if f.listen != "" {
		cfg.Listen = f.listen
	}
	if f.seeds != nil {
		cfg.Seeds = f.seeds
	}
	cfg.Attach, cfg.Serve = "", f.socket
	cfg.DetectRaces = cfg.DetectRaces || f.races
	if f.members < 0 {
		return cfg, usagef("--members %d: give a number from 1", f.members)
	}
	if f.members > 0 {
		cfg.Members = f.members
	}
	if f.timeout < 0 {
		return cfg, usagef("--join-timeout %v: give a duration such as 30s", f.timeout)
	}
	if f.timeout > 0 {
		cfg.JoinTimeout = f.timeout
	}
	if known, err := running.List(running.Dir()); err == nil && len(cfg.Seeds) > 0 {
		seed := nodesAt(cfg.Seeds, cfg, known)[0]
		cfg.Cluster, cfg.Secret = seed.Cluster, seed.Secret
	}
	cfg.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	return cfg, nil
}

func (f *nodeFlags) run(cmd *cobra.Command) error {
	cfg, err := f.config(cmd)
	if err != nil {
		return err
	}
	keeper, err := keepPrograms(&cfg)
	if err != nil {
		return err
	}
	defer keeper.Close()
	var web net.Listener
	if f.http != "" {
		if web, err = listenHTTP(f.http, cfg.Insecure); err != nil {
			return err
		}
		defer web.Close()
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	ctx, stop := untilSignal(cmd.Context(), signals)
	defer stop()
	s, err := dsm.Open(ctx, cfg)
	if err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	st, err := s.Status(ctx)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer announce(cmd, cfg, s.Addr(), "dsm node")()
	if cfg.Serve != "" {
		cmd.PrintErrf("dsm: programs attach to this node with %s=%s\n", dsm.EnvAttach, cfg.Serve)
	}
	if web != nil {
		defer serveHTTP(cmd, web, s, cfg.Logger).Close()
	}
	fmt.Fprintf(cmd.OutOrStdout(), "node %v of cluster %s is at %s\n", s.Self(), st.Cluster, s.Addr())
	select {
	case <-s.Done():
		return fmt.Errorf("this node was closed: %w", s.Err())
	case <-ctx.Done():
	}
	return leave(cmd, s, signals)
}

// keepPrograms has the programs that attach to the node killed if it dies: they may wait for a page then,
// which never comes. It returns nil if none can attach.
func keepPrograms(cfg *dsm.Config) (*launch.Keeper, error) {
	if cfg.Serve == "" {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	keeper, err := launch.StartKeeper([]string{self, keeperName})
	cfg.OnProgram = func(pid int, attached bool) {
		if attached {
			keeper.AddProcess(pid)
		} else {
			keeper.RemoveProcess(pid)
		}
	}
	return keeper, err
}

// leave ends the node without loss, or at once if another signal comes.
func leave(cmd *cobra.Command, s *dsm.Space, signals <-chan os.Signal) error {
	if len(s.Members()) == 1 {
		cmd.PrintErrln("dsm: the last node ends, and the space with it")
		return s.Leave(cmd.Context())
	}
	cmd.PrintErrln("dsm: leaving: what this node holds moves to the others first (a second signal ends it at once)")
	ctx, stop := untilSignal(context.WithoutCancel(cmd.Context()), signals)
	defer stop()
	if err := s.Leave(ctx); err != nil {
		return err
	}
	cmd.PrintErrln("dsm: left; nothing is lost")
	return nil
}

// errSignal is the cause of a context that a signal has ended.
var errSignal = errors.New("ended by a signal")

// untilSignal returns a context that ends with the next signal.
func untilSignal(parent context.Context, signals <-chan os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		select {
		case <-signals:
			cancel(errSignal)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
