package coherence

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/pagetable"
)

// viewTwin is a naive twin of a View: what its changes are meant to say.
type viewTwin struct {
	v View
	// members maps each to its successor, 0 if it stays.
	members  map[pagetable.NodeID]pagetable.NodeID
	reserved []pagetable.NodeID            // ids that were given out and have not joined
	slots    map[string][]pagetable.NodeID // who fills the slots of each region
	locks    []pagetable.NodeID
	epoch    uint64
	highest  pagetable.NodeID // id given out
	departed pagetable.NodeID // by the change that began the epoch
}

func newViewTwin() *viewTwin {
	return &viewTwin{
		v: FoundingView(Member{Addr: "a"}), members: map[pagetable.NodeID]pagetable.NodeID{1: 0},
		slots: map[string][]pagetable.NodeID{}, epoch: 1, highest: 1,
	}
}

// change applies a change and checks what is true of every one: the old view stays as it was, the new
// one is later if it is another one, and it goes over the wire unharmed.
func (w *viewTwin) change(t *rapid.T, f func(View) (View, error)) error {
	old := w.v
	before := EncodeView(old)
	next, err := f(old)
	if !bytes.Equal(EncodeView(old), before) {
		t.Fatalf("the change was made in place: %+v", old)
	}
	changed := !bytes.Equal(EncodeView(next), before)
	if err != nil && changed {
		t.Fatalf("a change that failed (%v) changed %+v to %+v", err, old, next)
	}
	if changed != next.Later(old) || old.Later(next) || old.Later(old) {
		t.Fatalf("%d.%d is followed by %d.%d, changed %v", old.Term, old.Version, next.Term, next.Version, changed)
	}
	again, err2 := DecodeView(EncodeView(next))
	if err2 != nil || !sameView(again, next) {
		t.Fatalf("%+v became %+v, %v", next, again, err2)
	}
	if next.Epoch != old.Epoch {
		w.departed = 0
	}
	w.v = next
	return err
}

// check compares the view with its twin.
func (w *viewTwin) check(t *rapid.T) {
	v := w.v
	if err := checkView(v); err != nil {
		t.Fatal(err)
	}
	if got, want := v.Nodes(), slices.Sorted(maps.Keys(w.members)); !slices.Equal(got, want) {
		t.Fatalf("members %v, want %v", got, want)
	}
	for n, successor := range w.members {
		if m, ok := v.Member(n); !ok || m.Successor != successor || successor != 0 && !slices.Contains(v.Staying(), successor) {
			t.Fatalf("%v is to be succeeded by %v, want %v, which stays", n, m.Successor, successor)
		}
	}
	if leaving := len(v.Members) - len(v.Staying()); leaving > 1 {
		t.Fatalf("%d leave at once", leaving)
	}
	if v.Epoch != w.epoch || v.Departed != w.departed {
		t.Fatalf("epoch %d, departed %v, want %d and %v", v.Epoch, v.Departed, w.epoch, w.departed)
	}
	w.checkHomes(t)
}

func (w *viewTwin) checkHomes(t *rapid.T) {
	if w.v.Regions.Len() != len(w.slots) {
		t.Fatalf("%d regions, want %d", w.v.Regions.Len(), len(w.slots))
	}
	for r := range w.v.Regions.All() {
		slots := w.slots[r.Name]
		if !slices.Equal(r.Placement.Nodes, slots) {
			t.Fatalf("%v is on %v, want %v", r, r.Placement.Nodes, slots)
		}
		for i := range r.Pages() {
			if home := w.v.Home(r, i); home != w.alive(r.Placement.Home(i, r.Pages())) {
				t.Fatalf("page %d of %v has home %v", i, r, home)
			}
		}
	}
	if !slices.Equal(w.v.Locks.Nodes, w.locks) {
		t.Fatalf("locks are on %v, want %v", w.v.Locks.Nodes, w.locks)
	}
	for i := range w.locks {
		if home := w.v.LockHome(uint64(i) << 30); home == 0 || !w.v.Has(home) {
			t.Fatalf("lock %d has home %v", i, home)
		}
	}
}

func (w *viewTwin) alive(n pagetable.NodeID) pagetable.NodeID {
	if _, ok := w.members[n]; ok {
		return n
	}
	return 0
}

func (w *viewTwin) leaving() pagetable.NodeID {
	for n, successor := range w.members {
		if successor != 0 {
			return n
		}
	}
	return 0
}

// anyNode draws a member as a rule, sometimes somebody else.
func (w *viewTwin) anyNode(t *rapid.T) pagetable.NodeID {
	return pagetable.NodeID(rapid.Uint32Range(1, uint32(w.highest)+1).Draw(t, "node"))
}

func (w *viewTwin) reserve(t *rapid.T) {
	if w.highest > 12 {
		t.Skip("enough nodes")
	}
	var n pagetable.NodeID
	err := w.change(t, func(v View) (next View, err error) {
		next, n, err = v.Reserve()
		return next, err
	})
	if err != nil || n <= w.highest {
		t.Fatalf("reserved %v after %v, %v", n, w.highest, err)
	}
	w.highest = n
	w.reserved = append(w.reserved, n)
}

func (w *viewTwin) join(t *rapid.T) {
	if len(w.reserved) == 0 {
		t.Skip("nobody wants to join")
	}
	i := rapid.IntRange(0, len(w.reserved)-1).Draw(t, "which")
	n := w.reserved[i]
	w.reserved = slices.Delete(w.reserved, i, i+1)
	_ = w.change(t, func(v View) (View, error) { return v.Join(Member{Node: n, Addr: n.String()}), nil })
	w.members[n] = 0
}

func (w *viewTwin) addRegion(t *rapid.T) {
	want := pagetable.Region{Name: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name"), Size: 2000, PageSize: 256}
	if rapid.Bool().Draw(t, "placed") {
		want.Placement.Nodes = rapid.SliceOfN(rapid.Custom(w.anyNode), 1, 3).Draw(t, "on")
	}
	old, exists := w.slots[want.Name]
	var got pagetable.Region
	err := w.change(t, func(v View) (next View, err error) {
		next, got, err = v.AddRegion(want)
		return next, err
	})
	stays := func(n pagetable.NodeID) bool { successor, ok := w.members[n]; return ok && successor == 0 }
	asked := want.Placement.Nodes
	switch {
	case exists && len(asked) > 0 && !slices.Equal(asked, old):
		if !errors.Is(err, ErrRegionExists) {
			t.Fatalf("%v exists on %v: %v", want.Name, old, err)
		}
	case exists:
		if err != nil || got.Name != want.Name {
			t.Fatalf("opened %v: %v", got, err)
		}
	case slices.ContainsFunc(asked, func(n pagetable.NodeID) bool { return !stays(n) }):
		if !errors.Is(err, ErrNotMember) {
			t.Fatalf("placed on %v: %v", asked, err)
		}
	case err != nil:
		t.Fatal(err)
	case len(asked) > 0:
		w.slots[want.Name] = slices.Clone(asked)
	default:
		w.slots[want.Name] = w.v.Staying()
	}
}

func (w *viewTwin) placeLocks(t *rapid.T) {
	_ = w.change(t, func(v View) (View, error) { return v.PlaceLocks(), nil })
	if w.locks == nil {
		w.locks = w.v.Staying()
	}
}

func (w *viewTwin) startLeave(t *rapid.T) {
	n := w.anyNode(t)
	err := w.change(t, func(v View) (View, error) { return v.StartLeave(n) })
	_, member := w.members[n]
	m, _ := w.v.Member(n)
	switch {
	case !member:
		if !errors.Is(err, ErrNotMember) {
			t.Fatalf("%v is no member: %v", n, err)
		}
	case w.leaving() == n:
		if err != nil {
			t.Fatalf("%v starts again: %v", n, err)
		}
	case w.leaving() != 0:
		if !errors.Is(err, ErrLeaveBusy) {
			t.Fatalf("%v leaves beside %v: %v", n, w.leaving(), err)
		}
	case len(w.members) == 1:
		if err == nil {
			t.Fatal("the last node leaves")
		}
	case err != nil || m.Successor == 0 || m.Successor == n:
		t.Fatalf("%v leaves to %v: %v", n, m.Successor, err)
	default:
		w.members[n] = m.Successor
	}
}

func (w *viewTwin) finishLeave(t *rapid.T) {
	n := w.anyNode(t)
	if l := w.leaving(); l != 0 && rapid.Bool().Draw(t, "the one that leaves") {
		n = l
	}
	err := w.change(t, func(v View) (View, error) { return v.FinishLeave(n) })
	successor := w.members[n]
	if successor == 0 {
		if !errors.Is(err, ErrNotMember) {
			t.Fatalf("%v never started to leave: %v", n, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, slots := range w.slots {
		replace(slots, n, successor)
	}
	replace(w.locks, n, successor)
	w.remove(n)
	w.departed = n
}

func replace(slots []pagetable.NodeID, old, new pagetable.NodeID) {
	for i, n := range slots {
		if n == old {
			slots[i] = new
		}
	}
}

// remove takes a member out, with what others expected of it.
func (w *viewTwin) remove(n pagetable.NodeID) {
	delete(w.members, n)
	for m, successor := range w.members {
		if successor == n {
			w.members[m] = 0
		}
	}
	w.epoch++
}

// lose leaves at least one member.
func (w *viewTwin) lose(t *rapid.T) {
	nodes := rapid.SliceOfNDistinct(rapid.Custom(w.anyNode), 1, 3, rapid.ID).Draw(t, "lost")
	var gone []pagetable.NodeID
	for _, n := range nodes {
		if _, ok := w.members[n]; ok {
			gone = append(gone, n)
		}
	}
	if len(gone) == len(w.members) {
		t.Skip("nobody would be left")
	}
	_ = w.change(t, func(v View) (View, error) { return v.Lose(nodes), nil })
	for _, n := range gone {
		w.remove(n)
	}
	w.locks = slices.Clone(w.v.Locks.Nodes) // where they move is free; checkHomes wants them on members
}

// takeOver also looks at what the coordinator before may have done unseen: the views of the new term
// must replace its views, and must not be taken for them by their epoch.
func (w *viewTwin) takeOver(t *rapid.T) {
	n := rapid.SampledFrom(w.v.Nodes()).Draw(t, "coordinator")
	terms := rapid.Uint64Range(1, 3).Draw(t, "terms")
	unseen := w.v
	if lost := rapid.SampledFrom(w.v.Nodes()).Draw(t, "lost unseen"); len(w.members) > 1 {
		unseen = unseen.Lose([]pagetable.NodeID{lost})
	}
	term := w.v.Term + terms
	_ = w.change(t, func(v View) (View, error) { return v.TakeOver(n, term), nil })
	if w.v.Coordinator != n || w.v.Term != term {
		t.Fatalf("%v coordinates in term %d, want %v in %d", w.v.Coordinator, w.v.Term, n, term)
	}
	if !w.v.Later(unseen) || w.v.Epoch <= unseen.Epoch {
		t.Fatalf("epoch %d of term %d does not replace epoch %d of term %d", w.v.Epoch, term, unseen.Epoch, unseen.Term)
	}
	w.epoch = w.v.Epoch
}

func TestViewChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newViewTwin()
		t.Repeat(map[string]func(*rapid.T){
			"":            w.check,
			"reserve":     w.reserve,
			"join":        w.join,
			"addRegion":   w.addRegion,
			"placeLocks":  w.placeLocks,
			"startLeave":  w.startLeave,
			"finishLeave": w.finishLeave,
			"lose":        w.lose,
			"takeOver":    w.takeOver,
		})
	})
}

// TestRegionsDoNotOverlap adds regions of all sizes.
func TestRegionsDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := FoundingView(Member{Addr: "a"})
		for i := range rapid.IntRange(1, 30).Draw(t, "regions") {
			next, r, err := v.AddRegion(pagetable.Region{
				Name: fmt.Sprint(i), Size: rapid.Uint64Range(1, 1<<42).Draw(t, "size"),
				PageSize: 1 << rapid.IntRange(8, 21).Draw(t, "page size"),
			})
			if err != nil {
				if !bytes.Equal(EncodeView(next), EncodeView(v)) {
					t.Fatalf("a region that does not fit changed the view: %v", err)
				}
				continue
			}
			if uint64(r.Base)%pagetable.MaxPageSize != 0 {
				t.Fatalf("%v does not begin on a boundary that all page sizes have", r)
			}
			v = next
		}
		var end pagetable.Addr
		for r := range v.Regions.All() {
			if r.Base < end {
				t.Fatalf("%v begins before %v", r, end)
			}
			end = r.Range().End
		}
	})
}

func TestFullSpaceTakesNobody(t *testing.T) {
	v := newCluster(MaxMembers, 1).latest()
	if _, _, err := v.Reserve(); err == nil {
		t.Error("reserved a place in a full space")
	}
	if _, n, err := v.Lose([]pagetable.NodeID{7}).Reserve(); err != nil || n != MaxMembers+1 {
		t.Errorf("after a loss: %v, %v", n, err)
	}
}
