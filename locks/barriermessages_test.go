package locks

import (
	"fmt"
	"testing"

	"pagemesh/pagetable"
)

// meet has all parties of a barrier arrive, in the order of their nodes or interleaved, and returns how many messages
// its home, n1, has sent and received.
func (c *cluster) meet(perNode int, interleaved bool) (messages int) {
	count := func(list []Message) { messages += len(list) }
	arrive := func(h *host) { c.step(event{kind: begin, node: h.id}) }
	if interleaved {
		for range perNode {
			for _, h := range c.hosts {
				arrive(h)
			}
		}
	} else {
		for _, h := range c.hosts {
			for range perNode {
				arrive(h)
			}
		}
	}
	for again := true; again; {
		again = false
		for _, h := range c.hosts[1:] {
			for _, way := range [][2]pagetable.NodeID{{h.id, 1}, {1, h.id}} {
				count(c.wire(way[0], way[1]))
				for len(c.wire(way[0], way[1])) > 0 {
					c.step(event{kind: deliver, from: way[0], node: way[1]})
					again = true
				}
			}
		}
	}
	return messages
}

// TestBarrierMessages: from the second phase on the home hears of each other node once, and tells it once, however
// many of the parties it has.
func TestBarrierMessages(t *testing.T) {
	for _, parties := range []int{32, 64} {
		for nodes := 2; nodes <= parties; nodes *= 2 {
			perNode := parties / nodes
			t.Run(fmt.Sprintf("%d nodes of %d", nodes, perNode), func(t *testing.T) {
				c := newCluster(nodes, 1, barrierSpec("b", parties))
				first := c.meet(perNode, true)
				second := c.meet(perNode, false)
				third := c.meet(perNode, true)
				t.Logf("%d messages in the first phase, %d and %d in the next ones", first, second, third)
				if want := 2 * (nodes - 1); second != want || third != want {
					t.Errorf("want %d", want)
				}
				if c.broken != "" {
					t.Error(c.broken)
				}
			})
		}
	}
}

// TestBarrierPatternChanges: one node has fewer of the parties than before, another one more.
func TestBarrierPatternChanges(t *testing.T) {
	c := newCluster(3, 1, barrierSpec("b", 8))
	for _, arrivals := range [][3]int{{2, 2, 4}, {2, 2, 4}, {2, 3, 3}, {8, 0, 0}, {0, 1, 7}, {1, 7, 0}, {4, 0, 4}} {
		for i, n := range arrivals {
			for range n {
				c.step(event{kind: begin, node: pagetable.NodeID(i + 1)})
			}
		}
		c.meet(0, false)
		for _, h := range c.hosts {
			for _, w := range h.waits {
				if w.state != over {
					t.Fatalf("arrivals %v: one at %v still waits", arrivals, h.id)
				}
			}
		}
	}
	if c.broken != "" {
		t.Error(c.broken)
	}
}
