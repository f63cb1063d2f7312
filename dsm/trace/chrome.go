package trace

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"pagemesh/pagetable"
)

// WriteChrome writes events, in the order of a Merger, as JSON in the trace event format of Chrome, which Perfetto
// (ui.perfetto.dev) and chrome://tracing show. Each node is a row: waits are slices, whatever else happened is a
// slice of a microsecond or less, and an arrow leads from where a page or a diff was sent to where it
// arrived. Waits of one node that overlap are on further rows below its first one.
func WriteChrome(w io.Writer, names *Names, events []Event) error {
	out := bufio.NewWriter(w)
	c := chrome{out: json.NewEncoder(out), w: out, names: names, events: events}
	_, _ = out.WriteString("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n") // Flush returns its error
	if len(events) > 0 {
		c.first = c.start()
		c.arrows()
		for n, list := range c.byNode() {
			c.node(n, list)
		}
	}
	_, _ = out.WriteString("]}\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("trace: write: %w", err)
	}
	return nil
}

// instant is the longest slice of what takes no time, in nanoseconds.
const instant = 1000

// chrome is a trace that is being written.
type chrome struct {
	out    *json.Encoder
	w      *bufio.Writer
	names  *Names
	events []Event
	first  int64 // the time that is shown as 0
	some   bool  // an entry is written
	// sends and receives are the arrows that begin and end at an event, by its index.
	sends, receives map[int]int
}

// entry is an element of traceEvents.
type entry struct {
	Name  string         `json:"name,omitempty"`
	Phase string         `json:"ph"`
	Cat   string         `json:"cat,omitempty"`
	Time  micros         `json:"ts"`
	Dur   *micros        `json:"dur,omitempty"`
	Node  uint32         `json:"pid"`
	Row   int            `json:"tid"`
	ID    int            `json:"id,omitempty"`
	Bind  string         `json:"bp,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// micros are nanoseconds that are shown as microseconds.
type micros int64

// MarshalJSON implements json.Marshaler.
func (m micros) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%03d", int64(m)/1000, int64(m)%1000), nil
}

func (c *chrome) write(e entry) {
	if c.some {
		_ = c.w.WriteByte(',')
	}
	c.some = true
	_ = c.out.Encode(e) // a bufio.Writer keeps the error
}

// start returns the earliest time that is shown.
func (c *chrome) start() int64 {
	t := c.events[0].Time
	for i := range c.events {
		t = min(t, c.events[i].Time-c.events[i].Wait)
	}
	return t
}

// arrows finds what has arrived of what was sent.
func (c *chrome) arrows() {
	c.sends, c.receives = map[int]int{}, map[int]int{}
	sent := map[move][]int{}
	for i := range c.events {
		e := queued{Event: c.events[i]}
		if mv, ok := e.begins(); ok && e.Bytes > 0 {
			sent[mv] = append(sent[mv], i)
			continue
		}
		if e.Kind != Receive && e.Kind != Merge {
			continue
		}
		mv := e.ends()[0]
		if from := sent[mv]; len(from) > 0 {
			c.sends[from[0]], c.receives[i] = i+1, i+1
			sent[mv] = from[1:]
		}
	}
}

// shown is an event as a slice.
type shown struct {
	index      int // of the event
	start, end int64
	row        int
	open       bool // the wait has not ended
}

// byNode returns the slices of each node, those that begin first before others, and of these the longest.
func (c *chrome) byNode() func(yield func(pagetable.NodeID, []shown) bool) {
	nodes := map[pagetable.NodeID][]shown{}
	waiting := map[holding][]int{}
	end := c.first
	for i := range c.events {
		e := &c.events[i]
		end = max(end, e.Time)
		h := holding{e.Node, e.Page}
		switch {
		case e.Kind == Fault:
			waiting[h] = append(waiting[h], i)
			continue
		case e.Kind == Served || e.Kind == Failed:
			if len(waiting[h]) > 0 {
				waiting[h] = waiting[h][1:]
			}
		}
		nodes[e.Node] = append(nodes[e.Node], shown{index: i, start: e.Time - e.Wait, end: e.Time})
	}
	for h, list := range waiting {
		for _, i := range list {
			nodes[h.node] = append(nodes[h.node], shown{index: i, start: c.events[i].Time, end: end, open: true})
		}
	}
	return func(yield func(pagetable.NodeID, []shown) bool) {
		order := make([]pagetable.NodeID, 0, len(nodes))
		for n, list := range nodes {
			slices.SortStableFunc(list, func(a, b shown) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
			order = append(order, n)
		}
		slices.Sort(order)
		for _, n := range order {
			if !yield(n, nodes[n]) {
				return
			}
		}
	}
}

// waits reports whether a slice is a wait, and not of something that takes no time.
func (c *chrome) waits(s *shown) bool { return s.open || c.events[s.index].Kind.Waits() }

// node writes what is on the rows of one node.
func (c *chrome) node(n pagetable.NodeID, list []shown) {
	rows := c.arrange(list)
	c.write(entry{Name: "process_name", Phase: "M", Node: uint32(n), Args: map[string]any{"name": n.String()}})
	c.write(entry{Name: "process_sort_index", Phase: "M", Node: uint32(n), Args: map[string]any{"sort_index": n}})
	for row := range rows {
		name := n.String()
		if row > 0 {
			name = fmt.Sprintf("%v, wait %d at once", n, row+1)
		}
		c.write(entry{Name: "thread_name", Phase: "M", Node: uint32(n), Row: row, Args: map[string]any{"name": name}})
	}
	for i := range list {
		c.slice(n, &list[i])
	}
}

// arrange puts waits that overlap on different rows, and cuts what takes no time so that it lies in a wait or
// between two. It returns how many rows there are, at least one.
func (c *chrome) arrange(list []shown) int {
	var ends []int64 // of the last wait in each row
	for i := range list {
		s := &list[i]
		if !c.waits(s) {
			continue
		}
		s.row = slices.IndexFunc(ends, func(end int64) bool { return end <= s.start })
		if s.row < 0 {
			s.row = len(ends)
			ends = append(ends, 0)
		}
		ends[s.row] = s.end
	}
	c.cut(list)
	return max(1, len(ends))
}

// cut ends what takes no time on the first row before the next slice begins there, or the wait that it is in ends.
func (c *chrome) cut(list []shown) {
	wait := int64(-1 << 63) // the end of the last one
	for i := range list {
		s := &list[i]
		switch {
		case s.row > 0:
			continue
		case c.waits(s):
			wait = s.end
			continue
		}
		s.end = s.start + instant
		if wait > s.start {
			s.end = min(s.end, wait)
		}
		for j := i + 1; j < len(list) && list[j].start < s.end; j++ {
			if list[j].row == 0 {
				s.end = list[j].start
			}
		}
	}
}

// slice writes one slice, and the ends of arrows at it.
func (c *chrome) slice(n pagetable.NodeID, s *shown) {
	e := &c.events[s.index]
	dur := micros(s.end - s.start)
	at := micros(s.start - c.first)
	c.write(entry{
		Name: c.title(s), Phase: "X", Cat: e.Kind.String(), Time: at, Dur: &dur, Node: uint32(n), Row: s.row, Args: c.args(e),
	})
	if id := c.sends[s.index]; id != 0 {
		c.write(entry{Name: "page", Phase: "s", Cat: "page", Time: at, Node: uint32(n), Row: s.row, ID: id})
	}
	if id := c.receives[s.index]; id != 0 {
		c.write(entry{Name: "page", Phase: "f", Cat: "page", Time: at, Node: uint32(n), Row: s.row, ID: id, Bind: "e"})
	}
}

// title returns what a slice is called: waits by what is waited for.
func (c *chrome) title(s *shown) string {
	e := &c.events[s.index]
	of := c.names.Of(e)
	switch {
	case s.open:
		return fmt.Sprintf("%v %s, still waiting", e.Access, of)
	case e.Kind == Served:
		return fmt.Sprintf("%v %s", e.Access, of)
	case e.Kind == Failed:
		return fmt.Sprintf("%v %s, failed", e.Access, of)
	case e.Kind.OfLock():
		return of
	}
	return fmt.Sprintf("%v %s", e.Kind, of)
}

// args returns what is shown of an event that is selected.
func (c *chrome) args(e *Event) map[string]any {
	args := map[string]any{}
	add := func(name string, value any, on bool) {
		if on {
			args[name] = value
		}
	}
	site := func(n pagetable.NodeID, id uint32) string {
		s, _ := c.names.Site(n, id)
		return s.Line
	}
	add("access", e.Access.String(), e.Access != pagetable.NoAccess)
	add("held", e.Held.String(), e.Held != pagetable.NoAccess)
	add("other", e.Other.String(), e.Other != 0)
	add("bytes", e.Bytes, e.Bytes > 0)
	add("offset", e.Offset, e.Length > 0)
	add("length", e.Length, e.Length > 0)
	add("changed", e.Changed, e.Changed > 0)
	add("waited", time.Duration(e.Wait).String(), e.Kind.Waits())
	add("line", site(e.Node, e.Site), e.Site != 0)
	add("cause", fmt.Sprintf("%v: %v at %s", e.Cause.Node, e.Cause.Access, cmp.Or(site(e.Cause.Node, e.Cause.Site), "an unknown line")), e.Cause.Node != 0)
	return args
}
