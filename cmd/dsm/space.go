package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/running"
	"pagemesh/dsm"
)

// spaceFlags say which space is meant. They are common to all commands that reach one.
type spaceFlags struct {
	cluster    string
	secretFile string
	insecure   bool
}

func (f *spaceFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.cluster, "cluster", "", "`name` of the cluster (environment "+dsm.EnvCluster+")")
	flags.StringVar(&f.secretFile, "secret-file", "", "`file` with the cluster's secret (environment "+dsm.EnvSecret+" holds the secret itself)")
	_ = cmd.MarkFlagFilename("secret-file") // the flag exists
}

// registerInsecure adds the flag of commands that may leave this machine.
func (f *spaceFlags) registerInsecure(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.insecure, "insecure", false, "allow addresses other than loopback, although packets are not encrypted")
}

// config returns what the environment says of the space, replaced where there are flags.
func (f *spaceFlags) config() (dsm.Config, error) {
	cfg, err := dsm.ConfigFromEnv()
	if err != nil {
		return cfg, usagef("environment: %v", err)
	}
	if f.cluster != "" {
		cfg.Cluster = f.cluster
	}
	cfg.Insecure = cfg.Insecure || f.insecure
	if f.secretFile == "" {
		return cfg, nil
	}
	b, err := os.ReadFile(f.secretFile)
	if err != nil {
		return cfg, fmt.Errorf("--secret-file: %w", err)
	}
	if cfg.Secret = strings.TrimSpace(string(b)); cfg.Secret == "" {
		return cfg, fmt.Errorf("--secret-file: %s is empty: put the secret into it", f.secretFile)
	}
	return cfg, nil
}

// announce lets later commands find the node that cfg describes at addr, until withdraw is called. They
// can do without: that it failed is only said.
func announce(cmd *cobra.Command, cfg dsm.Config, addr, what string) (withdraw func()) {
	withdraw, err := running.Announce(running.Dir(), running.Node{
		Addr: addr, Cluster: cfg.Cluster, Secret: cfg.Secret, Insecure: cfg.Insecure,
		Process: os.Getpid(), Command: what, Started: time.Now(),
	})
	if err != nil {
		cmd.PrintErrf("dsm: this space is not found without --node: %v\n", err)
		return func() {}
	}
	return withdraw
}
