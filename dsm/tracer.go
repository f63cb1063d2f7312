package dsm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// TraceQuery selects events.
type TraceQuery struct {
	Region string           // only of pages of this region; "" for all, and locks
	Page   int64            // only of this page of the region; negative for all
	Node   pagetable.NodeID // only what this node has recorded; 0 for all
	Kinds  []trace.Kind     // only of these kinds; empty for all
	// Held: the first Next returns what the nodes have kept. Otherwise it returns nothing, and those after it
	// what has happened since.
	Held bool
}

// Tracer collects the events of all members of a space. It is for one goroutine.
type Tracer struct {
	from  inspector
	query TraceQuery
	read  map[pagetable.NodeID]*reading
	begun bool // the first Next has returned
	codec *trace.Codec
}

// reading is how far the events of one member have been read.
type reading struct {
	question eventQuestion
	clock    trace.Clock // the best estimate so far
}

// Trace returns a Tracer for what q selects. Events are recorded whether somebody collects them or not; who
// collects them more seldom than a node records Config.Events of them loses some, and is told how many.
func (s *Space) Trace(q TraceQuery) *Tracer { return newTracer(s, q) }

// Trace does what Space.Trace does at the node.
func (i *Inspector) Trace(q TraceQuery) *Tracer { return newTracer(i, q) }

func newTracer(from inspector, q TraceQuery) *Tracer {
	return &Tracer{from: from, query: q, read: map[pagetable.NodeID]*reading{}, codec: trace.NewCodec()}
}

// eventQuestion asks a member for events.
type eventQuestion struct {
	Node    pagetable.NodeID   `json:"node"`
	After   cursor             `json:"after"`
	Skip    bool               `json:"skip"`    // only say where the events end
	Regions pagetable.RegionID `json:"regions"` // the last region, site and lock that are known already
	Sites   uint32             `json:"sites"`
	Locks   uint32             `json:"locks"`
	Region  string             `json:"region"`
	Page    int64              `json:"page"`
	Kinds   uint64             `json:"kinds"` // a bit for each kind; 0 for all
}

// namesPerAnswer bounds the regions, sites and locks of an answer, which has to fit a packet.
const namesPerAnswer = 512

// eventAnswer is the head of the answer, a chunk follows.
type eventAnswer struct {
	After   cursor             `json:"after"` // what to ask with for the next ones
	Regions pagetable.RegionID `json:"regions"`
	Sites   uint32             `json:"sites"`
	Locks   uint32             `json:"locks"`
	More    bool               `json:"more"`  // there are more already
	Clock   int64              `json:"clock"` // when it was answered, as the member's clock shows
}

// Next returns what has happened since the last Next at the members of the space, the events of each node in
// their order. A trace.Merger puts the nodes together. Its errors are those of Space.ClusterStats.
func (t *Tracer) Next(ctx context.Context) (trace.Chunk, error) {
	all := trace.Chunk{}
	members, err := ask[[]MemberStatus](ctx, t.from, controlMembers, nil)
	if err != nil {
		return all, err
	}
	for _, m := range members {
		if t.query.Node != 0 && t.query.Node != m.Node {
			continue
		}
		if err := t.collect(ctx, m.Node, &all); err != nil {
			return all, fmt.Errorf("events of %v: %w", m.Node, err)
		}
	}
	t.forget(members, &all)
	t.begun = true
	return all, nil
}

// forget says which nodes are no members any more, so that what they recorded last is missing.
func (t *Tracer) forget(members []MemberStatus, all *trace.Chunk) {
	for _, n := range slices.Sorted(maps.Keys(t.read)) {
		if !slices.ContainsFunc(members, func(m MemberStatus) bool { return m.Node == n }) {
			all.Lost = append(all.Lost, trace.Loss{Node: n})
			delete(t.read, n)
		}
	}
}

// collect adds what is new at one member.
func (t *Tracer) collect(ctx context.Context, n pagetable.NodeID, all *trace.Chunk) error {
	r := t.read[n]
	if r == nil {
		r = &reading{question: t.query.question(n, !t.begun), clock: trace.Clock{Node: n, Error: -1}}
		t.read[n] = r
	}
	for {
		q, err := json.Marshal(r.question)
		if err != nil {
			return err
		}
		b, err := t.from.inspect(ctx, controlEvents, q)
		if err != nil || len(b) == 0 {
			return err // it is about to be no member, if there is none
		}
		more, err := t.take(b, r, all)
		if err != nil || !more {
			return err
		}
	}
}

// question returns the first question for a member. What a member has kept that joins later is new.
func (q *TraceQuery) question(n pagetable.NodeID, first bool) eventQuestion {
	var kinds uint64
	for _, k := range q.Kinds {
		kinds |= 1 << k
	}
	return eventQuestion{Node: n, Region: q.Region, Page: q.Page, Kinds: kinds, Skip: first && !q.Held}
}

// take reads an answer.
func (t *Tracer) take(b []byte, r *reading, all *trace.Chunk) (more bool, err error) {
	a, err := decodeEvents(t.codec, b)
	if err != nil {
		return false, err
	}
	q := &r.question
	q.After, q.Regions, q.Sites, q.Locks, q.Skip = a.head.After, a.head.Regions, a.head.Sites, a.head.Locks, false
	if all.Until == 0 {
		all.Until = a.asked
	}
	all.Add(&a.chunk)
	if best := a.clock(q.Node); r.clock.Error < 0 || best.Error < r.clock.Error {
		r.clock = best
		all.Clocks = append(all.Clocks, best)
	}
	return a.head.More, nil
}

// collected is an answer, with the times at which the node that passed it on has asked and got it.
type collected struct {
	asked, answered int64
	head            eventAnswer
	chunk           trace.Chunk
}

// clock estimates the member's clock (Cristian 1989): it showed Clock between asked and answered.
func (c *collected) clock(n pagetable.NodeID) trace.Clock {
	k := trace.Clock{Node: n, Error: (c.answered - c.asked + 1) / 2}
	if ahead := c.head.Clock - c.asked - k.Error; max(ahead, -ahead) > k.Error {
		k.Ahead = ahead
	}
	return k
}

func decodeEvents(codec *trace.Codec, b []byte) (c collected, err error) {
	if len(b) < 20 || len(b)-20 < int(binary.BigEndian.Uint32(b[16:])) {
		return c, errors.New("the answer is cut off")
	}
	c.asked, c.answered = int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
	head, chunk := b[20:][:binary.BigEndian.Uint32(b[16:])], b[20+binary.BigEndian.Uint32(b[16:]):]
	if err := json.Unmarshal(head, &c.head); err != nil {
		return c, err
	}
	c.chunk, err = codec.Decode(chunk)
	return c, err
}

// passEvents asks a member for events on behalf of a Tracer. An answer without bytes says that it is lost.
func (s *node) passEvents(ctx context.Context, question []byte) ([]byte, error) {
	var q eventQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("event question: %w", err)
	}
	asked := s.since1970(time.Now())
	b, err := s.call(ctx, q.Node, callEvents, question)
	if errors.Is(err, ErrNodeLost) && s.refusal() == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	times := binary.BigEndian.AppendUint64(nil, uint64(asked))
	return append(binary.BigEndian.AppendUint64(times, uint64(s.since1970(time.Now()))), b...), nil
}

// answerEvents answers an eventQuestion.
func (s *node) answerEvents(question []byte) ([]byte, error) {
	var q eventQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("event question: %w", err)
	}
	head := eventAnswer{After: q.After, Clock: s.since1970(time.Now())}
	chunk := trace.Chunk{}
	if q.Skip {
		head.After = s.events.end()
	} else {
		var lost uint64
		chunk.Events, lost = s.events.read(&head.After, nil, trace.MaxEvents, s.selects(&q))
		if lost > 0 {
			chunk.Lost = []trace.Loss{{Node: s.self, Events: lost}}
		}
	}
	// What the events name was known before they were recorded.
	chunk.Regions, head.Regions = s.regionsAfter(q.Regions)
	chunk.Sites = s.sites.since(q.Sites, namesPerAnswer, s.self)
	head.Sites = q.Sites + uint32(len(chunk.Sites))
	chunk.Locks = s.lockNames.since(q.Locks, namesPerAnswer)
	head.Locks = q.Locks + uint32(len(chunk.Locks))
	head.More = len(chunk.Events) == trace.MaxEvents || max(len(chunk.Regions), len(chunk.Sites), len(chunk.Locks)) == namesPerAnswer
	b, err := marshal(head)
	if err != nil {
		return nil, err
	}
	answer := append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	return append(answer, trace.NewCodec().Encode(&chunk)...), nil
}

// selects returns whether an event is wanted.
func (s *node) selects(q *eventQuestion) func(*trace.Event) bool {
	wanted := map[pagetable.RegionID]bool{}
	for meta := range s.view().Regions.All() {
		wanted[meta.ID] = meta.Name == q.Region
	}
	return func(e *trace.Event) bool {
		switch {
		case q.Kinds != 0 && q.Kinds>>e.Kind&1 == 0:
			return false
		case q.Region == "":
			return true
		}
		return !e.Kind.OfLock() && wanted[e.Page.Region()] && (q.Page < 0 || e.Page.Index() == uint64(q.Page))
	}
}

// regionsAfter describes the regions with ids above last, and returns the last id.
func (s *node) regionsAfter(last pagetable.RegionID) ([]trace.Region, pagetable.RegionID) {
	var list []trace.Region
	for r := range s.view().Regions.All() {
		if r.ID > last {
			list = append(list, trace.Region{
				ID: r.ID, Name: r.Name, Size: r.Size, PageSize: r.PageSize, Consistency: r.Consistency, Layout: r.Layout,
			})
		}
	}
	slices.SortFunc(list, func(a, b trace.Region) int { return int(a.ID) - int(b.ID) })
	list = list[:min(len(list), namesPerAnswer)]
	if n := len(list); n > 0 {
		last = list[n-1].ID
	}
	return list, last
}
