package locks

import (
	"cmp"
	"maps"
	"slices"

	"pagemesh/pagetable"
)

// This file finds deadlocks among goroutines that hold mutexes and read/write mutexes and wait for others. No
// node sees all of them, and no two look at the same time, so what they report together need never have been
// true. Therefore they are asked twice (after Ho and Ramamoorthy, "Protocols for Deadlock Detection in
// Distributed Database Systems", IEEE TSE 8(6), 1982), and only what both answers say counts:
//
//  1. A wait has an id of its own, so one that is reported twice has lasted from the first report to the
//     second.
//  2. A goroutine that waits locks nothing. What it holds at both reports it has held in between.
//  3. A queue is first come, first served, within an epoch. Who is ahead in both reports was in between.
//  4. Every first report is made before any second one, so between the two there is a moment at which all
//     this was true at once.
//
// So whoever is part of a cycle was in a deadlock then, and still is, unless a wait was given up meanwhile, or
// somebody unlocks what another goroutine has locked.
//
// (If the clocks of all nodes agreed, one question by the node of the youngest wait would do: whoever waits in
// its cycle began before it, so before the question, and was still waiting when answering it.)

// Goroutine names a goroutine of the space.
type Goroutine struct {
	Node    pagetable.NodeID
	Process int    // the id of the attached program that it is in; 0 if it is in the node's own process
	Number  uint64 // in its process; 0 if it is not known
}

// LockName is what people call a lock: its kind as in LockStatus, and its name.
type LockName struct{ Kind, Name string }

// MutexName returns what the mutex of that name is called.
func MutexName(name string) LockName { return LockName{"mutex", name} }

// PoolName returns what the pool of that name and size is called.
func PoolName(name string, size uint64) LockName {
	if size == Everything {
		return LockName{"rwmutex", name}
	}
	return LockName{"semaphore", name}
}

// WaitID names a wait in the space.
type WaitID struct {
	Node   pagetable.NodeID
	Waiter Waiter
}

// Wait is a goroutine's wait for a lock.
type Wait struct {
	WaitID
	By        Goroutine
	Lock      LockName
	Exclusive bool   // for itself alone
	Since     int64  // when it began or was noticed, by a clock that is about the same at all nodes
	At        string // the line, for people
}

// Hold is a goroutine's possession of a lock.
type Hold struct {
	By        Goroutine
	Lock      LockName
	Exclusive bool
	At        string // the line at which it was locked, for people
}

// Queue is who waits for a lock that serves strictly in the order of its queue.
type Queue struct {
	Lock  LockName
	Waits []WaitID // the first of them is served next
}

// Uses is how the locks are used, as one node knows it: its own goroutines, and the queues homed there.
type Uses struct {
	Epoch  uint64
	Waits  []Wait
	Holds  []Hold
	Queues []Queue
}

// Blocked says that one wait can't end before another does: either the goroutine of that one holds what this
// one wants, or that one is ahead of it in a queue.
type Blocked struct {
	Wait, By WaitID
	Queued   bool
}

// Queues returns the queues of the read/write mutexes homed at this node. In those of mutexes everybody waits for
// the same holder.
func (m *Machine) Queues() []Queue {
	var all []Queue
	for _, p := range m.home.pools {
		if p.size != Everything || len(p.queue) == 0 {
			continue
		}
		q := Queue{Lock: PoolName(p.name, p.size)}
		for _, r := range p.queue {
			q.Waits = append(q.Waits, WaitID{r.node, r.waiter})
		}
		all = append(all, q)
	}
	return all
}

// Deadlocks returns the deadlocks in what the nodes said when they were asked twice: of each the shortest cycle
// through its youngest wait, which comes first. Each of its waits is blocked by the next, the last by the
// first. To end a deadlock somebody has to give up, and from the same reports everybody names the same one. Of
// deadlocks that have a wait in common only one is returned; when that is over the other shows.
func Deadlocks(first, second []Uses) [][]Blocked {
	if !oneEpoch(first, second) {
		return nil
	}
	before := blocked(first)
	g := waitGraph{next: map[WaitID][]Blocked{}, prev: map[WaitID][]Blocked{}}
	for _, b := range slices.SortedFunc(maps.Keys(blocked(second)), compareBlocked) {
		if before[b] {
			g.next[b.Wait] = append(g.next[b.Wait], b)
			g.prev[b.By] = append(g.prev[b.By], b)
		}
	}
	g.trim()
	return g.cycles(youngestFirst(second))
}

// oneEpoch reports whether all reports are of one epoch: a new one makes queues anew.
func oneEpoch(reports ...[]Uses) bool {
	epochs := map[uint64]bool{}
	for _, r := range reports {
		for _, u := range r {
			epochs[u.Epoch] = true
		}
	}
	return len(epochs) == 1
}

// blocked returns which wait is blocked by which.
func blocked(all []Uses) map[Blocked]bool {
	waits, of, holds := map[WaitID]bool{}, map[Goroutine][]WaitID{}, map[LockName][]Hold{}
	for _, u := range all {
		for _, w := range u.Waits {
			waits[w.WaitID] = true
			of[w.By] = append(of[w.By], w.WaitID)
		}
		for _, h := range u.Holds {
			if h.By.Number != 0 {
				holds[h.Lock] = append(holds[h.Lock], h)
			}
		}
	}
	found := map[Blocked]bool{}
	for _, u := range all {
		for _, w := range u.Waits {
			for _, h := range holds[w.Lock] {
				for _, by := range of[h.By] {
					if w.Exclusive || h.Exclusive {
						found[Blocked{Wait: w.WaitID, By: by}] = true
					}
				}
			}
		}
		for _, q := range u.Queues {
			for i := 1; i < len(q.Waits); i++ {
				if waits[q.Waits[i]] && waits[q.Waits[i-1]] {
					found[Blocked{Wait: q.Waits[i], By: q.Waits[i-1], Queued: true}] = true
				}
			}
		}
	}
	return found
}

// youngestFirst returns the waits in an order on which all nodes agree.
func youngestFirst(all []Uses) []WaitID {
	var waits []Wait
	for _, u := range all {
		waits = append(waits, u.Waits...)
	}
	slices.SortFunc(waits, func(a, b Wait) int {
		return cmp.Or(cmp.Compare(b.Since, a.Since), compareWaits(b.WaitID, a.WaitID))
	})
	ids := make([]WaitID, len(waits))
	for i, w := range waits {
		ids[i] = w.WaitID
	}
	return ids
}

func compareBlocked(a, b Blocked) int {
	queued := 0
	if a.Queued != b.Queued {
		queued = -1
		if a.Queued {
			queued = 1
		}
	}
	return cmp.Or(compareWaits(a.Wait, b.Wait), compareWaits(a.By, b.By), queued)
}

func compareWaits(a, b WaitID) int {
	return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Waiter, b.Waiter))
}

// waitGraph holds what blocks each wait, and what each wait blocks, in order.
type waitGraph struct{ next, prev map[WaitID][]Blocked }

// trim removes waits that nothing blocks, again and again: mostly nothing remains.
func (g *waitGraph) trim() {
	var free []WaitID
	for w := range g.prev {
		if len(g.next[w]) == 0 {
			free = append(free, w)
		}
	}
	ended := map[WaitID]int{} // how many of those that block a wait are free
	for ; len(free) > 0; free = free[1:] {
		for _, b := range g.prev[free[0]] {
			if ended[b.Wait]++; ended[b.Wait] == len(g.next[b.Wait]) {
				delete(g.next, b.Wait)
				free = append(free, b.Wait)
			}
		}
	}
}

// cycles returns one cycle through each set of waits that all block each other: through the first of it in
// that order.
func (g *waitGraph) cycles(order []WaitID) [][]Blocked {
	var all [][]Blocked
	done := map[WaitID]bool{}
	for _, w := range order {
		if done[w] || len(g.next[w]) == 0 {
			continue
		}
		blockers := g.reach(w, g.next, func(b Blocked) WaitID { return b.By })
		last, ok := blockers[w]
		if !ok {
			continue
		}
		cycle := []Blocked{last}
		for cycle[0].Wait != w {
			cycle = slices.Insert(cycle, 0, blockers[cycle[0].Wait])
		}
		all = append(all, cycle)
		for id := range g.reach(w, g.prev, func(b Blocked) WaitID { return b.Wait }) {
			if _, both := blockers[id]; both {
				done[id] = true
			}
		}
	}
	return all
}

// reach returns what can be reached from a wait, each with the edge by which it is reached first.
func (g *waitGraph) reach(from WaitID, edges map[WaitID][]Blocked, end func(Blocked) WaitID) map[WaitID]Blocked {
	by := map[WaitID]Blocked{}
	for queue := []WaitID{from}; len(queue) > 0; queue = queue[1:] {
		for _, b := range edges[queue[0]] {
			if _, seen := by[end(b)]; !seen {
				by[end(b)] = b
				queue = append(queue, end(b))
			}
		}
	}
	return by
}
