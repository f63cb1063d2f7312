package bench

import (
	"context"
	"math"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "ep", Suite: "npb", Classes: []string{"W", "S", "A"}, Default: true,
		Purpose: "what ranks gain that have nothing to say to each other",
		Sharing: "each rank leaves its sums once; rank 0 reads them at the end",
		Run:     ep,
	})
}

// gaussian is a class of EP, with the official sums (NPB report RNR-94-007, section 2.2).
type gaussian struct {
	log        int // 2^log pairs
	sumX, sumY float64
}

var gaussians = map[string]gaussian{
	"S": {24, -3.247834652034740e3, -6.958407078382297e3},
	"W": {25, -2.863319731645753e3, -6.320053679109499e3},
	"A": {28, -4.295875165629892e3, -1.580732573678431e4},
}

const (
	epSeed  = 271828183
	epBlock = 1 << 16 // pairs that one rank makes at a time
	epError = 1e-8    // relative, of the sums
)

// deviates is what is kept of Gaussian deviates: their sums, and how many pairs have the larger of the
// two absolute values in [l, l+1).
type deviates struct {
	SumX, SumY float64
	Annuli     [10]int64
}

// count makes the pairs of blocks [lo, hi) by the polar method and adds up their deviates.
func (d *deviates) count(lo, hi int) {
	g := lcg(epSeed)
	g.skip(2 * epBlock * uint64(lo))
	for range (hi - lo) * epBlock {
		x, y := 2*g.next()-1, 2*g.next()-1
		t := x*x + y*y
		if t > 1 {
			continue
		}
		f := math.Sqrt(-2 * math.Log(t) / t)
		x, y = x*f, y*f
		d.Annuli[int(max(math.Abs(x), math.Abs(y)))]++
		d.SumX += x
		d.SumY += y
	}
}

func (d *deviates) add(e deviates) {
	d.SumX += e.SumX
	d.SumY += e.SumY
	for l := range d.Annuli {
		d.Annuli[l] += e.Annuli[l]
	}
}

// ep makes independent pairs of Gaussian deviates and adds them up.
func ep(ctx context.Context, r *Rank) error {
	class := gaussians[r.Spec.Class]
	blocks := 1 << class.log / epBlock
	parts := NewArray[deviates](ctx, r, "parts", r.Ranks, pagetable.Hashed)
	var reference deviates
	r.Sequential(func() { reference.count(0, blocks) })
	err := r.Timed(ctx, func() error {
		var part deviates
		part.count(r.Share(blocks))
		parts.Set(r.Rank, part)
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	var total deviates
	for rank := range r.Ranks {
		total.add(parts.Get(rank))
	}
	r.Verify(near(total.SumX, class.sumX, epError) && near(total.SumY, class.sumY, epError),
		"sums %.15e and %.15e; official are %.15e and %.15e", total.SumX, total.SumY, class.sumX, class.sumY)
	r.Verify(total.Annuli == reference.Annuli, "counts of annuli %v; sequential %v", total.Annuli, reference.Annuli)
	return nil
}

// near reports whether got differs from want by a relative error of at most e.
func near(got, want, e float64) bool { return math.Abs(got-want) <= e*math.Abs(want) }
