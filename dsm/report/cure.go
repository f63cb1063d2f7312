package report

import (
	"fmt"
	"slices"
	"strings"

	"pagemesh/dsm"
	"pagemesh/dsm/layout"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

// Cure is something to change.
type Cure struct {
	Kind string `json:"kind"` // one of Kinds
	Text string `json:"text"` // a sentence
	Gain *Gain  `json:"gain"` // nil if it can't be told
}

// Kinds returns the kinds of cures: pad elements, split a struct, give nodes parts of an array, allocate for the node
// that uses it, choose another page size, choose release consistency, add up locally, keep what is written apart from
// what is read, let one node do it, use a mutex, do more under one lock, take the right to write at once, choose
// other homes, fetch ahead.
func Kinds() []string {
	return []string{
		"pad", "split", "partition", "own-heap", "page-size", "release", "accumulate", "separate", "one-node", "mutex", "batch",
		"exclusive", "home", "prefetch",
	}
}

// cures returns what to change, the best first.
func (g *group) cures(f *Finding) (list []Cure) {
	add := func(kind, format string, args ...any) {
		list = append(list, Cure{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	switch f.Class {
	case sharing.FalselyShared:
		g.separate(f, add)
	case sharing.Thrashing, sharing.Contended:
		g.relieve(f, add)
	case sharing.Migratory:
		add("batch", "do more at each visit, or let one node do all of it")
	case sharing.LockApart:
		add("batch", "do more each time mutex %q is locked", g.worst().Verdict.Lock)
		g.release(add)
	case sharing.ProducerConsumer:
		g.supply(f, add)
	case sharing.MisplacedHome:
		add("home", "create region %q with its pages homed at the nodes that use them: pagetable.Blocked, with Nodes in the order of the parts", f.Region)
		add("prefetch", "fetch what comes next by Region.Prefetch, many pages at a time")
	case sharing.Private, sharing.FirstTouch, sharing.ReadMostly:
		add("prefetch", "if the first touches matter, fetch by Region.Prefetch, many pages at a time")
	}
	if c := &g.worst().Verdict; f.Complaint && c.Sum.Taken*2 > c.Sum.ReadFaults+c.Sum.WriteFaults && c.Sum.Taken > 0 {
		add("exclusive", "ask for the right to write before the first read (a view for writing, or Region.Prefetch with WriteAccess): one message of two")
	}
	if to := g.worst().Verdict.BetterHome; to != 0 && f.Class != sharing.MisplacedHome {
		add("home", "home it at %v instead of %v, which does not use it: one hop less for each fetch", to, g.worst().Home)
	}
	return list
}

// separate is for false sharing.
func (g *group) separate(f *Finding, add func(kind, format string, args ...any)) {
	p := g.worst()
	t := typeOf(p.Types)
	switch {
	case !f.Proven:
		add("separate", "keep what %s writes apart from what %s read: in another region, or a page further on", nodes(p.Verdict.Writers), nodes(p.Verdict.Readers))
	case t == nil:
		add("pad", "keep what each node writes a page (%d bytes) apart from what others do", p.Size)
	case heaped(p.Types):
		add("own-heap", "allocate what a node uses through that node's own Heap: objects of different Heaps never share a page")
		add("pad", "or pad %s to a page: _ [%d]byte", t.Short(), padding(t.Size, p.Size))
	case t.Fields != nil && sameElement(f.Parts):
		add("split", "split %s: put the fields that different nodes write into structs of their own, a page (%d bytes) apart", t.Short(), p.Size)
	case t.Fields != nil || t.Elem != nil:
		add("pad", "pad %s to one element a page: _ [%d]byte", t.Short(), padding(t.Size, p.Size))
	default:
		add("partition", "let each node use whole pages of []%s: parts that begin at multiples of %d elements", t.Short(), max(p.Size/t.Size, 1))
	}
	if size := g.tellingApart(p); size > 0 {
		add("page-size", "pages of %d bytes would tell the nodes' words apart", size)
	}
	g.release(add)
	if few(f.Parts) {
		add("accumulate", "add up in a local variable and write the sum now and then")
	}
}

// relieve is for words that several nodes want.
func (g *group) relieve(f *Finding, add func(kind, format string, args ...any)) {
	if f.BytesChanged > 0 && few(f.Parts) {
		add("accumulate", "add up in a local variable, or a word of each node in a page of its own, and bring the sums together now and then")
		add("mutex", "if it is a lock, use Space.Mutex: who waits for it fetches no page")
	}
	add("batch", "do more each time, under one lock")
	add("one-node", "or partition the work so that one node writes it")
}

// supply is for what one node writes and others read.
func (g *group) supply(f *Finding, add func(kind, format string, args ...any)) {
	if f.Complaint {
		add("separate", "let what is written together fill its page: %.0f bytes move for each that was changed", f.Amplification)
		if size := g.smaller(f); size > 0 {
			add("page-size", "or use pages of %d bytes", size)
		}
		add("batch", "let the reader come less often, for more at a time")
	}
	add("prefetch", "fetch ahead of use: Region.Prefetch brings many pages in one round trip")
}

// release offers release consistency where it helps.
func (g *group) release(add func(kind, format string, args ...any)) {
	if g.region.Consistency != pagetable.Release.String() {
		add("release", "or, if nodes use it between locks and barriers only, make %q a release region (pagetable.Release): several nodes may write a page at once", g.region.Name)
	}
}

// smallest is the smallest page that the access allows.
func (g *group) smallest() int {
	if g.mapped {
		return pagetable.DefaultPageSize
	}
	return pagetable.MinPageSize
}

// smaller returns a page size that does not move much more than is changed, 0 if there is none.
func (g *group) smaller(f *Finding) int {
	size := g.worst().Size
	for moves := f.Amplification; moves >= needed && size > g.smallest(); moves /= 2 {
		size /= 2
	}
	if size == g.worst().Size {
		return 0
	}
	return size
}

// tellingApart returns the largest page size at which no page has words of two nodes, 0 if there is none.
func (g *group) tellingApart(p *dsm.PageStats) int {
sizes:
	for size := p.Size / 2; size >= g.smallest(); size /= 2 {
		owner := map[int]pagetable.NodeID{}
		for _, n := range p.Sharing.Nodes {
			for _, sp := range slices.Concat(orAll(n.Again, n.Written), orAll(n.ReadAgain, n.Read)) {
				for page := sp.Start / size; page <= (sp.End-1)/size; page++ {
					if other, taken := owner[page]; taken && other != n.Node {
						continue sizes
					}
					owner[page] = n.Node
				}
			}
		}
		return size
	}
	return 0
}

// padding returns how many bytes make an object of that size fill its pages.
func padding(size, page int) int { return (page - size%page) % page }

// few reports whether no node writes more than a few words: counters, flags, locks.
func few(parts []Part) bool {
	const words = 4
	for _, p := range parts {
		n := 0
		for _, u := range p.Uses {
			if u.Access == "write" {
				n += (u.End - u.Start) / 8
			}
		}
		if n > words || p.More > 0 {
			return false
		}
	}
	return true
}

// sameElement reports whether all nodes write fields of one element.
func sameElement(parts []Part) bool {
	element := ""
	for _, p := range parts {
		for _, u := range p.Uses {
			if u.Access != "write" {
				continue
			}
			e, _, _ := strings.Cut(u.Name, ".")
			if element != "" && e != element {
				return false
			}
			element = e
		}
	}
	return element != ""
}

// typeOf returns the type of the first objects in a page, nil if nobody has said.
func typeOf(types []layout.Range) *layout.Type {
	for _, r := range types {
		if t, err := layout.Parse(r.Type); err == nil && t.Size > 0 {
			return t
		}
	}
	return nil
}

func heaped(types []layout.Range) bool { return len(types) > 0 && types[0].Heap }
