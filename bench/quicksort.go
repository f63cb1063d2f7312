package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "quicksort", Suite: "treadmarks", Size: 1 << 20,
		Purpose: "work that comes up while it is done, shared through a queue under a lock",
		Sharing: "a part of the array belongs to whoever takes it from the queue, which all write",
		Run:     quicksort,
	})
}

const (
	// quickLeast is how many numbers are not divided any more.
	quickLeast = 1 << 13
	quickParts = 1 << 12 // that may wait
	quickMost  = quickLeast * quickParts
	// quickPause is how long a member waits that finds no work.
	quickPause = 50 * time.Microsecond
)

// quicksort sorts an array in place.
func quicksort(ctx context.Context, r *Rank) error {
	n := r.size()
	if n > quickMost {
		return fmt.Errorf("size %d: choose at most %d", n, quickMost)
	}
	all, one, err := solveBoth(ctx, r, func(t team) *quickSorter { return newQuickSorter(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	verifySame(r, all.numbers, one.numbers)
	want := make([]float64, n)
	fillNoise(want, 0)
	slices.Sort(want)
	r.Verify(slices.Equal(one.numbers.Read(0, n).Data, want), "the sequential run sorts wrongly")
	return nil
}

// part is a half-open range of the array.
type part struct{ Lo, Hi int32 }

// quickQueue is the parts that wait to be sorted.
type quickQueue struct {
	Sorted, Waiting int32 // numbers that are at their places; parts
	Parts           [quickParts]part
}

// quickSorter is one member's side of quicksort.
type quickSorter struct {
	team
	numbers *Array[float64]
	queue   *Array[quickQueue] // one
	exclude func(func())       // guards the queue
}

func newQuickSorter(t team, n int) *quickSorter {
	s := &quickSorter{team: t, exclude: t.exclude("queue")}
	s.numbers = teamArray[float64](t, "numbers", n, layout{kind: pagetable.Blocked})
	s.queue = teamArray[quickQueue](t, "queue", 1, layout{})
	lo, hi := t.share(n)
	w := s.numbers.Write(lo, hi)
	fillNoise(w.Data, lo)
	w.Done()
	return s
}

// fillNoise sets numbers, the first of which is number from of all, to random ones.
func fillNoise(numbers []float64, from int) {
	g := lcg(isSeed)
	g.skip(uint64(from))
	for i := range numbers {
		numbers[i] = g.next()
	}
}

func (s *quickSorter) solve() {
	if s.r.Rank == 0 {
		s.put(part{0, int32(s.numbers.Len())})
	}
	for {
		p, ended := s.take()
		switch {
		case ended:
			return
		case p.Lo == p.Hi:
			time.Sleep(quickPause)
		default:
			s.sort(p)
		}
	}
}

// sort divides a part until it is small, leaves what it cuts off to others, and sorts the rest.
func (s *quickSorter) sort(p part) {
	for p.Hi-p.Lo > quickLeast {
		w := s.numbers.Write(int(p.Lo), int(p.Hi))
		middle := p.Lo + int32(divide(w.Data))
		w.Done()
		s.put(part{middle, p.Hi})
		p.Hi = middle
	}
	w := s.numbers.Write(int(p.Lo), int(p.Hi))
	slices.Sort(w.Data)
	w.Done()
	s.change(func(q *quickQueue) { q.Sorted += p.Hi - p.Lo })
}

// change changes the queue.
func (s *quickSorter) change(f func(q *quickQueue)) {
	s.exclude(func() {
		w := s.queue.Write(0, 1)
		f(&w.Data[0])
		w.Done()
	})
}

func (s *quickSorter) put(p part) {
	s.change(func(q *quickQueue) {
		q.Parts[q.Waiting] = p
		q.Waiting++
	})
}

// take takes the part that was put last: an empty one if none waits. It has ended when all is sorted.
func (s *quickSorter) take() (p part, ended bool) {
	s.change(func(q *quickQueue) {
		ended = int(q.Sorted) == s.numbers.Len()
		if q.Waiting > 0 {
			q.Waiting--
			p = q.Parts[q.Waiting]
		}
	})
	return p, ended
}

// divide moves the numbers from the middle of three on behind those before it, and returns how many
// these are: at least one, and not all (Hoare, CACM 4(7), 1961).
func divide(numbers []float64) int {
	n := len(numbers)
	three := []float64{numbers[0], numbers[n/2], numbers[n-1]}
	slices.Sort(three)
	for i, j := 0, n-1; ; i, j = i+1, j-1 {
		for numbers[i] < three[1] {
			i++
		}
		for numbers[j] > three[1] {
			j--
		}
		if i >= j {
			return max(1, i)
		}
		numbers[i], numbers[j] = numbers[j], numbers[i]
	}
}
