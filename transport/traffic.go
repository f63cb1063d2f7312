package transport

import "sync/atomic"

// Traffic counts what peer connections have carried since the endpoint was made, connections that
// have ended included. Handshakes and streams are not counted.
type Traffic struct {
	// PacketsIn are the packets received, PacketsOut those accepted by Outbox.Send.
	PacketsIn, PacketsOut uint64
	// BytesIn and BytesOut count the same packets in bytes on the wire: headers, bodies and lengths.
	BytesIn, BytesOut uint64
}

// Counters returns what ep has carried so far.
func Counters(ep Endpoint) Traffic { return ep.traffic() }

// traffic counts as Traffic does, from many goroutines.
type traffic struct {
	packetsIn, packetsOut, bytesIn, bytesOut atomic.Uint64
}

func (t *traffic) received(packets, bytes int) {
	t.packetsIn.Add(uint64(packets))
	t.bytesIn.Add(uint64(bytes))
}

func (t *traffic) sent(bytes int) {
	t.packetsOut.Add(1)
	t.bytesOut.Add(uint64(bytes))
}

func (t *traffic) load() Traffic {
	return Traffic{
		PacketsIn: t.packetsIn.Load(), PacketsOut: t.packetsOut.Load(),
		BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(),
	}
}
