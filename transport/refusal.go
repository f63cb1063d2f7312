package transport

import (
	"fmt"
	"strings"
	"unicode"
)

// refusalCode says why a listener turned a handshake down. Codes never change their meaning.
type refusalCode uint8

const (
	refusedVersion     refusalCode = iota + 1
	refusedCluster                 // another cluster's name
	refusedSecret                  // the proof is wrong
	refusedNode                    // this is not the node that the dialer wants
	refusedIncarnation             // the dialer's id is connected already, by another incarnation
	refusedSelf                    // the dialer has no id, or ours
	refusedBusy                    // a connection between the two is being made or is ending: try again
	refusedUnready                 // this node has no id yet: try again
)

// refusal is a listener's no. As an error it wraps ErrRefused unless trying again can help.
type refusal struct {
	code refusalCode
	text string // one line, from the listener's point of view
}

func (r *refusal) Error() string {
	if r.temporary() {
		return r.text
	}
	return ErrRefused.Error() + ": " + r.text
}

func (r *refusal) Unwrap() error {
	if r.temporary() {
		return nil
	}
	return ErrRefused
}

func (r *refusal) temporary() bool { return r.code == refusedBusy || r.code == refusedUnready }

// refuseHello judges what a dialer says before it has proven anything; nil means go on. What it
// answers tells a stranger nothing but the version spoken here.
func (c Config) refuseHello(h hello) *refusal {
	switch {
	case h.version != c.Version:
		return &refusal{refusedVersion, fmt.Sprintf(
			"it speaks protocol version %d, the dialer speaks %d; run the same build on every node", c.Version, h.version)}
	case h.cluster != c.Cluster:
		return &refusal{refusedCluster, fmt.Sprintf(
			"cluster name %q is not the name of its cluster; use the same name, or the address of another node", h.cluster)}
	}
	return nil
}

// refuseNode judges what a dialer that has proven the secret wants of the node self; nil means go on.
func refuseNode(self Identity, h hello) *refusal {
	switch {
	case h.expect != 0 && self.Node == 0:
		return &refusal{refusedUnready, fmt.Sprintf("it is not a member yet, so it is not node %v", h.expect)}
	case h.expect != 0 && h.expect != self.Node:
		return &refusal{refusedNode, fmt.Sprintf("it is node %v, not %v; the address belongs to another node now", self.Node, h.expect)}
	case h.purpose != PurposePeer:
		return nil
	case self.Node == 0:
		return &refusal{refusedUnready, "it is not a member yet"}
	case h.self.Node == 0:
		return &refusal{refusedSelf, "only members open peer connections, and the dialer has no node id"}
	case h.self.Node == self.Node:
		return &refusal{refusedSelf, fmt.Sprintf("the dialer says it is node %v, which is the id of the node it dialed", self.Node)}
	}
	return nil
}

func refuseSecret() *refusal {
	return &refusal{refusedSecret, "the shared secrets differ; give every node the same secret"}
}

func refuseIncarnation(peer Identity) *refusal {
	return &refusal{refusedIncarnation, fmt.Sprintf(
		"another process is connected as node %v; a node that restarts must join again under a new id", peer.Node)}
}

func refuseBusy() *refusal { return &refusal{refusedBusy, "the two nodes are connecting already"} }

// printable returns foreign text fit for one line of a log or a terminal.
func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(text))
}
