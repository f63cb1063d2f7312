// Package membership gives hints about which members of a cluster are alive.
//
// It runs hashicorp/memberlist, a SWIM gossip protocol, over the node's own endpoint: as if every
// member now and then asked a few others whether the rest still answer. A member that stops answering
// is reported within about a second on an idle cluster.
//
// What it says is a hint and never the truth: a member that is starved of processor time looks dead for
// a while and comes back, two members may disagree for seconds, and a member that left looks like one
// that crashed. Nothing may be decided by it alone; who is a member is said by the cluster's view.
//
// Everything goes through Endpoint.Dial with PurposeGossip. The first byte of such a connection tells
// what it is: a packet channel, which carries the datagrams for one destination, each behind a length
// of two bytes, big-endian; or a stream, which memberlist uses for one exchange. As with datagrams,
// packets get lost: when a destination can't be reached, or doesn't keep up.
//
// See Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership
// Protocol", DSN 2002, and Dadgar, Phillips, Currey, "Lifeguard", 2017.
package membership
