package report

import (
	"fmt"
	"slices"

	"pagemesh/dsm"
	"pagemesh/dsm/replay"
	"pagemesh/dsm/sharing"
	"pagemesh/dsm/trace"
	"pagemesh/pagetable"
)

// Gain is what a cure is predicted to bring.
type Gain struct {
	// Share is how much of the time it saves, from 0 to 1.
	Share float64 `json:"share"`
	// Waits is how many waits the prediction rests on.
	Waits int `json:"waits"`
}

// enough is how many waits it takes to say something.
const enough = 20

// recorded are events in order, by page, and when barriers opened.
type recorded struct {
	pages    map[pagetable.PageID][]trace.Event
	barriers []int64
}

func record(events []trace.Event) recorded {
	r := recorded{pages: map[pagetable.PageID][]trace.Event{}}
	for _, e := range events {
		if e.Kind == trace.Barrier {
			r.barriers = append(r.barriers, e.Time)
		} else {
			r.pages[e.Page] = append(r.pages[e.Page], e)
		}
	}
	slices.Sort(r.barriers)
	return r
}

// again takes the events of a page once more as if it were cured.
type again func(*replay.Waits, *replay.Page, []trace.Event)

// predict says of each cure of a finding what it would save, where that can be told.
func (g *group) predict(f *Finding, wall uint64) {
	for i := range f.Cures {
		if cured := g.replay(f, f.Cures[i].Kind); cured != nil {
			f.Cures[i].Gain = g.gain(f, wall, cured)
		}
	}
}

// replay returns how a cure is tried. It returns nil if events don't tell: what locks, barriers and larger steps would
// cost instead isn't known.
func (g *group) replay(f *Finding, kind string) again {
	by := func(cut func(*replay.Page) replay.Cut) again {
		return func(w *replay.Waits, p *replay.Page, events []trace.Event) { w.Split(p, events, cut(p)) }
	}
	apart := f.Class == sharing.FalselyShared
	switch kind {
	case "pad", "split", "partition", "own-heap", "separate":
		if apart {
			return by(replay.ByWriter)
		}
	case "page-size":
		if apart {
			size := g.tellingApart(g.worst())
			return by(func(*replay.Page) replay.Cut { return replay.BySize(size) })
		}
	case "accumulate":
		return by(func(*replay.Page) replay.Cut { return replay.ByNode })
	case "home":
		if f.Class == sharing.MisplacedHome {
			return func(w *replay.Waits, _ *replay.Page, events []trace.Event) { w.All(events) }
		}
	case "exclusive":
		return func(w *replay.Waits, _ *replay.Page, events []trace.Event) { w.Upgrades(events) }
	}
	return nil
}

// gain replays the pages of a finding. It returns nil if there is too little to go by. A wait counts as the step from
// barrier to barrier is longer for it.
func (g *group) gain(f *Finding, wall uint64, cured again) *Gain {
	waits, n := replay.Waits{Barriers: g.events.barriers}, 0
	for _, p := range g.pages {
		page := g.page(&p)
		events := g.events.pages[page.ID]
		cured(&waits, page, events)
		n += replay.Count(events)
	}
	if n < enough || wall == 0 {
		return nil
	}
	longest := waits.Longest()
	saved := float64(longest.Before-longest.After) / float64(max(waits.Sum().Before, 1))
	return &Gain{Share: min(max(saved, 0)*float64(f.LostNanos)/float64(wall), 1), Waits: n}
}

// page returns what a replay has to know of a page.
func (g *group) page(p *dsm.PageStats) *replay.Page {
	written := map[pagetable.NodeID][]sharing.Span{}
	for _, n := range p.Sharing.Nodes {
		written[n.Node] = orAll(n.Again, n.Written)
	}
	return &replay.Page{ID: pagetable.MakePageID(g.region.ID, p.Page), Size: p.Size, Written: written}
}

// text says what is gained, "" if it isn't known. It may be more than was lost, of the time of all nodes together.
func (g *Gain) text(lost float64) string {
	switch {
	case g == nil:
		return ""
	case g.Share > lost:
		return fmt.Sprintf(" (saves about %s of the time, since while one waits others wait for it at a barrier)", percent(g.Share))
	}
	return fmt.Sprintf(" (saves about %s of the time)", percent(g.Share))
}
