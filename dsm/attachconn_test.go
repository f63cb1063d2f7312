package dsm

import (
	"sync"
	"testing"
	"time"
)

// TestDeadlinesEndWithTheirWrite: the time that one write may take is over when the next one comes later.
func TestDeadlinesEndWithTheirWrite(t *testing.T) {
	from, to := unixPair(t)
	c, other := newAttachConn(from, maxQuestion), newAttachConn(to, maxReply)
	var wg sync.WaitGroup
	for id := range uint64(2) {
		if err := from.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		a := reply{id: id}
		if id == 0 {
			c.writeSoon(a.frame(), &wg, func(err error) { t.Error(err) })
		} else if err := c.write(a.frame()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
		frame, err := other.next()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeReply(frame); got.id != id || err != nil {
			t.Errorf("answer %d, %v, want %d", got.id, err, id)
		}
	}
	wg.Wait()
}
