package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pagemesh/dsm"
	"pagemesh/dsm/layout"
	"pagemesh/dsm/sharing"
)

// needed is how many bytes may move for each byte that was changed before a transfer counts as wasteful: a page of
// which a quarter is new is not worth less than the message that brings it.
const needed = 4

// group is pages of one region with one class.
type group struct {
	region dsm.RegionStatus
	mapped bool
	pages  []dsm.PageStats // those that cost most first
	events recorded        // of all pages
	sum    dsm.Counts
}

// groups sorts pages with traffic by what is wrong with them.
func groups(st dsm.Status, pages []dsm.PageStats) []*group {
	regions := map[string]dsm.RegionStatus{}
	for _, r := range st.Regions {
		regions[r.Name] = r
	}
	type key struct {
		region string
		class  sharing.Class
		proven bool
		lock   string
	}
	byKey := map[key]*group{}
	var list []*group
	for _, p := range slices.SortedStableFunc(slices.Values(pages), func(a, b dsm.PageStats) int { return cmp.Compare(b.LostNanos, a.LostNanos) }) {
		v := &p.Verdict
		k := key{p.Region, v.Class, v.Proven, v.Lock}
		g := byKey[k]
		if g == nil {
			g = &group{region: regions[p.Region], mapped: st.Access == dsm.Mapped.String()}
			byKey[k] = g
			list = append(list, g)
		}
		g.pages = append(g.pages, p)
		g.sum.Add(p.Counts)
	}
	return list
}

// worst returns the page that costs most, for which the others stand.
func (g *group) worst() *dsm.PageStats { return &g.pages[0] }

func (g *group) finding() Finding {
	p := g.worst()
	v := &p.Verdict
	f := Finding{
		Class: v.Class, Region: p.Region, Pages: []uint64{}, Subject: subject(p.Types),
		LostNanos: g.sum.LostNanos, Faults: g.sum.ReadFaults + g.sum.WriteFaults + g.sum.Upgrades,
		BytesMoved: g.sum.BytesIn, BytesChanged: g.sum.BytesChanged,
		Proven: v.Proven, Confidence: v.Confidence, Evidence: evidence(v), Parts: g.parts(), Cures: []Cure{},
	}
	if f.BytesChanged > 0 {
		f.Amplification = float64(f.BytesMoved) / float64(f.BytesChanged)
	}
	for _, p := range g.pages {
		f.Pages = append(f.Pages, p.Page)
	}
	f.Complaint = !v.Class.Harmless() && !(v.Class == sharing.ProducerConsumer && f.BytesChanged > 0 && f.Amplification < needed)
	f.Title = title(v)
	f.Cures = append(f.Cures, g.cures(&f)...)
	return f
}

// title says how a page is shared.
func title(v *sharing.Verdict) string {
	s, _, _ := strings.Cut(v.Sentence(), ", ")
	return strings.TrimSuffix(s, ".") + "."
}

// subject names what lies in a page, "[]Worker" or "Worker".
func subject(types []layout.Range) string {
	name := ""
	for _, r := range types {
		t, err := layout.Parse(r.Type)
		if err != nil {
			continue
		}
		s := "[]" + t.Short()
		if r.Heap && r.Stride < 2*uint64(t.Size) {
			s = t.Short()
		}
		if name != "" && name != s {
			return ""
		}
		name = s
	}
	return name
}

// evidence says what the class follows from.
func evidence(v *sharing.Verdict) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	c := &v.Sum
	switch v.Class {
	case sharing.FalselyShared:
		if v.Proven {
			say("no word was written by two of %s", nodes(v.Writers))
		} else {
			say("none of %d reads that had to wait began at a word that another node writes; what was read after them is not seen", c.Places)
		}
	case sharing.LockApart:
		say("mutex %q was held at %d of %d faults", v.Lock, c.UnderLock, c.ReadFaults+c.WriteFaults+c.Upgrades)
	case sharing.ProducerConsumer:
		say("%d of %d copies lasted for less than %d fetches take", c.Brief, c.Copies, sharing.BriefFetches)
	case sharing.MisplacedHome:
		say("nobody but %v uses it, and its home is %v", v.Writers[0], v.Home)
	case sharing.Migratory:
		say("%d of %d times a node wanted it back later than a fetch takes", c.Returns-min(c.Eager, c.Returns), c.Returns)
	case sharing.Contended:
		say("%d of %d requests waited at the home for each other, and %d of %d times a node wanted it back sooner than a fetch takes",
			v.Queued, v.Asked, c.Eager, c.Returns)
	}
	if v.Thrashes {
		say("%d of %d times it was taken away before it was here for as long as it took to fetch, and %d of %d times it was wanted back sooner than that",
			c.Short, c.Tenures, c.Eager, c.Returns)
	}
	if c.Taken > 0 && v.Class != sharing.FalselyShared {
		say("%d of %d upgrades were of a copy that was fetched for reading just before", c.Taken, c.Upgrades)
	}
	return list
}

// nodes lists node ids, "n1, n2 and n3".
func nodes[N fmt.Stringer](list []N) string {
	var b strings.Builder
	for i, n := range list {
		switch {
		case i > 0 && i == len(list)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(n.String())
	}
	return b.String()
}
