package bench

import (
	"context"
	"fmt"
	"math"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "water", Suite: "treadmarks", Size: 1728,
		Purpose: "sums that everybody adds to, part by part under locks",
		Sharing: "each rank moves a block of molecules and adds to the forces on half of all others",
		Run:     water,
	})
}

const (
	waterSeed    = 314159265
	waterSteps   = 5
	waterTick    = 0.002
	waterDensity = 0.8 // molecules in a unit of space
	waterReach   = 2.5 // beyond it molecules don't feel each other
	waterFixed   = 1 << 32
	waterDrift   = 1e-3 // relative, of the energy, which should not change
)

// water moves molecules that attract and repel each other, all pairs in each step. Forces are added in
// fixed point, so that their order does not matter, and all places must equal the sequential ones in
// every bit.
func water(ctx context.Context, r *Rank) error {
	n := r.size()
	if n < 8 {
		return fmt.Errorf("size %d: choose 8 molecules or more", n)
	}
	all, one, err := solveBoth(ctx, r, func(t team) *fluid { return newFluid(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	verifySame(r, all.places, one.places)
	first, last := one.energies[0], one.energies[waterSteps]
	r.Verify(near(last, first, waterDrift), "the energy was %v and is %v in the sequential run", first, last)
	return nil
}

// fluid is one member's side of water: molecules [lo, hi).
type fluid struct {
	team
	n, lo, hi int
	side      float64 // of the periodic box
	places    *Array[vec]
	forces    *Array[[3]int64] // in units of 1/waterFixed
	exclude   []func(func())   // by member: guards the forces on its molecules
	speeds    []vec            // of this member's molecules
	sums      [][3]int64       // of the forces that this member knows of, on all molecules
	total     func(float64) float64
	energies  [waterSteps + 1]float64
}

func newFluid(t team, n int) *fluid {
	f := &fluid{team: t, n: n, side: math.Cbrt(float64(n) / waterDensity), total: t.adder("energy")}
	f.lo, f.hi = t.share(n)
	f.places = teamArray[vec](t, "places", n, layout{kind: pagetable.Blocked})
	f.forces = teamArray[[3]int64](t, "forces", n, layout{kind: pagetable.Blocked})
	for m := range t.size() {
		f.exclude = append(f.exclude, t.exclude(fmt.Sprintf("forces/%d", m)))
	}
	f.speeds, f.sums = make([]vec, f.hi-f.lo), make([][3]int64, n)
	g := lcg(waterSeed)
	g.skip(uint64(3 * f.lo))
	perSide := int(math.Ceil(math.Cbrt(float64(n))))
	places := f.places.Write(f.lo, f.hi)
	for k := range f.speeds {
		i := f.lo + k
		cell := vec{float64(i % perSide), float64(i / perSide % perSide), float64(i / perSide / perSide)}
		places.Data[k] = cell.times(f.side / float64(perSide))
		f.speeds[k] = g.vec().minus(vec{0.5, 0.5, 0.5})
	}
	places.Done()
	return f
}

func (f *fluid) solve() {
	f.meet()
	f.energies[0] = f.interact()
	for step := range waterSteps {
		f.move()
		f.energies[step+1] = f.interact()
	}
}

// move lets the forces of the last step work for half a tick, and moves this member's molecules.
func (f *fluid) move() {
	f.accelerate()
	places, forces := f.places.Write(f.lo, f.hi), f.forces.Write(f.lo, f.hi)
	for k, v := range f.speeds {
		places.Data[k] = places.Data[k].plus(v.times(waterTick))
	}
	clear(forces.Data)
	forces.Done()
	places.Done()
	f.meet()
}

// accelerate lets the forces work for half a tick.
func (f *fluid) accelerate() {
	forces := f.forces.Read(f.lo, f.hi)
	defer forces.Done()
	for k, sum := range forces.Data {
		force := vec{float64(sum[0]), float64(sum[1]), float64(sum[2])}
		f.speeds[k] = f.speeds[k].plus(force.times(waterTick / 2 / waterFixed))
	}
}

// interact computes all forces and lets them work for half a tick. It returns the energy at this moment.
func (f *fluid) interact() float64 {
	energy := f.pairs()
	for m := range f.size() {
		f.deliver((f.r.Rank + m) % f.size())
	}
	f.meet()
	f.accelerate()
	for _, v := range f.speeds {
		energy += v.square() / 2
	}
	return f.total(energy)
}

// pairs computes the forces between this member's molecules and, for each, the half of all that follows
// it in a circle. It returns the energy in them.
func (f *fluid) pairs() (energy float64) {
	w := f.places.Read(0, f.n)
	defer w.Done()
	clear(f.sums)
	for i := f.lo; i < f.hi; i++ {
		for d := 1; d <= f.n/2; d++ {
			if 2*d == f.n && i >= f.n/2 {
				continue // the pair is that of the other one
			}
			j := (i + d) % f.n
			force, e := f.pair(w.Data[i].minus(w.Data[j]))
			energy += e
			for c := range force {
				fixed := int64(math.Round(force[c] * waterFixed))
				f.sums[i][c] += fixed
				f.sums[j][c] -= fixed
			}
		}
	}
	return energy
}

// pair returns the force on a molecule that lies at d from another, and the energy between them (Lennard
// and Jones). The nearest of the periodic images counts.
func (f *fluid) pair(d vec) (force vec, energy float64) {
	for c := range d {
		d[c] -= f.side * math.Round(d[c]/f.side)
	}
	square := d.square()
	if square >= waterReach*waterReach {
		return vec{}, 0
	}
	const edge = 4 * (1/(waterReach*waterReach*waterReach*waterReach*waterReach*waterReach) - 1) /
		(waterReach * waterReach * waterReach * waterReach * waterReach * waterReach) // the energy there
	six := 1 / (square * square * square)
	return d.times(24 * six * (2*six - 1) / square), 4*six*(six-1) - edge
}

// deliver adds what this member knows of the forces on the molecules of one member.
func (f *fluid) deliver(member int) {
	lo, hi := share(f.n, member, f.size())
	f.exclude[member](func() {
		w := f.forces.Write(lo, hi)
		defer w.Done()
		for k := range w.Data {
			for c, sum := range f.sums[lo+k] {
				w.Data[k][c] += sum
			}
		}
	})
}
