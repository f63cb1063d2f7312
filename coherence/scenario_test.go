package coherence

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

var update = flag.Bool("update", false, "write what the scenarios in testdata do now into their files")

// TestScenarios plays each file of testdata/scenarios. A line is a command, and the lines below it that
// begin with a tab are what it did. The commands:
//
//	nodes N, homes H...      a new space with one page for each home
//	given EVENT              as EVENT, and what follows from it is delivered, unseen
//	EVENT                    one event, as the type event writes it; page 0 may be left out
//	settle                   everything under way is delivered
//	state                    what each running node knows of its pages
//
// At the end of a file nothing may be left under way or waiting.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(string(want))
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("it does something else now:\n%s\nIf that is right: go test ./coherence -run TestScenarios -update", got)
			}
		})
	}
}

// play returns a scenario with what its commands do now.
func play(text string) ([]byte, error) {
	s := scenario{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		s.out.WriteString(line)
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.command(strings.Fields(line)); err != nil {
			return s.out.Bytes(), fmt.Errorf("%s: %w", line, err)
		}
	}
	return s.out.Bytes(), s.end()
}

// scenario is a cluster that a file commands.
type scenario struct {
	c   *cluster
	out bytes.Buffer
}

func (s *scenario) command(words []string) error {
	if words[0] == "nodes" {
		return s.begin(words)
	}
	if s.c == nil {
		return errors.New("a scenario begins with nodes")
	}
	switch words[0] {
	case "given":
		s.c.log = nil
		err := s.event(words[1:])
		if err == nil {
			err = s.settle()
		}
		s.c.log = s.show
		return err
	case "settle":
		return s.settle()
	case "state":
		s.state()
		return nil
	}
	return s.event(words)
}

// begin makes the cluster. Anything may happen to it.
func (s *scenario) begin(words []string) error {
	if len(words) < 4 || words[2] != "homes" {
		return errors.New("want: nodes N homes H...")
	}
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	var homes []pagetable.NodeID
	for _, w := range words[3:] {
		h, err := parseNode(w)
		if err != nil {
			return err
		}
		homes = append(homes, h)
	}
	s.c = newCluster(n, homes...)
	s.c.crashes, s.c.leaves, s.c.joins = n, n, make([]string, n)
	s.c.log = s.show
	return nil
}

func (s *scenario) show(format string, args ...any) {
	fmt.Fprintf(&s.out, "\t"+format+"\n", args...)
}

// event makes one event happen, if it can.
func (s *scenario) event(words []string) error {
	e, err := parseEvent(words)
	if err != nil {
		return err
	}
	if e.kind == access {
		if n := s.c.node(e.node); n.status != running || n.leaving {
			return fmt.Errorf("%v has no program any more", e.node)
		}
		return s.c.do(e)
	}
	can := s.c.enabled(nil)
	i := slices.IndexFunc(can, func(o event) bool {
		if o.kind == deliver {
			e.page = o.page // the line does not say it
		}
		return o == e
	})
	if i < 0 {
		return fmt.Errorf("it can't happen now, but these can: %v", can)
	}
	return s.c.do(can[i])
}

// settle delivers what is under way, and what that sends, link by link.
func (s *scenario) settle() error {
	for {
		i := slices.IndexFunc(s.c.links, func(l link) bool { return s.c.canDeliver(&l) })
		if i < 0 {
			return nil
		}
		e := s.c.links[i].delivery()
		s.c.note("%v", e)
		if err := s.c.do(e); err != nil {
			return err
		}
	}
}

func (s *scenario) state() {
	for _, sl := range s.c.places {
		if sl.place.live && s.c.isRunning(sl.place.page.self) {
			s.show("%v, v%d", &sl.place.page, sl.place.frame)
		}
	}
}

// end fails if something is left to be done.
func (s *scenario) end() error {
	if s.c == nil {
		return errors.New("no commands")
	}
	for _, e := range s.c.enabled(nil) {
		if e.kind != crash && e.kind != leave && e.kind != join {
			return fmt.Errorf("at the end, this can still happen: %v", e)
		}
	}
	return s.c.atRest()
}

func parseNode(s string) (pagetable.NodeID, error) {
	var n pagetable.NodeID
	if _, err := fmt.Sscanf(s, "n%d", &n); err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no node", s)
	}
	return n, nil
}

// parseEvent is the inverse of event.String.
func parseEvent(words []string) (event, error) {
	if len(words) < 2 {
		return event{}, fmt.Errorf("%q is no event", words)
	}
	verb, arg := words[1], 0
	if from, to, ok := strings.Cut(words[0], "→"); ok {
		return parseDelivery(from, to, verb)
	}
	n, err := parseNode(words[0])
	if err != nil {
		return event{}, err
	}
	if len(words) > 2 {
		if arg, err = strconv.Atoi(words[2]); err != nil {
			return event{}, err
		}
	}
	if o := slices.Index(opNames[:], verb); o >= 0 {
		return event{kind: access, node: n, page: arg, op: op(o)}, nil
	}
	if o := slices.Index(opNames[:], strings.TrimPrefix(verb, "un")); o >= 0 {
		return event{kind: unpin, node: n, page: arg, op: op(o)}, nil
	}
	kind := eventKind(max(0, slices.Index(eventNames[:], verb)))
	switch kind {
	case deliver:
		return event{}, fmt.Errorf("%q is no event", words)
	case install:
		return event{kind: kind, node: n, view: arg}, nil
	}
	return event{kind: kind, node: n, page: arg}, nil
}

// parseDelivery needs to be told the message, so that a scenario says what arrives.
func parseDelivery(from, to, message string) (event, error) {
	f, err := parseNode(from)
	if err != nil {
		return event{}, err
	}
	t, err := parseNode(to)
	if err != nil {
		return event{}, err
	}
	k := slices.Index(kindNames[:], message)
	if k < 0 {
		return event{}, fmt.Errorf("%q is no message", message)
	}
	return event{kind: deliver, node: t, from: f, message: Kind(k)}, nil
}
