package locks

import (
	"cmp"
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// barrierHome is a barrier as its home sees it.
type barrierHome struct {
	id      ID
	name    string
	parties uint32
	phase   uint64 // phases completed
	arrived uint32 // arrivals in the present phase, less than parties
	broken  bool   // a participant or an earlier home is lost; for good
	hurried bool   // in the present phase nobody holds arrivals back any more

	participants []participant // every node that has ever arrived, by ascending id
}

// participant is what a barrier's home knows of one node.
type participant struct {
	node     pagetable.NodeID
	arrived  uint32 // its arrivals in the present phase
	released uint64 // its arrivals that were released, since it knows the barrier
	expected uint64 // how many arrivals it collects before it sends them
}

// find returns the place of a node among the participants and whether it is there.
func (b *barrierHome) find(n pagetable.NodeID) (int, bool) {
	return slices.BinarySearchFunc(b.participants, n, func(p participant, n pagetable.NodeID) int {
		return cmp.Compare(p.node, n)
	})
}

// participant returns a node's entry. A node that is new to this home brings along how many of its
// arrivals were released by homes before.
func (b *barrierHome) participant(n pagetable.NodeID, released uint64) *participant {
	i, ok := b.find(n)
	if !ok {
		b.participants = slices.Insert(b.participants, i, participant{node: n, released: released})
	}
	return &b.participants[i]
}

// arrive counts arrivals of a node one by one, or refuses them.
func (b *barrierHome) arrive(from pagetable.NodeID, msg Message, r *Ready) {
	switch {
	case b.broken:
		b.refuse(from, msg, Lost, r)
	case msg.Parties != b.parties:
		b.refuse(from, msg, Mismatch, r)
	default:
		for range msg.Count {
			b.participant(from, msg.Released).arrived++
			if b.arrived++; b.arrived == b.parties {
				b.complete(r)
			}
		}
		b.hurry(from, r)
	}
}

// hurry has all nodes send what they have if one has sent more than was expected of it: then others have less, and
// would hold it back for ever. Invariant: all that is expected is not more than the parties are. So if as many have
// come as there are parties, either every node has as many as it collects, or one has more and says so.
func (b *barrierHome) hurry(from pagetable.NodeID, r *Ready) {
	p := b.participant(from, 0)
	if b.hurried || uint64(p.arrived) <= p.expected {
		return
	}
	b.hurried = true
	for _, p := range b.participants {
		if uint64(p.arrived) < p.expected {
			b.sendHurry(p.node, r)
		}
	}
}

func (b *barrierHome) sendHurry(to pagetable.NodeID, r *Ready) {
	r.send(to, Message{Kind: Hurry, ID: b.id, Parties: b.parties})
}

func (b *barrierHome) refuse(to pagetable.NodeID, msg Message, why Reason, r *Ready) {
	if msg.Count > 0 {
		r.send(to, Message{Kind: Refuse, ID: b.id, Parties: msg.Parties, Count: msg.Count, Reason: why})
	}
}

// complete ends the present phase. Of every node it expects as many arrivals in the next one.
func (b *barrierHome) complete(r *Ready) {
	b.phase++
	b.arrived, b.hurried = 0, false
	for i := range b.participants {
		p := &b.participants[i]
		if p.arrived == 0 && p.expected == 0 {
			continue
		}
		p.expected = uint64(p.arrived)
		b.release(p, p.expected, r)
		p.released += p.expected
		p.arrived = 0
	}
}

func (b *barrierHome) release(to *participant, count uint64, r *Ready) {
	r.send(to.node, Message{
		Kind: Release, ID: b.id, Parties: b.parties, Phase: b.phase, Count: count, Number: to.expected,
	})
}

// withdraw takes one arrival of a node back. If there is none, all that the node had sent are answered
// already, and that is the answer.
func (b *barrierHome) withdraw(from pagetable.NodeID, msg Message, r *Ready) {
	i, ok := b.find(from)
	if !ok || msg.Parties != b.parties || b.participants[i].arrived == 0 {
		return
	}
	p := &b.participants[i]
	p.arrived--
	b.arrived--
	r.send(from, Message{Kind: Withdrawn, ID: b.id, Parties: b.parties})
	if b.hurried && uint64(p.arrived) < p.expected { // it need not have been told so far
		b.sendHurry(from, r)
	}
}

// newEpoch forgets the arrivals of the present phase; the nodes report them again.
func (b *barrierHome) newEpoch() {
	b.arrived, b.hurried = 0, false
	for i := range b.participants {
		b.participants[i].arrived, b.participants[i].expected = 0, 0
	}
}

// breakIfLost breaks the barrier if one of its participants is lost.
func (b *barrierHome) breakIfLost(lost []pagetable.NodeID) {
	for _, n := range lost {
		if _, ok := b.find(n); ok {
			b.broken = true
		}
	}
}

// report takes up what a node says of the barrier in a new epoch. Arrivals that were released in the
// old one, in a message that the node has refused, are released again; the others count anew.
func (b *barrierHome) report(from pagetable.NodeID, msg Message, r *Ready) {
	if msg.Parties == b.parties {
		p := b.participant(from, msg.Released)
		missed := p.released - msg.Released
		if p.released < msg.Released || missed > msg.Count {
			impossible(from, msg, b)
		}
		if missed > 0 {
			b.release(p, missed, r)
			msg.Count -= missed
			msg.Released += missed
		}
	}
	b.arrive(from, msg, r)
}

// handOver tells the barrier's next home what this one knows.
func (b *barrierHome) handOver(to pagetable.NodeID, r *Ready) {
	for _, p := range b.participants {
		m := Message{
			Kind: Handover, ID: b.id, Name: b.name, Parties: b.parties,
			Phase: b.phase, Node: p.node, Released: p.released,
		}
		if b.broken {
			m.Reason = Lost
		}
		r.send(to, m)
	}
}

// adopt takes up a Handover.
func (b *barrierHome) adopt(from pagetable.NodeID, msg Message) {
	if _, ok := b.find(msg.Node); ok || msg.Parties != b.parties {
		impossible(from, msg, b)
	}
	b.participant(msg.Node, msg.Released)
	b.phase = msg.Phase
	b.broken = b.broken || msg.Reason == Lost
}

// String shows all of the state, for a panic.
func (b *barrierHome) String() string {
	return fmt.Sprintf("barrier %q parties=%d phase=%d arrived=%d broken=%v participants=%v",
		b.name, b.parties, b.phase, b.arrived, b.broken, b.participants)
}
