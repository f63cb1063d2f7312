package bench

import (
	"context"
	"fmt"
	"math"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "barnes", Suite: "treadmarks", Size: 4096,
		Purpose: "a tree that one builds and all read, here and there, to move what is theirs",
		Sharing: "rank 0 writes the tree of all bodies; each rank reads it and writes a block of bodies",
		Run:     barnes,
	})
}

const (
	barnesSeed   = 314159265
	barnesSteps  = 3
	barnesTick   = 0.01
	barnesOpen   = 0.5  // a cell is one mass if its side over its distance is less
	barnesSoft   = 0.05 // keeps forces between near bodies finite
	barnesChecks = 16   // bodies whose forces are computed from all others, too
	barnesError  = 0.05 // relative, of these forces
)

// barnes moves bodies by their gravity, where far groups of bodies count as one (Barnes, Hut, Nature 324,
// 1986). All places must equal the sequential ones in every bit.
func barnes(ctx context.Context, r *Rank) error {
	n := r.size()
	if n < barnesChecks {
		return fmt.Errorf("size %d: choose %d bodies or more", n, barnesChecks)
	}
	all, one, err := solveBoth(ctx, r, func(t team) *galaxy { return newGalaxy(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	verifySame(r, all.bodies, one.bodies)
	worst := one.worst()
	r.Verify(worst < barnesError, "a force of the sequential run is wrong by %.1f %%", 100*worst)
	return nil
}

// body is a mass of 1/n.
type body struct{ Place, Speed vec }

// cell is a cube in space.
type cell struct {
	Center, Mean vec // its middle, and that of its mass
	Side, Mass   float64
	// Kids are the eight parts: 0 if it is empty, i for cell i, -1-i for body i alone.
	Kids [8]int32
}

// galaxy is one member's side of barnes: bodies [lo, hi).
type galaxy struct {
	team
	n, lo, hi int
	bodies    *Array[body]
	cells     *Array[cell] // the first is all of space
}

func newGalaxy(t team, n int) *galaxy {
	g := &galaxy{team: t, n: n}
	g.lo, g.hi = t.share(n)
	g.bodies = teamArray[body](t, "bodies", n, layout{kind: pagetable.Blocked})
	g.cells = teamArray[cell](t, "cells", 2*n+64, layout{kind: pagetable.Hashed})
	random := lcg(barnesSeed)
	random.skip(uint64(6 * g.lo))
	w := g.bodies.Write(g.lo, g.hi)
	for i := range w.Data {
		place := random.vec().minus(vec{0.5, 0.5, 0.5})
		// The cube of a direction draws bodies to the middle, where cells are small.
		w.Data[i] = body{place.times(4 * place.square()), random.vec().times(0.1)}
	}
	w.Done()
	return g
}

func (g *galaxy) solve() {
	g.meet()
	for range barnesSteps {
		if g.r.Rank == 0 {
			g.build()
		}
		g.meet()
		forces := g.forces()
		g.meet()
		w := g.bodies.Write(g.lo, g.hi)
		for i := range w.Data {
			b := &w.Data[i]
			b.Speed = b.Speed.plus(forces[i].times(barnesTick))
			b.Place = b.Place.plus(b.Speed.times(barnesTick))
		}
		w.Done()
		g.meet()
	}
}

// build makes the tree of all bodies.
func (g *galaxy) build() {
	bodies, cells := g.bodies.Read(0, g.n), g.cells.Write(0, g.cells.Len())
	defer bodies.Done()
	defer cells.Done()
	side := 0.0
	for _, b := range bodies.Data {
		for _, x := range b.Place {
			side = max(side, 2*math.Abs(x))
		}
	}
	t := &octree{bodies.Data, cells.Data, 1}
	t.cells[0] = cell{Side: side}
	for i := range bodies.Data {
		t.insert(int32(i))
	}
	t.weigh(0)
}

// octree is a tree of cells that is being built.
type octree struct {
	bodies []body
	cells  []cell
	used   int
}

// part returns which of the eight parts of a cell a place lies in, and the cell's middle moved there.
func (c *cell) part(p vec) (kid int, center vec) {
	center = c.Center
	for axis := range p {
		if p[axis] >= c.Center[axis] {
			kid |= 1 << axis
			center[axis] += c.Side / 4
		} else {
			center[axis] -= c.Side / 4
		}
	}
	return kid, center
}

// insert puts a body into the smallest cell that it has for itself.
func (t *octree) insert(i int32) {
	at := int32(0)
	for {
		c := &t.cells[at]
		kid, center := c.part(t.bodies[i].Place)
		switch other := c.Kids[kid]; {
		case other == 0:
			c.Kids[kid] = -1 - i
			return
		case other > 0:
			at = other
		default:
			if t.used == len(t.cells) {
				check(fmt.Errorf("the tree has no room for body %d: too many lie at one place", i))
			}
			at = int32(t.used)
			t.used++
			t.cells[at] = cell{Center: center, Side: c.Side / 2}
			c.Kids[kid] = at
			deeper, _ := t.cells[at].part(t.bodies[-1-other].Place)
			t.cells[at].Kids[deeper] = other
		}
	}
}

// weigh computes the masses of a cell and all in it.
func (t *octree) weigh(at int32) {
	c := &t.cells[at]
	for _, kid := range c.Kids {
		switch {
		case kid > 0:
			t.weigh(kid)
			c.Mass += t.cells[kid].Mass
			c.Mean = c.Mean.plus(t.cells[kid].Mean.times(t.cells[kid].Mass))
		case kid < 0:
			c.Mass += 1 / float64(len(t.bodies))
			c.Mean = c.Mean.plus(t.bodies[-1-kid].Place.times(1 / float64(len(t.bodies))))
		}
	}
	c.Mean = c.Mean.times(1 / c.Mass)
}

// forces returns those on this member's bodies.
func (g *galaxy) forces() []vec {
	bodies, cells := g.bodies.Read(0, g.n), g.cells.Read(0, g.cells.Len())
	defer bodies.Done()
	defer cells.Done()
	t := &octree{bodies: bodies.Data, cells: cells.Data}
	forces := make([]vec, g.hi-g.lo)
	for i := range forces {
		forces[i] = t.pull(0, int32(g.lo+i))
	}
	return forces
}

// pull returns the force of a cell on a body.
func (t *octree) pull(at, i int32) (force vec) {
	c, place := &t.cells[at], t.bodies[i].Place
	d := c.Mean.minus(place)
	if c.Side*c.Side < barnesOpen*barnesOpen*d.square() {
		return attraction(d, c.Mass)
	}
	for _, kid := range c.Kids {
		switch {
		case kid > 0:
			force = force.plus(t.pull(kid, i))
		case kid < 0 && -1-kid != i:
			force = force.plus(attraction(t.bodies[-1-kid].Place.minus(place), 1/float64(len(t.bodies))))
		}
	}
	return force
}

// attraction returns the force of a mass at d.
func attraction(d vec, mass float64) vec {
	square := d.square() + barnesSoft*barnesSoft
	return d.times(mass / (square * math.Sqrt(square)))
}

// worst returns by how much the force on some bodies differs from the sum over all others.
func (g *galaxy) worst() (worst float64) {
	g.build()
	forces := g.forces()
	w := g.bodies.Read(0, g.n)
	defer w.Done()
	for k := range barnesChecks {
		i := k * g.n / barnesChecks
		var direct vec
		for j, b := range w.Data {
			if j != i {
				direct = direct.plus(attraction(b.Place.minus(w.Data[i].Place), 1/float64(g.n)))
			}
		}
		worst = max(worst, forces[i].minus(direct).length()/direct.length())
	}
	return worst
}
