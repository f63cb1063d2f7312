package coherence

import (
	"errors"
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// MaxMembers is the largest number of nodes in a space.
const MaxMembers = 1024

// Errors of view changes on which callers decide.
var (
	// ErrLeaveBusy: another member is leaving; try again when it is gone.
	ErrLeaveBusy = errors.New("another node is leaving")
	// ErrNotMember: the node that the change is about is not a member.
	ErrNotMember = errors.New("not a member")
	// ErrNoRegion: there is no region of that name.
	ErrNoRegion = errors.New("no such region")
	// ErrRegionExists: the name is taken by a region with other options.
	ErrRegionExists = errors.New("region exists with other options")
)

// Member is a node of the space.
type Member struct {
	Node        pagetable.NodeID
	Addr        string // where the others reach it, host:port
	Incarnation uint64 // random, tells a restarted process from the one before
	Rank        int    // the program's number in its launch
	// Successor is set while the member leaves: the node that takes over everything it homes.
	Successor pagetable.NodeID
}

// View is what all members agree on: who they are, what regions there are, who is whose home. It is a
// value: a change returns a new View and leaves the old one as it was. One place orders the changes.
//
// Invariant: Members is ascending by Node and not empty; Coordinator is among them.
type View struct {
	// Term counts coordinators, Version the changes of all terms. The greater pair is the later view.
	Term, Version uint64
	// Epoch grows with each change that ends a membership, and with each term. Messages carry it.
	Epoch       uint64
	Coordinator pagetable.NodeID
	Members     []Member
	Regions     *pagetable.RegionMap
	// Locks places the homes of locks and barriers by the hash of their names. It has no slots before
	// the first lock is used.
	Locks pagetable.Placement
	// Departed is the node that ended the epoch before this one by leaving, after it had handed
	// everything over; 0 if that epoch ended with a loss. A member learns it from whichever view of the
	// epoch comes first.
	Departed   pagetable.NodeID
	nextNode   pagetable.NodeID
	nextRegion pagetable.RegionID
}

// FoundingView returns the view of a space of one node, which gets id 1 and coordinates.
func FoundingView(founder Member) View {
	founder.Node = 1
	return View{
		Term: 1, Version: 1, Epoch: 1, Coordinator: 1, Members: []Member{founder},
		Regions: pagetable.NewRegionMap(), nextNode: 2, nextRegion: 1,
	}
}

// Later reports whether v replaces o.
func (v View) Later(o View) bool {
	return v.Term > o.Term || v.Term == o.Term && v.Version > o.Version
}

// Member returns the member with that id.
func (v View) Member(n pagetable.NodeID) (Member, bool) {
	i, ok := v.find(n)
	if !ok {
		return Member{}, false
	}
	return v.Members[i], true
}

// Has reports whether n is a member.
func (v View) Has(n pagetable.NodeID) bool {
	_, ok := v.find(n)
	return ok
}

func (v View) find(n pagetable.NodeID) (int, bool) {
	return slices.BinarySearchFunc(v.Members, n, func(m Member, n pagetable.NodeID) int {
		return int(m.Node) - int(n)
	})
}

// Nodes returns the ids of all members, ascending.
func (v View) Nodes() []pagetable.NodeID {
	nodes := make([]pagetable.NodeID, len(v.Members))
	for i, m := range v.Members {
		nodes[i] = m.Node
	}
	return nodes
}

// Staying returns the ids of the members that are not leaving, ascending.
func (v View) Staying() []pagetable.NodeID {
	var nodes []pagetable.NodeID
	for _, m := range v.Members {
		if m.Successor == 0 {
			nodes = append(nodes, m.Node)
		}
	}
	return nodes
}

// Home returns the home of a page, 0 if it was lost.
// Preconditions: r is a region of v and index < r.Pages().
func (v View) Home(r pagetable.Region, index uint64) pagetable.NodeID {
	return v.alive(r.Home(index))
}

// LockHome returns the home of the lock with that id, 0 if it was lost.
// Preconditions: v.Locks has slots.
func (v View) LockHome(id uint64) pagetable.NodeID {
	return v.alive(v.Locks.Home(id&pagetable.MaxPageIndex, pagetable.MaxPageIndex+1))
}

func (v View) alive(n pagetable.NodeID) pagetable.NodeID {
	if !v.Has(n) {
		return 0
	}
	return n
}

// advance begins the next change.
func (v *View) advance() { v.Version++ }

// Reserve gives out the next node id. The node is not a member before Join.
func (v View) Reserve() (View, pagetable.NodeID, error) {
	if len(v.Members) >= MaxMembers {
		return v, 0, fmt.Errorf("the space has %d nodes, the most it can have", MaxMembers)
	}
	n := v.nextNode
	v.nextNode++
	v.advance()
	return v, n, nil
}

// Join adds a member with a reserved id.
func (v View) Join(m Member) View {
	i, _ := v.find(m.Node)
	v.Members = slices.Insert(slices.Clone(v.Members), i, m)
	v.advance()
	return v
}

// AddRegion adds a region, whose id and base the view chooses, or finds that the same one exists. A
// Size of 0 means whatever exists, a PageSize of 0 whatever exists, else the default. A placement
// without nodes means whatever exists, else all staying members. The error is ErrRegionExists if the
// options disagree, ErrNoRegion if there is none and no size.
func (v View) AddRegion(r pagetable.Region) (View, pagetable.Region, error) {
	if old, ok := v.Regions.ByName(r.Name); ok {
		return v, old, sameRegion(old, r)
	}
	if r.Size == 0 {
		return v, r, fmt.Errorf("region %q has size 0: %w; give a size to create it", r.Name, ErrNoRegion)
	}
	if r.PageSize == 0 {
		r.PageSize = pagetable.DefaultPageSize
	}
	if len(r.Placement.Nodes) == 0 {
		r.Placement.Nodes = v.Staying()
	}
	if err := r.Validate(); err != nil {
		return v, r, err
	}
	for _, n := range r.Placement.Nodes {
		if m, ok := v.Member(n); !ok || m.Successor != 0 {
			return v, r, fmt.Errorf("region %q: placement names %v: %w", r.Name, n, ErrNotMember)
		}
	}
	r.ID = v.nextRegion
	base, err := v.Regions.FirstFit(r.Pages()*uint64(r.PageSize), pagetable.MaxPageSize)
	if err != nil {
		return v, r, fmt.Errorf("region %q: %w", r.Name, err)
	}
	r.Base = base
	regions := v.Regions.Clone()
	if err := regions.Insert(r); err != nil {
		return v, r, err
	}
	v.Regions, v.nextRegion = regions, v.nextRegion+1
	v.advance()
	return v, r, nil
}

// sameRegion compares what was asked for with what exists.
func sameRegion(old, want pagetable.Region) error {
	switch {
	case want.Size != 0 && old.Size != want.Size:
		return fmt.Errorf("region %q has %d bytes, not %d: %w", old.Name, old.Size, want.Size, ErrRegionExists)
	case want.PageSize != 0 && old.PageSize != want.PageSize:
		return fmt.Errorf("region %q has pages of %d bytes, not %d: %w", old.Name, old.PageSize, want.PageSize, ErrRegionExists)
	case old.Consistency != want.Consistency && (want.Size != 0 || want.Consistency != pagetable.Sequential):
		return fmt.Errorf("region %q has %v consistency, not %v: %w", old.Name, old.Consistency, want.Consistency, ErrRegionExists)
	case want.Size == 0:
	case old.Placement.Kind != want.Placement.Kind,
		len(want.Placement.Nodes) != 0 && !slices.Equal(old.Placement.Nodes, want.Placement.Nodes):
		return fmt.Errorf("region %q is placed %v on %v, not %v on %v: %w", old.Name, old.Placement.Kind,
			old.Placement.Nodes, want.Placement.Kind, want.Placement.Nodes, ErrRegionExists)
	}
	return nil
}

// eachRegion returns the regions after a change that leaves name, id and place of each as they are.
func eachRegion(old *pagetable.RegionMap, change func(*pagetable.Region)) *pagetable.RegionMap {
	regions := pagetable.NewRegionMap()
	for r := range old.All() {
		change(&r)
		if err := regions.Insert(r); err != nil {
			panic(fmt.Sprintf("coherence: %v: %v", r, err))
		}
	}
	return regions
}

// Declare says what type a region is an array of. The error is ErrNoRegion if there is no such region,
// ErrRegionExists if it has been declared otherwise.
func (v View) Declare(id pagetable.RegionID, layout string) (View, error) {
	old, ok := v.Regions.ByID(id)
	switch {
	case !ok:
		return v, fmt.Errorf("region %d: %w", id, ErrNoRegion)
	case old.Layout == layout:
		return v, nil
	case old.Layout != "":
		return v, fmt.Errorf("region %q is an array of %s, not of %s: %w", old.Name, old.Layout, layout, ErrRegionExists)
	}
	v.Regions = eachRegion(v.Regions, func(r *pagetable.Region) {
		if r.ID == id {
			r.Layout = layout
		}
	})
	v.advance()
	return v, nil
}

// PlaceLocks spreads the homes of locks over the staying members, once.
func (v View) PlaceLocks() View {
	if len(v.Locks.Nodes) == 0 {
		v.Locks = pagetable.Placement{Kind: pagetable.Hashed, Nodes: v.Staying()}
		v.advance()
	}
	return v
}

// StartLeave marks a member as leaving and chooses its successor. One member leaves at a time.
func (v View) StartLeave(n pagetable.NodeID) (View, error) {
	i, ok := v.find(n)
	if !ok {
		return v, fmt.Errorf("%v: %w", n, ErrNotMember)
	}
	stay := v.Staying()
	switch {
	case v.Members[i].Successor != 0:
		return v, nil
	case len(stay) < len(v.Members):
		return v, ErrLeaveBusy
	case len(stay) == 1:
		return v, fmt.Errorf("%v is the last node of the space: there is nobody to leave it to", n)
	}
	at := slices.Index(stay, n)
	v.Members = slices.Clone(v.Members)
	v.Members[i].Successor = stay[(at+1)%len(stay)]
	v.advance()
	return v, nil
}

// FinishLeave removes a member that has handed over everything it homed.
func (v View) FinishLeave(n pagetable.NodeID) (View, error) {
	m, ok := v.Member(n)
	if !ok || m.Successor == 0 {
		return v, fmt.Errorf("%v did not start to leave: %w", n, ErrNotMember)
	}
	v.Regions = eachRegion(v.Regions, func(r *pagetable.Region) {
		r.Placement = r.Placement.Replace(n, m.Successor)
	})
	v.Locks = v.Locks.Replace(n, m.Successor)
	v = v.remove(n)
	v.Departed = n
	return v, nil
}

// Lose removes members that are gone without having handed anything over. Pages they were home of
// are lost. The homes of locks move on to the staying members: locks are rebuilt from reports.
func (v View) Lose(nodes []pagetable.NodeID) View {
	for _, n := range nodes {
		if v.Has(n) {
			v = v.remove(n)
		}
	}
	stay := v.Staying()
	for i, n := range v.Locks.Nodes {
		if !v.Has(n) && len(stay) > 0 {
			v.Locks = v.Locks.Replace(n, stay[i%len(stay)])
		}
	}
	return v
}

// remove takes a member out. If it was to succeed a leaving node, that leave has failed and starts
// over with another successor. If it coordinated, the first member that stays does so now.
func (v View) remove(n pagetable.NodeID) View {
	i, _ := v.find(n)
	v.Members = slices.Delete(slices.Clone(v.Members), i, i+1)
	for j := range v.Members {
		if v.Members[j].Successor == n {
			v.Members[j].Successor = 0
		}
	}
	if v.Coordinator == n {
		if stay := v.Staying(); len(stay) > 0 {
			v.Coordinator = stay[0]
		}
	}
	v.advance()
	v.Epoch++
	v.Departed = 0
	return v
}

// TakeOver makes n the coordinator of a new term. The one before it may have ended memberships that v
// does not know of, and may have told some members: the epoch goes beyond what it can have counted, so
// that no two views have one epoch and different members.
// Preconditions: term is later than v's.
func (v View) TakeOver(n pagetable.NodeID, term uint64) View {
	v.Epoch += (term - v.Term) * MaxMembers
	v.Term, v.Coordinator, v.Departed = term, n, 0
	v.advance()
	return v
}
