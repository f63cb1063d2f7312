package bench

import (
	"context"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "btree", Suite: "app", Size: 1 << 14, Mapped: true,
		Purpose: "a tree of pointers, as any Go program would have it, that all build",
		Sharing: "all ranks add keys to one tree under a lock, and then each looks up those of another",
		Run:     btree,
	})
}

const (
	treeBatch = 256 // keys that are added in one go
	treeBytes = 64  // that the tree takes for each key, or less
)

// btree adds size keys, each with a value, to a B-tree.
func btree(ctx context.Context, r *Rank) error {
	n := r.size()
	alone, heap := newHeap(ctx, r, "alone", n*treeBytes), newHeap(ctx, r, "heap", n*treeBytes)
	all, _, err := solveBoth(ctx, r, func(t team) *gardener {
		if t.alone {
			return newGardener(t, alone, n)
		}
		return newGardener(t, heap, n)
	})
	if err != nil {
		return err
	}
	missing := all.total(float64(all.missing))
	if r.Rank != 0 {
		return nil
	}
	c := treeCheck{valid: true}
	c.walk(all.tree.root.Get(0).Get(), 0)
	r.Verify(c.valid && c.keys == n, "%d keys of %d are in the tree, in order: %v", c.keys, n, c.valid)
	r.Verify(missing == 0, "%v keys were not found", missing)
	return nil
}

// newHeap returns the heap of that name with room for so many bytes of objects.
func newHeap(ctx context.Context, r *Rank, name string, bytes int) *dsm.Heap {
	const chunk = 64 << 10 // each rank leaves one unfinished
	region := newArray[byte](ctx, r, name, bytes+(2+r.Ranks)*chunk, layout{kind: pagetable.Hashed, words: true}).Region()
	h, err := dsm.NewHeap(r.Space, region)
	check(err)
	return h
}

// gardener is one member's side of btree.
type gardener struct {
	team
	n       int
	tree    *tree
	exclude func(func())
	total   func(float64) float64
	missing int // keys that were not found with their values
}

func newGardener(t team, h *dsm.Heap, n int) *gardener {
	return &gardener{team: t, n: n, tree: newTree(t, h), exclude: t.exclude("tree"), total: t.adder("missing")}
}

// treeKey returns the i-th key: all are different and in no order.
func treeKey(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 }

func (g *gardener) solve() {
	lo, hi := g.share(g.n)
	for ; lo < hi; lo += treeBatch {
		g.exclude(func() {
			for i := lo; i < min(lo+treeBatch, hi); i++ {
				g.tree.insert(treeKey(i), uint64(i))
			}
		})
	}
	g.meet()
	lo, hi = share(g.n, (g.r.Rank+1)%g.size(), g.size())
	for i := lo; i < hi; i++ {
		if v, found := g.tree.find(treeKey(i)); !found || v != uint64(i) {
			g.missing++
		}
	}
}

// treeCheck is what a walk through a tree has found.
type treeCheck struct {
	valid bool
	keys  int
	last  uint64
	leafs int // their depth, once one was seen
}

// walk goes through the subtree of n in order.
func (c *treeCheck) walk(n *treeNode, depth int) {
	if n.Count < treeLeast && depth > 0 || n.Count > treeMost {
		c.valid = false
		return
	}
	for i := range n.Count {
		if !n.Leaf {
			c.walk(n.Kids[i].Get(), depth+1)
		}
		if c.keys > 0 && n.Keys[i] <= c.last || n.Keys[i] != treeKey(int(n.Values[i])) {
			c.valid = false
		}
		c.keys++
		c.last = n.Keys[i]
	}
	if !n.Leaf {
		c.walk(n.Kids[n.Count].Get(), depth+1)
	} else if c.leafs == 0 {
		c.leafs = depth
	} else if c.leafs != depth {
		c.valid = false
	}
}
