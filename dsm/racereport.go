package dsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"pagemesh/coherence"
	"pagemesh/dsm/layout"
	"pagemesh/pagetable"
)

// MaxRaces is how many races a node reports. Of more it only says that there are.
const MaxRaces = 256

// Race is a data race in a release region: two nodes wrote the same bytes, and no lock or barrier orders the two
// writes. It is reported once for each region and pair of lines.
type Race struct {
	Region string `json:"region"`
	Offset int64  `json:"offset"` // in the region, of the first word that was seen to be in the race; a multiple of 8
	// Field is what the region's type calls these bytes, such as "[]Worker[17].hits", if it has one: see Declare.
	Field string `json:"field"`
	// First is the write that reached the page's home first, Second the other one.
	First  RaceWrite `json:"first"`
	Second RaceWrite `json:"second"`
	// Times is how often these lines were found in a race, in pages and intervals.
	Times uint64 `json:"times"`
}

// RaceWrite is one of the two writes.
type RaceWrite struct {
	Node pagetable.NodeID `json:"node"`
	// Line is "file:line" of the write by which the node began to write the page since it last locked or unlocked:
	// that of another word of the page, perhaps. "an unknown line" if it can't be told.
	Line     string `json:"line"`
	Function string `json:"function"`
}

// String returns the race as one line of text.
func (r Race) String() string {
	what := fmt.Sprintf("offset %d", r.Offset)
	if r.Field != "" {
		what = fmt.Sprintf("%s, at offset %d", r.Field, r.Offset)
	}
	return fmt.Sprintf("%v writes %s of region %q at %s, and so does %v at %s, and nothing orders the two",
		r.First.Node, what, r.Region, r.First.Line, r.Second.Node, r.Second.Line)
}

// errRacesOff says why there is nothing to be told.
var errRacesOff = errors.New("this space does not detect races: open every node with Config.DetectRaces, " +
	"or start it by dsm run --detect-races")

// foundRaces are those that the homes at this node have found.
type foundRaces struct {
	list []Race
	// more counts those that are not in list.
	more uint64
}

// raceKey tells races apart.
type raceKey struct{ region, one, other string }

func (r *Race) key() raceKey {
	return raceKey{r.Region, min(r.First.Line, r.Second.Line), max(r.First.Line, r.Second.Line)}
}

// add takes up a race and reports whether it is a new one.
func (f *foundRaces) add(r Race) bool {
	key := r.key()
	i := slices.IndexFunc(f.list, func(o Race) bool { return o.key() == key })
	switch {
	case i >= 0:
		f.list[i].Times += r.Times
		return false
	case len(f.list) == MaxRaces:
		f.more++
		return false
	}
	f.list = append(f.list, r)
	return true
}

// report takes up the races that a page's shadow has found in what was written at a stamp.
func (w *work) report(pg *page, st coherence.Stamp) {
	if len(w.conflicts) == 0 {
		return
	}
	r := w.s.cur.Load().regions[pg.proto.ID().Region()]
	for _, c := range w.conflicts {
		w.s.races.report(r, pg.proto.ID().Index(), st, c)
	}
}

// report takes up one race. The caller holds the page's lock, so what is said of it is said later.
func (e *races) report(r *region, index uint64, st coherence.Stamp, c coherence.Conflict) {
	at := index<<r.shift + uint64(c.Offset)
	race := Race{
		Region: r.name(), Offset: int64(at &^ 7), Field: r.names(at, at+1).At(at),
		First: raceWrite(c.Other), Second: raceWrite(st), Times: 1,
	}
	e.mu.Lock()
	news := e.found.add(race)
	e.mu.Unlock()
	if news {
		e.s.running.Go(func() { e.log(race) })
	}
}

func (e *races) log(r Race) {
	e.s.log.Warn("data race: two nodes write the same bytes and nothing orders the two", "region", r.Region,
		"offset", r.Offset, "field", r.Field, "node", r.First.Node, "line", r.First.Line,
		"other", r.Second.Node, "other_line", r.Second.Line)
}

// names returns what this node knows of the types of the bytes [start, end).
func (r *region) names(start, end uint64) layout.Names {
	ranges := r.types.within(start, end)
	if whole, ok := declared(*r.meta.Load()); ok {
		ranges = []layout.Range{whole}
	}
	return layout.NamesOf(ranges)
}

// nameRaces names the fields that the homes of their pages could not name.
func (s *node) nameRaces(list []Race) {
	for i := range list {
		race := &list[i]
		meta, _ := s.view().Regions.ByName(race.Region)
		if r := s.cur.Load().regions[meta.ID]; r != nil && race.Field == "" {
			word := uint64(race.Offset)
			race.Field = r.names(word, word+8).Span(word, word+8)
		}
	}
}

// here returns what the homes at this node have found.
func (e *races) here() []Race {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.found.list)
}

// allRaces returns what the homes of all members have found, each once.
func (s *node) allRaces(ctx context.Context) ([]Race, error) {
	if !s.races.on {
		return nil, errRacesOff
	}
	var all foundRaces
	list, err := askAll(ctx, s, callRaces, nil, func(one, all []Race) []Race { return append(all, one...) })
	for _, r := range list {
		all.add(r)
	}
	s.nameRaces(all.list)
	slices.SortFunc(all.list, func(a, b Race) int { return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Offset, b.Offset)) })
	return append([]Race{}, all.list...), err
}
