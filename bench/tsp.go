package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
)

func init() {
	register(Workload{
		Name: "tsp", Suite: "treadmarks", Default: true, Size: 16,
		Purpose: "a search whose tasks are uneven, and one number that cuts it short for all",
		Sharing: "all ranks take tasks and read and write the best tour under one lock",
		Run:     tsp,
	})
}

const (
	tspSeed   = 1718281828
	tspCities = 24 // at most
	tspDepth  = 2  // cities after the first one that make a task
)

// tsp finds the shortest tour through cities on a plane by branch and bound.
func tsp(ctx context.Context, r *Rank) error {
	n := r.size()
	if n <= tspDepth+1 || n > tspCities {
		return fmt.Errorf("size %d: choose %d to %d cities", n, tspDepth+2, tspCities)
	}
	all, one, err := solveBoth(ctx, r, func(t team) *salesman { return newSalesman(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	got, want := all.best.Get(0), one.best.Get(0)
	r.Verify(got.Length == want.Length, "the tour has length %d; the one of the sequential run has %d", got.Length, want.Length)
	r.Verify(all.length(got) == got.Length, "the tour is not as long as it says, or does not visit every city once")
	return nil
}

// bestTour is the best tour so far, and the next task.
type bestTour struct {
	Length int64
	Task   int64
	Cities [tspCities]int64
}

// salesman is one member's side of tsp.
type salesman struct {
	team
	n       int
	miles   [tspCities][tspCities]int64
	nearest [tspCities][]int // the other cities, the nearest first
	least   [tspCities]int64 // the shortest way to leave a city
	best    *Array[bestTour] // one
	exclude func(func())     // guards best
	limit   int64            // the best length when this member last looked
	tour    [tspCities]int64 // the one that is being built
}

func newSalesman(t team, n int) *salesman {
	s := &salesman{team: t, n: n, exclude: t.exclude("best")}
	s.best = teamArray[bestTour](t, "best", 1, layout{})
	g := lcg(tspSeed)
	var x, y [tspCities]float64
	for i := range n {
		x[i], y[i] = g.next(), g.next()
	}
	for i := range n {
		for j := range n {
			s.miles[i][j] = int64(1000 * math.Hypot(x[i]-x[j], y[i]-y[j]))
			if i != j {
				s.nearest[i] = append(s.nearest[i], j)
			}
		}
		slices.SortFunc(s.nearest[i], func(a, b int) int { return int(s.miles[i][a] - s.miles[i][b]) })
		s.least[i] = s.miles[i][s.nearest[i][0]]
	}
	if t.r.Rank == 0 {
		s.best.Set(0, bestTour{Length: math.MaxInt64})
	}
	return s
}

func (s *salesman) solve() {
	s.meet() // the best tour is set
	for task := s.take(); task < s.tasks(); task = s.take() {
		s.try(task)
	}
}

func (s *salesman) tasks() int {
	n := 1
	for d := range tspDepth {
		n *= s.n - 1 - d
	}
	return n
}

// change looks at the best tour, and may change it.
func (s *salesman) change(f func(b *bestTour)) {
	s.exclude(func() {
		w := s.best.Write(0, 1)
		f(&w.Data[0])
		s.limit = w.Data[0].Length
		w.Done()
	})
}

func (s *salesman) take() (task int) {
	s.change(func(b *bestTour) {
		task = int(b.Task)
		b.Task++
	})
	return task
}

// try extends the start of a tour whose cities a task's number encodes, as places among those that are
// left, nearest first.
func (s *salesman) try(task int) {
	visited, length := uint32(1), int64(0)
	s.tour[0] = 0
	for d := 1; d <= tspDepth; d++ {
		choices := s.n - d
		from := s.tour[d-1]
		left := slices.DeleteFunc(slices.Clone(s.nearest[from]), func(c int) bool { return visited>>c&1 == 1 })
		to := left[task%choices]
		task /= choices
		visited |= 1 << to
		length += s.miles[from][to]
		s.tour[d] = int64(to)
	}
	s.extend(tspDepth+1, visited, length)
}

// extend tries all ways to go on with a tour of that many cities.
func (s *salesman) extend(cities int, visited uint32, length int64) {
	last := s.tour[cities-1]
	if cities == s.n {
		if length += s.miles[last][0]; length < s.limit {
			s.improve(length)
		}
		return
	}
	if s.bound(last, visited, length) >= s.limit {
		return
	}
	for _, to := range s.nearest[last] {
		if visited>>to&1 == 0 {
			s.tour[cities] = int64(to)
			s.extend(cities+1, visited|1<<to, length+s.miles[last][to])
		}
	}
}

// bound returns what a tour costs at least: the last city and all that are left must be departed from.
func (s *salesman) bound(last int64, visited uint32, length int64) int64 {
	length += s.least[last]
	for c := range s.n {
		if visited>>c&1 == 0 {
			length += s.least[c]
		}
	}
	return length
}

func (s *salesman) improve(length int64) {
	s.change(func(b *bestTour) {
		if length < b.Length {
			b.Length, b.Cities = length, s.tour
		}
	})
}

// length returns the length of a tour, 0 if it does not visit every city once.
func (s *salesman) length(b bestTour) int64 {
	visited, length := uint32(0), int64(0)
	for i, c := range b.Cities[:s.n] {
		next := b.Cities[(i+1)%s.n]
		if min(c, next) < 0 || max(c, next) >= int64(s.n) {
			return 0
		}
		visited |= 1 << c
		length += s.miles[c][next]
	}
	if visited != 1<<s.n-1 {
		return 0
	}
	return length
}
