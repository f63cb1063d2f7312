package bench

import (
	"slices"

	"pagemesh/dsm"
)

const (
	treeLeast = 15 // keys of a node that is not the root
	treeMost  = 2*treeLeast + 1
)

// tree is a B-tree in shared memory (Cormen et al., Introduction to Algorithms, chapter on B-trees). Its
// users see to it that nobody else uses it while it changes.
type tree struct {
	team
	heap *dsm.Heap
	root *Array[dsm.Ptr[treeNode]] // one
}

// treeNode has Count keys in ascending order, and unless it is a leaf a subtree before, between and behind
// them.
type treeNode struct {
	Count  int32
	Leaf   bool
	Keys   [treeMost]uint64
	Values [treeMost]uint64
	Kids   [treeMost + 1]dsm.Ptr[treeNode]
}

// newTree returns the empty tree in a heap.
func newTree(t team, h *dsm.Heap) *tree {
	x := &tree{team: t, heap: h, root: teamArray[dsm.Ptr[treeNode]](t, "root", 1, layout{})}
	if t.r.Rank == 0 {
		root := x.newNode()
		root.Get().Leaf = true
		x.root.Set(0, root)
	}
	t.meet()
	return x
}

func (t *tree) newNode() dsm.Ptr[treeNode] {
	p, err := dsm.New[treeNode](t.ctx, t.heap)
	check(err)
	return p
}

// find returns the value of a key.
func (t *tree) find(key uint64) (value uint64, found bool) {
	for n := t.root.Get(0).Get(); ; {
		i, found := n.search(key)
		switch {
		case found:
			return n.Values[i], true
		case n.Leaf:
			return 0, false
		}
		n = n.Kids[i].Get()
	}
}

// insert adds a key that is not in the tree. On the way down it splits every node that is full.
func (t *tree) insert(key, value uint64) {
	root := t.root.Get(0)
	if root.Get().Count == treeMost {
		above := t.newNode()
		above.Get().Kids[0] = root
		t.split(above.Get(), 0)
		t.root.Set(0, above)
		root = above
	}
	n := root.Get()
	for !n.Leaf {
		i, _ := n.search(key)
		if n.Kids[i].Get().Count == treeMost {
			t.split(n, i)
			i, _ = n.search(key)
		}
		n = n.Kids[i].Get()
	}
	i, _ := n.search(key)
	n.open(i)
	n.Keys[i], n.Values[i] = key, value
}

// scan calls f for up to limit keys from key on, in order, with their values.
func (t *tree) scan(key uint64, limit int, f func(key, value uint64)) {
	t.root.Get(0).Get().scan(key, limit, f)
}

// scan does so for the subtree of n and returns how many may still follow.
func (n *treeNode) scan(key uint64, limit int, f func(key, value uint64)) int {
	i, _ := n.search(key)
	for ; limit > 0 && i <= int(n.Count); i++ {
		if !n.Leaf {
			limit = n.Kids[i].Get().scan(key, limit, f)
		}
		if limit > 0 && i < int(n.Count) {
			f(n.Keys[i], n.Values[i])
			limit--
		}
	}
	return limit
}

// search returns the place of a key, or where it belongs.
func (n *treeNode) search(key uint64) (i int, found bool) {
	return slices.BinarySearch(n.Keys[:n.Count], key)
}

// open makes room for a key at place i, with a subtree behind it.
func (n *treeNode) open(i int) {
	copy(n.Keys[i+1:], n.Keys[i:n.Count])
	copy(n.Values[i+1:], n.Values[i:n.Count])
	if !n.Leaf {
		copy(n.Kids[i+2:], n.Kids[i+1:n.Count+1])
	}
	n.Count++
}

// split moves the upper half of the i-th child of n to a new node, and the key in the middle up to n.
func (t *tree) split(n *treeNode, i int) {
	p := t.newNode()
	low, high := n.Kids[i].Get(), p.Get()
	high.Leaf, high.Count, low.Count = low.Leaf, treeLeast, treeLeast
	copy(high.Keys[:], low.Keys[treeLeast+1:])
	copy(high.Values[:], low.Values[treeLeast+1:])
	copy(high.Kids[:], low.Kids[treeLeast+1:])
	n.open(i)
	n.Keys[i], n.Values[i], n.Kids[i+1] = low.Keys[treeLeast], low.Values[treeLeast], p
}
