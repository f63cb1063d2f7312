package bench

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pagemesh/dsm"
)

// small returns runs of all kernels that take a moment.
func small(t *testing.T) []Spec {
	return []Spec{
		{Workload: "ep", Class: "S"},
		{Workload: "is", Class: "S"},
		{Workload: "cg", Class: "S"},
		{Workload: "sor", Size: 200},
		{Workload: "mg", Class: "S"},
		{Workload: "ft", Class: "S"},
		{Workload: "jacobi", Size: 96},
		{Workload: "gauss", Size: 60},
		{Workload: "lu", Size: 128},
		{Workload: "lu-rows", Size: 96},
		{Workload: "radix", Size: 1 << 14},
		{Workload: "quicksort", Size: 1 << 16},
		{Workload: "tsp", Size: 11},
		{Workload: "pagerank", Size: 10},
		{Workload: "bfs", Size: 12},
		{Workload: "shallow", Size: 60},
		{Workload: "ocean", Size: 66},
		{Workload: "water", Size: 100},
		{Workload: "barnes", Size: 200},
		{Workload: "ycsb-a", Size: 200},
		{Workload: "ycsb-b", Size: 100},
		{Workload: "ycsb-c", Size: 100},
		{Workload: "ycsb-d", Size: 200},
		{Workload: "ycsb-f", Size: 200},
		{Workload: "matmul", Size: 100},
		{Workload: "wordcount", Input: writeText(t)},
	}
}

// writeText makes a directory of files with more words than one stripe holds, among them long ones, and
// one file that is no text.
func writeText(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for file := range 20 {
		var text bytes.Buffer
		for range 2000 {
			word := strconv.FormatUint(rng.Uint64N(2*stripeWords)+1000, 36)
			fmt.Fprintf(&text, "x%s%c", word, " \n.+"[rng.IntN(4)])
		}
		text.Write(bytes.Repeat([]byte("long"), 100))
		if file == 7 {
			text.WriteByte(0)
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(file)), text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestKernelsAreRight(t *testing.T) {
	specs := small(t)
	for ranks := 1; ranks <= 3; ranks++ {
		t.Run(fmt.Sprintf("ranks=%d", ranks), func(t *testing.T) {
			results := runAll(t, ranks, specs...)
			if len(results) != len(specs) {
				t.Errorf("%d results of %d runs", len(results), len(specs))
			}
			for _, r := range results {
				t.Logf("%-10s %6.3f s, sequential %6.3f s, %d read faults, %d write faults: %s",
					r.Workload, r.Seconds, r.SequentialSeconds, r.ReadFaults, r.WriteFaults, r.Detail)
				if !r.Verified {
					t.Errorf("%s: %s", r.Workload, r.Detail)
				}
				if ranks > 1 && r.ReadFaults+r.WriteFaults == 0 {
					t.Errorf("%s: no rank needed a page of another", r.Workload)
				}
			}
		})
	}
}

// TestDamageIsFound: one wrong bit in what the ranks have made, and the result is not verified.
func TestDamageIsFound(t *testing.T) {
	for _, c := range []struct {
		spec   Spec
		region string
		word   int64 // offset of the damaged word
	}{
		{Spec{Workload: "ep", Class: "S"}, "parts", 16},
		{Spec{Workload: "is", Class: "S"}, "sorted", 4096},
		{Spec{Workload: "sor", Size: 32}, "grid", 8 * 500},
		{Spec{Workload: "jacobi", Size: 32}, "even", 8 * 500},
		{Spec{Workload: "gauss", Size: 32}, "system", 8 * 20},
		{Spec{Workload: "lu", Size: 64}, "elements", 8 * 500},
		{Spec{Workload: "lu-rows", Size: 64}, "elements", 8 * 500},
		{Spec{Workload: "radix", Size: 1 << 12}, "even", 8 * 100},
		{Spec{Workload: "quicksort", Size: 1 << 12}, "numbers", 8 * 100},
		{Spec{Workload: "tsp", Size: 8}, "best", 0},
		{Spec{Workload: "tsp", Size: 8}, "best", 8 * 4},
		{Spec{Workload: "pagerank", Size: 8}, "even", 8 * 100},
		{Spec{Workload: "bfs", Size: 8}, "distances", 8 * 50},
		{Spec{Workload: "gups", Size: 100}, "table", 8 * 77},
		{Spec{Workload: "shallow", Size: 16}, "u", 8 * 100},
		{Spec{Workload: "ocean", Size: 16}, "stream", 8 * 100},
		{Spec{Workload: "water", Size: 20}, "places", 8 * 10},
		{Spec{Workload: "barnes", Size: 50}, "bodies", 8 * 10},
		{Spec{Workload: "ycsb-a", Size: 20}, "records", 8192 + 24},
		{Spec{Workload: "ycsb-d", Size: 20}, "newest", 0},
		{Spec{Workload: "matmul", Size: 20}, "c", 8 * 100},
		{Spec{Workload: "wordcount", Input: writeText(t)}, "stripes", 16 * 300},
		{Spec{Workload: "pingpong", Size: 10}, "ball", 0},
	} {
		t.Run(c.spec.Workload, func(t *testing.T) {
			const ranks = 2
			ctx, spaces := openSpaces(t, ranks)
			var result Result
			eachRank(spaces, func(s *dsm.Space) {
				r := newRank(&Job{Space: s, Ranks: ranks, Specs: []Spec{c.spec}}, 0)
				if r.Rank == 0 {
					r.spoil = func() { damage(ctx, t, s, r.name+"/"+c.region, c.word) }
				}
				if err := r.run(ctx); err != nil {
					t.Error(err)
				}
				if r.Rank == 0 {
					result = r.Result
				}
			})
			if result.Verified {
				t.Errorf("verified: %s", result.Detail)
			}
		})
	}
}

func damage(ctx context.Context, t *testing.T, s *dsm.Space, region string, word int64) {
	r, err := s.Region(ctx, region, dsm.RegionOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	v, err := r.Load(ctx, word)
	if err != nil {
		t.Error(err)
	}
	if err := r.Store(ctx, word, v^1<<40); err != nil {
		t.Error(err)
	}
}

// TestOfficialValueDecides: a result that is close, but not close enough to the official one.
func TestOfficialValueDecides(t *testing.T) {
	eigen, poisson, spectrum := eigens["S"], poissons["S"], spectra["S"]
	defer func() { eigens["S"], poissons["S"], spectra["S"] = eigen, poisson, spectrum }()
	shifted, smooth, cold := eigen, poisson, spectrum
	shifted.zeta += 2 * cgError
	smooth.norm *= 1 + 2*mgError
	cold.checksums[3] *= 1 + 2*ftError
	eigens["S"], poissons["S"], spectra["S"] = shifted, smooth, cold
	specs := []Spec{{Workload: "cg", Class: "S"}, {Workload: "mg", Class: "S"}, {Workload: "ft", Class: "S"}}
	for _, r := range runAll(t, 2, specs...) {
		if r.Verified {
			t.Errorf("%s verified: %s", r.Workload, r.Detail)
		}
	}
}

// TestTreeCheckFindsWrongNodes: keys out of order, a key that is not its value's, and too many.
func TestTreeCheckFindsWrongNodes(t *testing.T) {
	right := treeNode{Count: 2, Leaf: true, Values: [treeMost]uint64{0, 2}}
	swapped, alien, full := right, right, right
	for _, n := range []*treeNode{&right, &swapped, &alien, &full} {
		n.Keys = [treeMost]uint64{treeKey(0), treeKey(2)}
	}
	swapped.Keys[0], swapped.Keys[1] = swapped.Keys[1], swapped.Keys[0]
	swapped.Values[0], swapped.Values[1] = 2, 0
	alien.Keys[1]++
	full.Count = treeMost + 1
	for _, c := range []struct {
		name string
		node *treeNode
		want bool
	}{{"right", &right, true}, {"swapped", &swapped, false}, {"alien", &alien, false}, {"full", &full, false}} {
		check := treeCheck{valid: true}
		if check.walk(c.node, 0); check.valid != c.want {
			t.Errorf("%s: valid is %v, want %v", c.name, check.valid, c.want)
		}
	}
}
