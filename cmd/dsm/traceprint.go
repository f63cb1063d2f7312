package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// tracedEvent is an event as JSON has it.
type tracedEvent struct {
	Time     int64        `json:"time"`
	Node     uint32       `json:"node"`
	Kind     string       `json:"kind"`
	Region   string       `json:"region,omitempty"`
	Page     *uint64      `json:"page,omitempty"`
	Lock     string       `json:"lock,omitempty"`
	Access   string       `json:"access,omitempty"`
	Held     string       `json:"held,omitempty"`
	Other    uint32       `json:"other,omitempty"`
	Offset   *uint32      `json:"offset,omitempty"`
	Length   uint32       `json:"length,omitempty"`
	Bytes    uint32       `json:"bytes,omitempty"`
	Wait     *int64       `json:"wait_ns,omitempty"`
	Txn      uint64       `json:"txn,omitempty"`
	Changed  uint32       `json:"changed,omitempty"`
	Words    uint64       `json:"words,omitempty"`
	Line     string       `json:"line,omitempty"`
	Function string       `json:"function,omitempty"`
	Guessed  bool         `json:"guessed,omitempty"`
	Cause    *tracedCause `json:"cause,omitempty"`
	Events   uint64       `json:"events,omitempty"` // that were lost
}

// tracedCause is the access that took the page away.
type tracedCause struct {
	Node     uint32 `json:"node"`
	Access   string `json:"access"`
	Line     string `json:"line,omitempty"`
	Function string `json:"function,omitempty"`
}

// print writes events in one piece.
func (s *traceSink) print(events []trace.Event) error {
	if s.out == nil || len(events) == 0 {
		return nil
	}
	var b bytes.Buffer
	for i := range events {
		if !s.json {
			b.WriteString(s.line(&events[i]) + "\n")
		} else if err := output.WriteJSONLine(&b, s.traced(&events[i])); err != nil {
			return err
		}
	}
	return s.emit(b.Bytes())
}

func (s *traceSink) emit(b []byte) error {
	if _, err := s.out.Write(b); err != nil {
		return fmt.Errorf("write the events: %w", err)
	}
	return nil
}

// printLoss says that events of a node are missing before that time.
func (s *traceSink) printLoss(before int64, l trace.Loss) error {
	if s.out == nil {
		return nil
	}
	kind, text := "lost", output.Number(l.Events, "event")+" of it"
	if l.Events == 0 {
		kind, text = "gone", "with what it recorded last"
	}
	if !s.json {
		return s.emit(fmt.Appendf(nil, "%s  %-4v %-11s %s\n", clock(before), l.Node, kind, text))
	}
	var b bytes.Buffer
	if err := output.WriteJSONLine(&b, tracedEvent{Time: before, Node: uint32(l.Node), Kind: kind, Events: l.Events}); err != nil {
		return err
	}
	return s.emit(b.Bytes())
}

func (s *traceSink) traced(e *trace.Event) tracedEvent {
	t := tracedEvent{
		Time: e.Time, Node: uint32(e.Node), Kind: e.Kind.String(), Access: right(e.Access), Held: right(e.Held), Other: uint32(e.Other),
		Bytes: e.Bytes, Txn: e.Txn, Changed: e.Changed, Words: e.Words, Guessed: e.Guessed, Length: e.Length,
	}
	if e.Kind.OfLock() {
		t.Lock = s.names.Of(e)
	} else {
		r, _ := s.names.Region(e.Page.Region())
		index := e.Page.Index()
		t.Region, t.Page = r.Name, &index
	}
	if e.Length > 0 {
		t.Offset = &e.Offset
	}
	if e.Kind.Waits() {
		t.Wait = &e.Wait
	}
	t.Line, t.Function = s.siteOf(e.Node, e.Site)
	if c := e.Cause; c.Node != 0 {
		t.Cause = &tracedCause{Node: uint32(c.Node), Access: right(c.Access)}
		t.Cause.Line, t.Cause.Function = s.siteOf(c.Node, c.Site)
	}
	return t
}

// right returns a right as JSON has it.
func right(a pagetable.Access) string {
	if a == pagetable.NoAccess {
		return ""
	}
	return a.String()
}

// clock returns a time of day with all that is known of it.
func clock(ns int64) string { return time.Unix(0, ns).Format("15:04:05.000000000") }

// line returns an event as people read it.
func (s *traceSink) line(e *trace.Event) string {
	return strings.TrimRight(fmt.Sprintf("%s  %-4v %-11v %-16s %s", clock(e.Time), e.Node, e.Kind, s.names.Of(e), strings.Join(s.details(e), ", ")), " ")
}

// prepositions say what the other node has to do with an event.
var prepositions = map[trace.Kind]string{
	trace.Fault: "home", trace.Ahead: "home", trace.Served: "from", trace.Forward: "owner", trace.Grant: "to", trace.Receive: "from",
	trace.Flush: "to", trace.Merge: "from", trace.Update: "to", trace.Handoff: "to", trace.Lock: "from", trace.Barrier: "from",
}

func (s *traceSink) details(e *trace.Event) (list []string) {
	add := func(on bool, format string, args ...any) {
		if on {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	upgrade := e.Access == pagetable.WriteAccess && e.Held == pagetable.ReadAccess
	add(e.Access != pagetable.NoAccess && !upgrade, "%v", e.Access)
	add(upgrade, "write, can read")
	add(e.Access == pagetable.NoAccess && e.Held != pagetable.NoAccess, "could %v", e.Held)
	add(e.Length == 1, "byte %d", e.Offset)
	add(e.Length > 1, "bytes [%d,%d)", e.Offset, e.Offset+e.Length)
	add(e.Kind.Waits(), "waited %s", output.Duration(time.Duration(e.Wait)))
	word, ok := prepositions[e.Kind]
	add(ok && e.Other != 0, "%s %v", word, e.Other)
	add(e.Bytes > 0, "%s", output.Bytes(uint64(e.Bytes)))
	add(e.Changed > 0, "%s written", output.Bytes(uint64(e.Changed)))
	line, _ := s.siteOf(e.Node, e.Site)
	add(line != "" && !e.Guessed, "%s", strings.TrimSpace(at(line)))
	add(line != "" && e.Guessed, "probably%s", at(line))
	line, _ = s.siteOf(e.Cause.Node, e.Cause.Site)
	add(e.Cause.Node != 0, "because of %v's %v%s", e.Cause.Node, e.Cause.Access, at(line))
	return list
}
