package locks

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

var update = flag.Bool("update", false, "write what happens into testdata instead of comparing")

// TestScenarios runs the files in testdata/scenarios. A file first says what there is:
//
//	nodes 3
//	mutex m at n1
//	barrier b of 2 at n1
//	semaphore s of 3 at n1
//	rwmutex rw at n1
//	counter c at n1
//	election e at n1
//	once o at n1
//	condition k at n1
//
// Then each line that is not indented is an event, and the indented lines after it are what comes of
// it: messages that are sent, and waits that end. A message from a node to itself has arrived with the
// event. Events are
//
//	n2 locks m, n2 unlocks m, n2 dies with m (who holds it, not n2), n2 waits at b, n2 waits at b of 3, n2 cancels w1
//	n2 takes 2 of s, n2 takes 2 of s of 4, n2 reads rw, n2 writes rw, n2 puts s (who took first)
//	n2 adds 3 to c, n2 watches c from 5
//	n2 stands for e, n2 resigns e, n2 ends e (who leads), n2 asks who leads e, n2 observes e
//	n2 listens to k, n2 signals k, n2 wakes all of k
//	n1→n2                the first message under way from n1 to n2 arrives
//	n1→n2 is lost        what n1, which has crashed, had sent to n2 never arrives
//	everything arrives   until nothing is under way, in the order of the nodes
//	n2 takes the view    the next one
//	n2 crashes, n2 surrenders, n2 departs, n4 joins, n3 becomes home
//	locks                what the homes know
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			switch {
			case got == string(want):
			case *update:
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("%s says other things than what happens (go test ./locks -run TestScenarios -update writes that):\n%s", f, got)
			}
		})
	}
}

// scenario is a file that is being played.
type scenario struct {
	t     *testing.T
	nodes int
	specs []lockSpec
	homes []pagetable.NodeID
	c     *cluster // nil until the first event
	out   strings.Builder
}

// play returns the text of a scenario with what really happens.
func play(t *testing.T, text string) string {
	s := &scenario{t: t}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue
		}
		fmt.Fprintln(&s.out, line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" || s.header(words) {
			continue
		}
		s.start()
		s.event(line, words)
		if s.c.broken != "" {
			t.Fatalf("%s: %s\n%s", line, s.c.broken, s.out.String())
		}
	}
	return s.out.String()
}

// header takes a line that says what there is.
func (s *scenario) header(words []string) bool {
	switch words[0] {
	case "nodes":
		s.nodes = s.number(words[1])
	case "mutex":
		s.specs = append(s.specs, mutexSpec(words[1]))
	case "barrier":
		s.specs = append(s.specs, barrierSpec(words[1], s.number(words[3])))
	case "semaphore":
		s.specs = append(s.specs, semaphoreSpec(words[1], uint64(s.number(words[3]))))
	case "rwmutex":
		s.specs = append(s.specs, rwSpec(words[1]))
	case "counter":
		s.specs = append(s.specs, counterSpec(words[1]))
	case "election":
		s.specs = append(s.specs, electionSpec(words[1]))
	case "condition":
		s.specs = append(s.specs, condSpec(words[1]))
	case "once":
		s.specs = append(s.specs, onceSpec(words[1]))
	default:
		return false
	}
	if words[0] != "nodes" {
		s.homes = append(s.homes, s.node(words[len(words)-1]))
	}
	return true
}

func (s *scenario) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.t.Fatalf("%q is no number", word)
	}
	return n
}

func (s *scenario) node(word string) pagetable.NodeID {
	return pagetable.NodeID(s.number(strings.TrimPrefix(word, "n")))
}

func (s *scenario) lock(word string) int {
	for i, l := range s.specs {
		if l.name == word {
			return i
		}
	}
	s.t.Fatalf("no lock %q", word)
	return 0
}

// another returns the lock with another number of parties or permits.
func (s *scenario) another(lock, n int) int {
	for i, l := range s.specs {
		if l.id == s.specs[lock].id && (l.parties == n || l.permits == uint64(n)) {
			return i
		}
	}
	s.t.Fatalf("no %s of %d", s.specs[lock].name, n)
	return 0
}

func (s *scenario) start() {
	if s.c != nil {
		return
	}
	s.c = newCluster(s.nodes, 1, s.specs...)
	copy(s.c.homes, s.homes)
	s.c.trace = func(effect string) { fmt.Fprintln(&s.out, "    "+effect) }
}

func (s *scenario) event(line string, words []string) {
	switch line {
	case "everything arrives":
		s.settle()
		return
	case "locks":
		s.status()
		return
	}
	if e := s.parse(words); e.kind == 0 {
		s.t.Fatalf("%q is no event", line)
	} else {
		s.c.step(e)
		s.c.checkAlways()
	}
}

func (s *scenario) parse(words []string) event {
	if from, to, ok := strings.Cut(words[0], "→"); ok {
		e := event{kind: deliver, from: s.node(from), node: s.node(to)}
		if len(words) > 1 {
			e.kind = lose
		}
		return e
	}
	e := event{node: s.node(words[0])}
	last := words[len(words)-1]
	switch words[1] {
	case "locks":
		e.kind, e.lock = begin, s.lock(last)
	case "waits":
		e.kind, e.lock = begin, s.lock(words[3])
		if len(words) > 4 {
			e.lock = s.another(e.lock, s.number(last))
		}
	case "reads":
		e.kind, e.lock, e.count = begin, s.lock(last), 1
	case "writes":
		e.kind, e.lock, e.count = begin, s.lock(last), Everything
	case "stands", "asks", "observes", "listens", "signals", "wakes":
		counts := map[string]uint64{
			"stands": 1, "asks": watchFrom, "observes": watchFrom + 1,
			"listens": enlisting, "signals": signaling, "wakes": broadcasting,
		}
		e.kind, e.lock, e.count = begin, s.lock(last), counts[words[1]]
	case "resigns", "ends":
		e.kind, e.w = end, s.holder(e.node, s.lock(last))
		if words[1] == "ends" {
			s.c.host(e.node).waits[e.w-1].count = endElection
		}
	case "adds":
		e.kind, e.lock, e.count = begin, s.lock(last), uint64(s.number(words[2]))
	case "watches":
		e.kind, e.lock, e.count = begin, s.lock(words[2]), watchFrom+uint64(s.number(last))
	case "takes":
		s.parseTake(&e, words)
	case "unlocks", "puts":
		e.kind, e.w = end, s.holder(e.node, s.lock(last))
	case "dies":
		e.kind, e.w = die, s.holder(e.node, s.lock(last))
	case "cancels":
		e.kind, e.w = cancel, Waiter(s.number(strings.TrimPrefix(last, "w")))
	default:
		e.kind = map[string]eventKind{
			"crashes": crash, "surrenders": surrender, "departs": depart, "joins": join,
			"becomes": move,
		}[words[1]]
	}
	return e
}

// parseTake takes "n2 takes the view", "n2 takes 1 of s" or "n2 takes 1 of s of 4".
func (s *scenario) parseTake(e *event, words []string) {
	if words[2] == "the" {
		e.kind = perform
		return
	}
	e.kind, e.lock, e.count = begin, s.lock(words[4]), uint64(s.number(words[2]))
	if len(words) > 5 {
		e.lock = s.another(e.lock, s.number(words[6]))
	}
}

func (s *scenario) holder(n pagetable.NodeID, lock int) Waiter {
	for i, w := range s.c.host(n).waits {
		if w.lock == lock && w.state == holding {
			return Waiter(i + 1)
		}
	}
	s.t.Fatalf("%v does not hold %s", n, s.specs[lock].name)
	return 0
}

// settle has everything arrive.
func (s *scenario) settle() {
	for again := true; again; {
		again = false
		for _, from := range s.c.hosts {
			for _, to := range s.c.hosts {
				for to.fate.alive() && s.c.deliverable(from.id, to.id) && s.c.broken == "" {
					s.c.step(event{kind: deliver, from: from.id, node: to.id})
					s.c.checkAlways()
					again = true
				}
			}
		}
	}
}

func (s *scenario) status() {
	for _, h := range s.c.hosts {
		if !h.fate.alive() {
			continue
		}
		for _, l := range h.m.Status() {
			fmt.Fprintf(&s.out, "    home %v: %s\n", h.id, statusText(l))
		}
	}
}

func statusText(l LockStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", l.Kind, l.Name)
	switch l.Kind {
	case "mutex":
		fmt.Fprintf(&b, " at %v, waiting %v, token %v, acquired %d times", l.Holder, l.Waiting, l.Token, l.Acquires)
	case "rwmutex":
		fmt.Fprintf(&b, " writer %v, of %v, waiting %v, token %v, written %d times", l.Holder, l.Holders, l.Waiting, l.Token, l.Acquires)
	case "semaphore":
		fmt.Fprintf(&b, " %d of %d free, others at %v, waiting %v", l.Free, l.Permits, l.Holders, l.Waiting)
	case "counter":
		fmt.Fprintf(&b, " is %d, watched from %v", l.Value, l.Waiting)
	case "cond":
		fmt.Fprintf(&b, " waiting %v", l.Waiting)
	case "election", "once":
		fmt.Fprintf(&b, " led by %v, waiting %v, token %v, over %v", l.Holder, l.Waiting, l.Token, l.Over)
	default:
		fmt.Fprintf(&b, " %d of %d arrived from %v, %d phases", l.Arrived, l.Parties, l.Waiting, l.Acquires)
	}
	if l.OwnerDied {
		b.WriteString(", owner died")
	}
	if l.Broken {
		b.WriteString(", broken")
	}
	return b.String()
}
