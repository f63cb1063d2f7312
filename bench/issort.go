package bench

import (
	"context"
	"math/bits"
	"slices"

	"pagemesh/pagetable"
)

// sorter is one rank's side of the shared solution of IS. In each iteration a rank leaves its keys
// sorted by bucket, takes over the buckets that hold its share of all keys, and fetches and counts the
// keys of these from everybody.
type sorter struct {
	ctx    context.Context
	rank   *Rank
	class  ranking
	shift  int     // log2 of the keys that belong in a bucket
	lo, hi int     // places of this rank's keys
	keys   []int32 // its keys in their first order

	sizes  *Array[int32] // by rank and bucket: how many keys
	sorted *Array[int32] // at each rank's places, its keys by bucket
	tests  *Array[int32] // the test keys
	order  *Array[int32] // in the end, all keys
}

func newSorter(ctx context.Context, r *Rank, class ranking) *sorter {
	s := &sorter{ctx: ctx, rank: r, class: class, shift: bits.Len(uint(class.maxKey/class.buckets)) - 1}
	s.lo, s.hi = r.Share(class.keys)
	s.keys = class.makeKeys(s.lo, s.hi)
	s.sizes = NewArray[int32](ctx, r, "sizes", r.Ranks*class.buckets, pagetable.Blocked)
	s.sorted = NewArray[int32](ctx, r, "sorted", class.keys, pagetable.Blocked)
	s.tests = NewArray[int32](ctx, r, "tests", len(class.places), pagetable.Hashed)
	s.order = NewArray[int32](ctx, r, "order", class.keys, pagetable.Blocked)
	return s
}

// iterate ranks all keys once and returns how many official ranks this rank has met.
func (s *sorter) iterate(iteration int) (right int) {
	s.class.mark(s.keys, s.lo, iteration)
	s.publish()
	check(s.rank.Barrier(s.ctx))
	p := s.gather()
	tests := s.tests.Read(0, s.tests.Len())
	for t, key := range tests.Data {
		if i := int(key - p.from); i >= 0 && i < len(p.ranks) {
			right += s.class.check(t, iteration, p.ranks[i])
		}
	}
	tests.Done()
	check(s.rank.Barrier(s.ctx)) // nobody reads any more what the next iteration overwrites
	return right
}

// publish leaves this rank's keys and bucket sizes for the others.
func (s *sorter) publish() {
	first := s.rank.Rank * s.class.buckets
	sizes := s.sizes.Write(first, first+s.class.buckets)
	clear(sizes.Data)
	for _, k := range s.keys {
		sizes.Data[k>>s.shift]++
	}
	next := slices.Clone(sizes.Data)
	sizes.Done()
	accumulate(next, 0)
	sorted := s.sorted.Write(s.lo, s.hi)
	for _, k := range s.keys {
		sorted.Data[next[k>>s.shift]] = k
		next[k>>s.shift]++
	}
	sorted.Done()
	for t, place := range s.class.places {
		if s.lo <= place && place < s.hi {
			s.tests.Set(t, s.keys[place-s.lo])
		}
	}
}

// portion is what one rank has taken over: some buckets of all ranks.
type portion struct {
	from  int32    // the lowest key that belongs in it
	base  int32    // keys below that
	size  int      // keys in it
	runs  [][2]int // where they are, as half-open ranges of sorted
	ranks []int32  // by key, beginning with from
}

// gather fetches this rank's portion and ranks its keys.
func (s *sorter) gather() portion {
	p := s.divide()
	for _, run := range p.runs {
		keys := s.sorted.Read(run[0], run[1])
		count(p.ranks, keys.Data, p.from)
		keys.Done()
	}
	accumulate(p.ranks, p.base)
	return p
}

// divide finds this rank's portion: the buckets that begin in its share of all keys in their order.
func (s *sorter) divide() portion {
	w := s.sizes.Read(0, s.sizes.Len())
	defer w.Done()
	buckets := s.class.buckets
	below := make([]int32, buckets+1) // by bucket: keys in those before it
	for i, n := range w.Data {
		below[i%buckets] += n
	}
	accumulate(below, 0)
	first, _ := slices.BinarySearch(below, int32(s.lo))
	end, _ := slices.BinarySearch(below, int32(s.hi))
	p := portion{
		from: int32(first << s.shift), base: below[first], size: int(below[end] - below[first]),
		ranks: make([]int32, (end-first)<<s.shift),
	}
	for i := range s.rank.Ranks {
		from := (s.rank.Rank + i) % s.rank.Ranks // not all ask the same rank at the same time
		start, _ := share(s.class.keys, from, s.rank.Ranks)
		sizes := w.Data[from*buckets : (from+1)*buckets]
		start += sum(sizes[:first])
		p.runs = append(p.runs, [2]int{start, start + sum(sizes[first:end])})
	}
	return p
}

func sum(sizes []int32) int {
	total := 0
	for _, n := range sizes {
		total += int(n)
	}
	return total
}

// verify puts all keys in order by their ranks, and checks that and how many official ranks were met:
// by this rank, right of them. Rank 0 knows all keys.
func (s *sorter) verify(right int, keys []int32) {
	s.finish()
	passed := int(NewSum(s.ctx, s.rank, "right").Of(s.ctx, float64(right)))
	if s.rank.Rank != 0 {
		return
	}
	order := s.order.Read(0, s.class.keys)
	defer order.Done()
	if slices.IsSorted(order.Data) {
		passed++
	}
	s.rank.Verify(passed == isChecks, "%d of %d official checks passed", passed, isChecks)
	slices.Sort(keys)
	s.rank.Verify(slices.Equal(order.Data, keys), "the keys in order are not those that were made")
}

// finish writes this rank's portion of the keys in their order.
func (s *sorter) finish() {
	p := s.gather()
	ordered := make([]int32, p.size)
	for _, run := range p.runs {
		keys := s.sorted.Read(run[0], run[1])
		for _, k := range keys.Data {
			ordered[p.ranks[k-p.from]-p.base] = k
			p.ranks[k-p.from]++
		}
		keys.Done()
	}
	order := s.order.Write(int(p.base), int(p.base)+p.size)
	copy(order.Data, ordered)
	order.Done()
}
