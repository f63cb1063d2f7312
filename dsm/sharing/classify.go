package sharing

import (
	"cmp"
	"slices"

	"pagemesh/pagetable"
)

// Thresholds. Each is a share, or a number of events, at which a reading becomes likelier than its opposite; the
// classes that they part are alike near them, so none is tuned.
const (
	// enough is the least number of events that make a share: of fewer, one that went astray is more than a
	// tenth.
	enough = 8
	// mostly is a share of events that makes them the rule.
	mostly = 0.5
	// nearlyAlways is a share that leaves room for a first fetch and for what happens before a lock is first used.
	nearlyAlways = 0.75
	// queuedOften is the share of requests that wait at the home for each other from which on a page is in
	// demand. Nodes that take turns never do; two that are both after a page all the time make it a half.
	queuedOften = 0.25
	// samplesMissed: of n reads that began at random words, none of which was written, at most 3/n are of
	// written ones, with 95 % confidence (the rule of three).
	samplesMissed = 3
	// mostSure bounds the confidence of an estimate from first touches, since what is read after them isn't seen.
	mostSure = 0.9
)

// Verdict is what Classify finds.
type Verdict struct {
	Class Class `json:"class"`
	// Proven: the class follows from words that were written. Otherwise Confidence says how likely it is, from 0
	// to 1.
	Proven     bool    `json:"proven"`
	Confidence float64 `json:"confidence"`
	// Thrashes: nodes lose the page before they have used it for as long as it takes to fetch it, and want it back
	// at once. It goes with Thrashing, and with FalselyShared.
	Thrashes bool             `json:"thrashes"`
	Home     pagetable.NodeID `json:"home"`
	// BetterHome is the node that should be the page's home, since that one takes no part; 0 if the home is as good
	// as any.
	BetterHome pagetable.NodeID `json:"better_home"`
	// Lock is the mutex of LockApart.
	Lock string `json:"lock"`
	// Writers and Readers are the nodes that write it as a rule, and those that only read it.
	Writers []pagetable.NodeID `json:"writers"`
	Readers []pagetable.NodeID `json:"readers"`
	Sum     Counts             `json:"sum"` // over all nodes
	// Asked and Queued are those of the Page, as Home is.
	Asked  uint64 `json:"asked"`
	Queued uint64 `json:"queued"`
}

// survey is a Page in the course of Classify.
type survey struct {
	Verdict
	nodes   []Node // ascending
	words   map[pagetable.NodeID][]Span
	overlap []Span // words of two writers or more
}

// Classify says how nodes share a page.
func Classify(p Page) Verdict {
	s := look(p)
	s.Class = s.class()
	s.Thrashes = s.thrashes() && (s.Class == Thrashing || s.Class == FalselyShared)
	s.BetterHome = s.betterHome()
	if s.Class == LockApart {
		s.Lock = s.lock()
	}
	s.Confidence = s.confidence()
	return s.Verdict
}

func look(p Page) *survey {
	s := &survey{words: map[pagetable.NodeID][]Span{}}
	s.Home, s.Asked, s.Queued = p.Home, p.Asked, p.Queued
	s.Writers, s.Readers = []pagetable.NodeID{}, []pagetable.NodeID{}
	s.nodes = slices.SortedFunc(slices.Values(p.Nodes), func(a, b Node) int { return cmp.Compare(a.Node, b.Node) })
	recurs := slices.ContainsFunc(s.nodes, func(n Node) bool { return len(n.Again) > 0 })
	var all []Span
	for _, n := range s.nodes {
		s.Sum.add(n.Counts)
		words := n.writes(recurs)
		if len(words) == 0 {
			if n.ReadFaults > 0 || n.Faults() > 0 && len(n.Written) == 0 {
				s.Readers = append(s.Readers, n.Node)
			}
			continue
		}
		s.Writers = append(s.Writers, n.Node)
		s.words[n.Node] = words
		s.overlap = union(s.overlap, common(all, words))
		all = union(all, words)
	}
	return s
}

// writes returns the words that the node writes as a rule. recurs says that some node has such: then what was
// written once, by a node that was hardly ever here, was to set it up.
func (n Node) writes(recurs bool) []Span {
	const visits = 2
	switch {
	case len(n.Again) > 0:
		return n.Again
	case recurs && n.Tenures <= visits:
		return nil
	}
	return n.Written
}

// reads returns the words at which the node's reads begin as a rule.
func (n Node) reads() []Span {
	if len(n.ReadAgain) > 0 {
		return n.ReadAgain
	}
	return n.Read
}

func (s *survey) class() Class {
	switch {
	case len(s.nodes) < 2 || s.Sum.Faults() == 0:
		return s.alone()
	case s.Sum.Returns == 0 && len(s.Writers) > 0 && len(s.Readers) == 0:
		return FirstTouch
	case s.Sum.Returns == 0 || len(s.Writers) == 0:
		return ReadMostly
	case len(s.Writers) == 1:
		return s.oneWriter()
	case len(s.overlap) == 0:
		s.Proven = true
		return FalselyShared
	}
	return s.sameWords()
}

func (s *survey) alone() Class {
	if len(s.Writers) == 1 && s.Sum.Faults() > 0 && s.Home != 0 && s.Writers[0] != s.Home {
		return MisplacedHome
	}
	return Private
}

func (s *survey) oneWriter() Class {
	switch {
	case len(s.Readers) == 0:
		return s.alone()
	case share(s.Sum.Brief, s.Sum.Copies) < mostly && s.Sum.Copies > 0:
		return ReadMostly
	case s.Sum.Places >= enough && !s.readsWritten():
		return FalselyShared
	}
	return ProducerConsumer
}

// readsWritten reports whether a node's reads begin at words that others write.
func (s *survey) readsWritten() bool {
	for _, n := range s.nodes {
		for writer, words := range s.words {
			if writer != n.Node && len(common(n.reads(), words)) > 0 {
				return true
			}
		}
	}
	return false
}

func (s *survey) sameWords() Class {
	switch {
	case s.Sum.Faults() >= enough && s.lock() != "":
		return LockApart
	case s.thrashes():
		return Thrashing
	case share(s.Queued, s.Asked) >= queuedOften, share(s.Sum.Eager, s.Sum.Returns) >= mostly:
		return Contended
	}
	return Migratory
}

// thrashes reports whether nodes lose the page before they have used it and want it back at once.
func (s *survey) thrashes() bool {
	return s.Sum.Tenures >= enough && share(s.Sum.Short, s.Sum.Tenures) >= mostly &&
		share(s.Sum.Eager, s.Sum.Returns) >= mostly
}

// lock returns the mutex that all nodes hold nearly always when they wait for the page, "" if there is none.
func (s *survey) lock() string {
	name, under := "", uint64(0)
	for _, n := range s.nodes {
		switch {
		case n.Lock == "":
		case name == "" || n.Lock == name:
			name, under = n.Lock, under+n.UnderLock
		default:
			return ""
		}
	}
	if share(under, s.Sum.Faults()) < nearlyAlways {
		return ""
	}
	return name
}

// betterHome returns who waits most, if the home itself neither waits nor writes.
func (s *survey) betterHome() pagetable.NodeID {
	if len(s.nodes) == 0 || slices.ContainsFunc(s.nodes, func(n Node) bool { return n.Node == s.Home }) || s.Class.Harmless() {
		return 0
	}
	most := slices.MaxFunc(s.nodes, func(a, b Node) int { return cmp.Compare(a.Faults(), b.Faults()) })
	return most.Node
}

// confidence returns how likely the class is right.
func (s *survey) confidence() float64 {
	switch {
	case s.Proven, s.Class == Private:
		return 1
	case s.Class == FalselyShared:
		return min(mostSure, 1-samplesMissed/float64(s.Sum.Places))
	}
	n := float64(s.Sum.Faults())
	return n / (n + samplesMissed)
}

// share returns part/of, 0 of nothing.
func share(part, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}
