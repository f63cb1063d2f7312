package sharing_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

const n1, n2, n3, n4 = pagetable.NodeID(1), pagetable.NodeID(2), pagetable.NodeID(3), pagetable.NodeID(4)

func words(of ...int) (list []sharing.Span) {
	for _, w := range of {
		list = append(list, sharing.Span{Start: 8 * w, End: 8*w + 8})
	}
	return list
}

// writer is a node that has written words in many tenures, which were neither short nor wanted back at once.
func writer(n pagetable.NodeID, w ...int) sharing.Node {
	return sharing.Node{Node: n, Written: words(w...), Again: words(w...),
		Counts: sharing.Counts{WriteFaults: 50, Returns: 49, Tenures: 50}}
}

// reader is a node whose reads began at words.
func reader(n pagetable.NodeID, w ...int) sharing.Node {
	return sharing.Node{Node: n, Read: words(w...), ReadAgain: words(w...),
		Counts: sharing.Counts{ReadFaults: 50, Returns: 49, Copies: 50, Brief: 50, Places: 50}}
}

func with(n sharing.Node, change func(*sharing.Node)) sharing.Node {
	change(&n)
	return n
}

func short(n *sharing.Node)    { n.Short = n.Tenures/2 + 1 }
func eager(n *sharing.Node)    { n.Eager = n.Returns/2 + 1 }
func snatched(n *sharing.Node) { short(n); eager(n) }
func long(n *sharing.Node)     { n.Brief = n.Copies/2 - 1 }
func locked(name string) func(*sharing.Node) {
	return func(n *sharing.Node) { n.Lock, n.UnderLock = name, 40 }
}

func once(n *sharing.Node) { n.Again, n.Tenures, n.Returns = nil, 1, 0 }
func few(n *sharing.Node)  { n.Places = 7 }

// TestClassify has a row on each side of each threshold.
func TestClassify(t *testing.T) {
	type list = []sharing.Node
	tests := []struct {
		name  string
		page  sharing.Page
		class sharing.Class
	}{
		{"nobody", sharing.Page{Home: n1}, sharing.Private},
		{"its home alone", sharing.Page{Home: n1, Nodes: list{writer(n1, 0)}}, sharing.Private},
		{"a reader alone", sharing.Page{Home: n2, Nodes: list{reader(n1, 0)}}, sharing.Private},
		{"a writer that is not its home", sharing.Page{Home: n2, Nodes: list{writer(n1, 0)}}, sharing.MisplacedHome},
		{"the same when the home was lost", sharing.Page{Nodes: list{writer(n1, 0)}}, sharing.Private},
		{"set up by one, used by another", sharing.Page{Home: n1, Nodes: list{
			with(writer(n1, 0), once), with(writer(n2, 0), once)}}, sharing.FirstTouch},
		{"set up by one, then used by another for long", sharing.Page{Home: n2, Nodes: list{
			with(writer(n1, 0, 1), once), writer(n2, 0)}}, sharing.Private},
		{"written once, read by others", sharing.Page{Home: n1, Nodes: list{
			with(writer(n1, 0), once), with(reader(n2, 0), func(n *sharing.Node) { n.Returns = 0 })}}, sharing.ReadMostly},
		{"read by all", sharing.Page{Home: n1, Nodes: list{reader(n1, 0), reader(n2, 0)}}, sharing.ReadMostly},
		{"copies live long", sharing.Page{Home: n1, Nodes: list{writer(n1, 0), with(reader(n2, 0), long)}}, sharing.ReadMostly},
		{"what is written is read", sharing.Page{Home: n1, Nodes: list{writer(n1, 0), reader(n2, 0, 5)}}, sharing.ProducerConsumer},
		{"what is written is not read", sharing.Page{Home: n1, Nodes: list{writer(n1, 0), reader(n2, 1)}}, sharing.FalselyShared},
		{"too few reads are known", sharing.Page{Home: n1, Nodes: list{writer(n1, 0), with(reader(n2, 1), few)}}, sharing.ProducerConsumer},
		{"a node reads what another writes", sharing.Page{Home: n1, Nodes: list{
			writer(n1, 0), reader(n2, 1), reader(n3, 0)}}, sharing.ProducerConsumer},
		{"one look at all words does not count", sharing.Page{Home: n1, Nodes: list{writer(n1, 0),
			with(reader(n2, 1), func(n *sharing.Node) { n.Read = words(0, 1) })}}, sharing.FalselyShared},
		{"different words", sharing.Page{Home: n1, Nodes: list{writer(n1, 0), writer(n2, 1)}}, sharing.FalselyShared},
		{"and one who reads them", sharing.Page{Home: n1, Nodes: list{writer(n1, 0), writer(n2, 1), reader(n3, 0, 1)}}, sharing.FalselyShared},
		{"different words, set up by a third", sharing.Page{Home: n1, Nodes: list{
			writer(n1, 0), writer(n2, 1), with(writer(n3, 0, 1, 2), once)}}, sharing.FalselyShared},
		{"different words, never the same ones", sharing.Page{Home: n1, Nodes: list{
			with(writer(n1, 0, 2), func(n *sharing.Node) { n.Again = nil }), writer(n2, 1)}}, sharing.FalselyShared},
		{"a word in common", sharing.Page{Home: n1, Nodes: list{writer(n1, 0, 1), writer(n2, 1, 2)}}, sharing.Migratory},
		{"a word in common of two in three", sharing.Page{Home: n1, Nodes: list{
			writer(n1, 0), writer(n2, 1), writer(n3, 1)}}, sharing.Migratory},
		{"short tenures only", sharing.Page{Home: n1, Nodes: list{with(writer(n1, 0), short), with(writer(n2, 0), short)}}, sharing.Migratory},
		{"wanted back only", sharing.Page{Home: n1, Nodes: list{with(writer(n1, 0), eager), with(writer(n2, 0), eager)}}, sharing.Contended},
		{"both", sharing.Page{Home: n1, Nodes: list{with(writer(n1, 0), snatched), with(writer(n2, 0), snatched)}}, sharing.Thrashing},
		{"a queue at its home", sharing.Page{Home: n1, Asked: 100, Queued: 25, Nodes: list{writer(n1, 0), writer(n2, 0)}}, sharing.Contended},
		{"a short one", sharing.Page{Home: n1, Asked: 100, Queued: 24, Nodes: list{writer(n1, 0), writer(n2, 0)}}, sharing.Migratory},
		{"one mutex", sharing.Page{Home: n1, Nodes: list{
			with(writer(n1, 0), locked("m")), with(with(writer(n2, 0), locked("m")), snatched)}}, sharing.LockApart},
		{"two mutexes", sharing.Page{Home: n1, Nodes: list{with(writer(n1, 0), locked("m")), with(writer(n2, 0), locked("k"))}}, sharing.Migratory},
		{"a mutex at one of them", sharing.Page{Home: n1, Nodes: list{with(writer(n1, 0), locked("m")), writer(n2, 0)}}, sharing.Migratory},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := sharing.Classify(test.page)
			if v.Class != test.class {
				t.Errorf("class %v, want %v: %+v", v.Class, test.class, v)
			}
			if want := v.Class == sharing.FalselyShared && len(v.Writers) > 1; v.Proven != want || want && v.Confidence != 1 {
				t.Errorf("proven %v, confidence %v", v.Proven, v.Confidence)
			}
			if !v.Proven && v.Class == sharing.FalselyShared && v.Confidence > 0.95 {
				t.Errorf("an estimate is %v sure", v.Confidence)
			}
		})
	}
}

func TestVerdictSaysWhichHomeIsBetter(t *testing.T) {
	busy := with(writer(n3, 1), func(n *sharing.Node) { n.WriteFaults++ })
	for home, want := range map[pagetable.NodeID]pagetable.NodeID{n1: n3, n2: 0, n3: 0, n4: n3} {
		v := sharing.Classify(sharing.Page{Home: home, Nodes: []sharing.Node{writer(n2, 0), busy}})
		if v.BetterHome != want {
			t.Errorf("home %v: better is %v, want %v", home, v.BetterHome, want)
		}
	}
	if v := sharing.Classify(sharing.Page{Home: n4, Nodes: []sharing.Node{reader(n2, 0), reader(n1, 0)}}); v.BetterHome != 0 {
		t.Errorf("a page that is only read has a better home, %v", v.BetterHome)
	}
}

func TestFalseSharingCanThrash(t *testing.T) {
	calm := sharing.Classify(sharing.Page{Home: n1, Nodes: []sharing.Node{writer(n1, 0), writer(n2, 1)}})
	wild := sharing.Classify(sharing.Page{Home: n1, Nodes: []sharing.Node{with(writer(n1, 0), snatched), with(writer(n2, 1), snatched)}})
	if calm.Thrashes || !wild.Thrashes || wild.Class != sharing.FalselyShared {
		t.Errorf("calm %+v, wild %+v", calm, wild)
	}
}

// TestClassifyWhatever: any counts give a verdict, the same for each order of the nodes, which survives JSON and has a sentence.
func TestClassifyWhatever(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, 0))
	some := func() uint64 { return uint64(random.IntN(3) * random.IntN(12)) }
	spans := func() (list []sharing.Span) {
		for at := random.IntN(4); at < 12 && random.IntN(3) > 0; at += 2 + random.IntN(4) {
			list = append(list, sharing.Span{Start: 8 * at, End: 8*at + 8})
		}
		return list
	}
	seen := map[sharing.Class]int{}
	for range 20000 {
		p := sharing.Page{Home: pagetable.NodeID(random.IntN(4)), Asked: some(), Queued: some()}
		for n := range pagetable.NodeID(random.IntN(5)) {
			p.Nodes = append(p.Nodes, sharing.Node{Node: n + 1, Counts: sharing.Counts{
				ReadFaults: some(), WriteFaults: some(), Upgrades: some(), Returns: some(), Eager: some(), Tenures: some(), Short: some(),
				Copies: some(), Brief: some(), Taken: some(), Places: some(), UnderLock: some(), WaitNanos: some() * 1000,
			}, Written: spans(), Again: spans(), Read: spans(), ReadAgain: spans(), Lock: []string{"", "m"}[random.IntN(2)]})
		}
		v := sharing.Classify(p)
		seen[v.Class]++
		random.Shuffle(len(p.Nodes), func(i, j int) { p.Nodes[i], p.Nodes[j] = p.Nodes[j], p.Nodes[i] })
		if again := sharing.Classify(p); !reflect.DeepEqual(v, again) {
			t.Fatalf("seed %d: %+v\nof %+v, in another order\n%+v", seed, v, p, again)
		}
		if v.Confidence < 0 || v.Confidence > 1 || v.Proven && v.Confidence != 1 {
			t.Fatalf("seed %d: confidence %v of %+v", seed, v.Confidence, p)
		}
		if s := v.Sentence(); !strings.HasSuffix(s, ".") || strings.Contains(s, "0 nodes") || strings.Contains(s, "%!") {
			t.Fatalf("seed %d: sentence %q of %+v", seed, s, p)
		}
		var back sharing.Verdict
		if b, err := json.Marshal(v); err != nil || json.Unmarshal(b, &back) != nil || !reflect.DeepEqual(v, back) {
			t.Fatalf("seed %d: %s is not %+v (%v)", seed, b, v, err)
		}
	}
	for c := sharing.Private; c <= sharing.LockApart; c++ {
		if seen[c] == 0 {
			t.Errorf("seed %d: no page is %v", seed, c)
		}
	}
}
