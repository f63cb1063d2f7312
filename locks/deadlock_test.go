package locks

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pagemesh/pagetable"
)

// usesOf reads reports from lines such as these, which are of node n1:
//
//	n1.g1 has r a        goroutine 1 holds rwmutex a for reading; "w" is for writing, and "m" a mutex
//	n1.g1 waits 7 m b    it waits for mutex b since 7
//	n1 queues a n2.g3 n1.g1
//
// The id of a wait is the number of its goroutine.
func usesOf(text string) (all []Uses) {
	all = make([]Uses, 4)
	for i := range all {
		all[i].Epoch = 1
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var by Goroutine
		fmt.Sscanf(f[0], "n%d.g%d", &by.Node, &by.Number)
		u := &all[by.Node-1]
		switch f[1] {
		case "has":
			u.Holds = append(u.Holds, Hold{By: by, Lock: lockOf(f[2], f[3]), Exclusive: f[2] != "r"})
		case "waits":
			w := Wait{WaitID: WaitID{by.Node, Waiter(by.Number)}, By: by, Lock: lockOf(f[3], f[4]), Exclusive: f[3] != "r"}
			fmt.Sscan(f[2], &w.Since)
			u.Waits = append(u.Waits, w)
		case "queues":
			q := Queue{Lock: lockOf("w", f[2]), Waits: make([]WaitID, len(f)-3)}
			for i := range q.Waits {
				fmt.Sscanf(f[3+i], "n%d.g%d", &q.Waits[i].Node, &q.Waits[i].Waiter)
			}
			u.Queues = append(u.Queues, q)
		}
	}
	return all
}

func lockOf(kind, name string) LockName {
	if kind == "m" {
		return MutexName(name)
	}
	return PoolName(name, Everything)
}

// cyclesOf returns cycles as text: "n1.g1 n2.g2", with a ^ before whoever is only ahead in a queue.
func cyclesOf(cycles [][]Blocked) string {
	var all []string
	for _, c := range cycles {
		var waits []string
		for i, b := range c {
			mark := ""
			if c[(i+len(c)-1)%len(c)].Queued {
				mark = "^"
			}
			waits = append(waits, fmt.Sprintf("%sn%d.g%d", mark, b.Wait.Node, b.Wait.Waiter))
		}
		all = append(all, strings.Join(waits, " "))
	}
	return strings.Join(all, "; ")
}

var deadlocks = []struct{ name, before, after, want string }{
	{name: "nobody waits", before: `
n1.g1 has m a
n2.g2 has m b`},
	{name: "a chain", before: `
n1.g1 has m a
n2.g2 has m b
n2.g2 waits 1 m a
n3.g3 waits 2 m b`},
	{name: "two nodes", want: "n2.g2 n1.g1", before: `
n1.g1 has m a
n1.g1 waits 1 m b
n2.g2 has m b
n2.g2 waits 2 m a`},
	{name: "the youngest comes first, and of two of the same age the one of the later node", want: "n3.g3 n2.g2 n1.g1", before: `
n1.g1 has m a
n2.g2 has m b
n3.g3 has m c
n1.g1 waits 5 m c
n2.g2 waits 4 m a
n3.g3 waits 5 m b`},
	{name: "itself", want: "n1.g1", before: `
n1.g1 has m a
n1.g1 waits 1 m a`},
	{name: "to write what it reads", want: "n1.g1", before: `
n1.g1 has r a
n1.g1 waits 1 w a`},
	{name: "to read what it writes", want: "n1.g1", before: `
n1.g1 has w a
n1.g1 waits 1 r a`},
	{name: "a goroutine of another node has the same number", before: `
n1.g1 has m a
n2.g1 waits 1 m a`},
	{name: "a mutex is no rwmutex of its name", before: `
n1.g1 has m a
n1.g1 waits 1 w a`},
	{name: "an unknown goroutine is no other", before: `
n1.g0 has m a
n1.g0 waits 1 m a`},
	{name: "readers don't wait for each other", before: `
n1.g1 has r a
n1.g1 waits 1 r b
n2.g2 has r b
n2.g2 waits 2 r a`},
	{name: "a writer waits for every reader", want: "n3.g3 n2.g2", before: `
n1.g1 has r a
n2.g2 has r a
n3.g3 has m b
n2.g2 waits 1 m b
n3.g3 waits 2 w a`},
	{name: "to read again behind a writer", want: "n1.g1 ^n2.g2", before: `
n1.g1 has r a
n2.g2 waits 1 w a
n1.g1 waits 2 r a
n3 queues a n2.g2 n1.g1`},
	{name: "to read again before a writer", before: `
n1.g1 has r a
n2.g2 waits 2 w a
n1.g1 waits 1 r a
n3 queues a n1.g1 n2.g2`},
	{name: "by the queue and by a mutex", want: "n3.g3 ^n2.g2 n1.g1", before: `
n1.g1 has r a
n3.g3 has m b
n2.g2 waits 1 w a
n1.g1 waits 2 m b
n3.g3 waits 3 r a
n1 queues a n2.g2 n3.g3`},
	{name: "those behind are not part of it", want: "n2.g2 n1.g1", before: `
n1.g1 has m a
n1.g1 waits 1 m b
n2.g2 has m b
n2.g2 waits 2 m a
n3.g3 has m c
n3.g3 waits 3 m a
n3.g4 waits 9 m c`},
	{name: "two", want: "n2.g4 n1.g3; n2.g2 n1.g1", before: `
n1.g1 has m a
n1.g1 waits 1 m b
n2.g2 has m b
n2.g2 waits 2 m a
n1.g3 has m c
n1.g3 waits 3 m d
n2.g4 has m d
n2.g4 waits 4 m c`},
	{name: "the shortest of two through the youngest", want: "n3.g3 n1.g1", before: `
n1.g1 has r a
n2.g2 has r a
n3.g3 has m b
n1.g1 waits 1 m b
n2.g2 has m d
n2.g2 waits 2 m c
n4.g4 has m c
n4.g4 waits 3 m b
n3.g3 waits 9 w a`},
	{name: "another wait", before: `
n1.g1 has m a
n1.g1 waits 1 m b
n2.g2 has m b
n2.g2 waits 2 m a`, after: `
n1.g1 has m a
n1.g1 waits 1 m b
n2.g2 has m b
n2.g3 waits 3 m a`},
	{name: "unlocked meanwhile", before: `
n1.g1 has m a
n1.g1 waits 1 m b
n2.g2 has m b
n2.g2 waits 2 m a`, after: `
n1.g1 waits 1 m b
n2.g2 has m b
n2.g2 waits 2 m a`},
	{name: "in the queue at the second time only", before: `
n1.g1 has r a
n2.g2 waits 1 w a
n1.g1 waits 2 r a`, after: `
n1.g1 has r a
n2.g2 waits 1 w a
n1.g1 waits 2 r a
n3 queues a n2.g2 n1.g1`},
}

func TestDeadlocks(t *testing.T) {
	for _, test := range deadlocks {
		t.Run(test.name, func(t *testing.T) {
			if test.after == "" {
				test.after = test.before
			}
			first, second := usesOf(test.before), usesOf(test.after)
			if got := cyclesOf(Deadlocks(first, second)); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			first[0].Epoch++
			if got := Deadlocks(first, second); got != nil {
				t.Errorf("%q in two epochs", cyclesOf(got))
			}
		})
	}
	if got := Deadlocks(nil, nil); got != nil {
		t.Errorf("%v of nobody", got)
	}
}

// TestRandomDeadlocks compares with what follows from the meaning, looked up for each pair of waits.
func TestRandomDeadlocks(t *testing.T) {
	found := 0
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		before := randomUses(rnd)
		after := changedUses(rnd, before)
		got := Deadlocks(before, after)
		found += len(got)
		if err := checkDeadlocks(got, before, after); err != "" {
			t.Fatalf("seed %d: %s: %s\nbefore %+v\nafter %+v", seed, err, cyclesOf(got), before, after)
		}
	}
	if found < 1000 {
		t.Errorf("only %d deadlocks: the test tests little", found)
	}
}

func randomUses(rnd *rand.Rand) []Uses {
	nodes, goroutines, names := 1+rnd.IntN(4), 1+rnd.IntN(10), 1+rnd.IntN(6)
	all := make([]Uses, nodes)
	lock := func() (LockName, bool) {
		name := string(rune('a' + rnd.IntN(names)))
		if rnd.IntN(2) == 0 {
			return MutexName(name), true
		}
		return PoolName(name, Everything), rnd.IntN(2) == 0
	}
	queues := map[LockName][]WaitID{}
	for g := range goroutines {
		node := rnd.IntN(nodes)
		by := Goroutine{pagetable.NodeID(node + 1), rnd.IntN(2), uint64(rnd.IntN(4) * (g + 1))}
		u := &all[node]
		for range rnd.IntN(3) {
			name, exclusive := lock()
			u.Holds = append(u.Holds, Hold{By: by, Lock: name, Exclusive: exclusive})
		}
		if rnd.IntN(4) > 0 {
			name, exclusive := lock()
			w := Wait{WaitID{by.Node, Waiter(g + 1)}, by, name, exclusive, int64(rnd.IntN(5)), ""}
			u.Waits = append(u.Waits, w)
			if name.Kind == "rwmutex" && rnd.IntN(4) > 0 {
				queues[name] = append(queues[name], w.WaitID)
			}
		}
	}
	for name, q := range queues {
		u := &all[rnd.IntN(nodes)]
		u.Queues = append(u.Queues, Queue{name, q})
	}
	return all
}

// changedUses returns uses without some of their entries.
func changedUses(rnd *rand.Rand, all []Uses) []Uses {
	after := make([]Uses, len(all))
	for i, u := range all {
		after[i] = Uses{
			Waits:  slices.DeleteFunc(slices.Clone(u.Waits), func(Wait) bool { return rnd.IntN(20) == 0 }),
			Holds:  slices.DeleteFunc(slices.Clone(u.Holds), func(Hold) bool { return rnd.IntN(20) == 0 }),
			Queues: slices.DeleteFunc(slices.Clone(u.Queues), func(Queue) bool { return rnd.IntN(20) == 0 }),
		}
	}
	return after
}

// blocks says whether wait a can't end before wait b does, according to one set of reports, and why.
func blocks(all []Uses, a, b Wait, queued bool) bool {
	for _, u := range all {
		for _, h := range u.Holds {
			if !queued && h.By == b.By && h.By.Number != 0 && h.Lock == a.Lock && (h.Exclusive || a.Exclusive) {
				return true
			}
		}
		for _, q := range u.Queues {
			if i := slices.Index(q.Waits, a.WaitID); queued && i > 0 && q.Waits[i-1] == b.WaitID {
				return true
			}
		}
	}
	return false
}

func checkDeadlocks(cycles [][]Blocked, before, after []Uses) string {
	var waits []Wait // in both
	for _, u := range after {
		waits = append(waits, u.Waits...)
	}
	n := len(waits)
	index := func(id WaitID) int { return slices.IndexFunc(waits, func(w Wait) bool { return w.WaitID == id }) }
	edge := func(i, j int) bool {
		for _, queued := range []bool{false, true} {
			if blocks(before, waits[i], waits[j], queued) && blocks(after, waits[i], waits[j], queued) {
				return true
			}
		}
		return false
	}
	far := n + 1
	distance := make([][]int, n) // of one or more edges
	for i := range distance {
		distance[i] = make([]int, n)
		for j := range distance[i] {
			if distance[i][j] = far; edge(i, j) {
				distance[i][j] = 1
			}
		}
	}
	for k := range n {
		for i := range n {
			for j := range n {
				distance[i][j] = min(distance[i][j], distance[i][k]+distance[k][j])
			}
		}
	}
	sets := map[int]int{} // from the youngest of each set that block each other to how many cycles it has
	for i := range n {
		youngest := -1
		for j := range n {
			if distance[i][j] < far && distance[j][i] < far && (youngest < 0 || younger(waits[j], waits[youngest])) {
				youngest = j
			}
		}
		if youngest >= 0 {
			sets[youngest] = 0
		}
	}
	for _, c := range cycles {
		first := index(c[0].Wait)
		if _, ok := sets[first]; !ok {
			return "a cycle that does not begin with the youngest of its set"
		}
		sets[first]++
		if len(c) != distance[first][first] {
			return "a cycle that is not the shortest"
		}
		for i, b := range c {
			if b.By != c[(i+1)%len(c)].Wait || !edge(index(b.Wait), index(b.By)) {
				return "a cycle that is none"
			}
		}
	}
	for _, times := range sets {
		if times != 1 {
			return "not one cycle for each set"
		}
	}
	return ""
}

func younger(a, b Wait) bool {
	if a.Since != b.Since {
		return a.Since > b.Since
	}
	return compareWaits(a.WaitID, b.WaitID) > 0
}
