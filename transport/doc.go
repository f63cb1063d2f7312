// Package transport moves packets between the nodes of a cluster.
//
// A node has one Endpoint with one address for everything: packets between members, the streams of
// the membership library, requests from outside. It behaves as if every pair of nodes had one pipe in
// each direction that delivers what was sent, in order, until the moment it breaks: delivery is first
// in first out between two nodes, at most once, and nothing is promised across pairs. A pipe that
// broke stays broken until somebody calls Endpoint.Connect again.
//
// # A connection's life
//
//	stranger ──handshake──▶ admitted ──▶ up ──▶ draining ──▶ down
//	   │                        │         │                   ▲
//	   └──▶ refused             └─stream  └──────broken───────┘
//
// A stranger has five seconds to say hello and to prove that it knows the cluster's secret; nothing
// else is read from it. Admitted for PurposePeer it becomes the pair's one connection and the handler
// sees Up, packets, Down; admitted for another purpose it goes to Handler.Stream.
//
// # No hand-over on the critical path
//
// The goroutine that reads a connection calls the handler, and what the handler sends is written from
// that same goroutine before it reads again: a request is answered without waking another thread. No
// write ever waits for a slow receiver; what the kernel doesn't take at once goes to a background
// writer, so that two nodes that flood each other can't block each other's readers.
//
// # What it does not do
//
// It doesn't encrypt: the handshake authenticates the two ends and nothing protects the bytes after
// it, which is why addresses other than loopback need Config.Insecure. It doesn't resend, reconnect or
// detect silent failures; package membership gives hints about those.
package transport
